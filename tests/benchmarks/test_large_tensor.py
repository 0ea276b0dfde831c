"""The large tensor's figures are of answers that are right."""

from benchmarks.large_tensor import MIB, measure


def test_both_ways_are_measured():
    """Whoever runs the script gets a figure for each protocol, of tensors that came back as they went."""
    costs = measure(2, rounds=1)

    assert ["HTTP, binary", "gRPC, raw"] == [cost.way for cost in costs]
    assert all(cost.seconds > 0 and cost.peak_bytes >= 2 * MIB for cost in costs)
