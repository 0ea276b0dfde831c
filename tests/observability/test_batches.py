"""Metrics of batches are what batchers counted."""

from observability import batches
from observability.metrics import Metrics
from runners.core import batch_counts
from runners.core.batch_counts import BatchCounts


def samples(metrics):
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if family.name.startswith("turnout_batch") and sample.labels["arm"] == "a"
    }


def test_both_rooms_mean_the_same_buckets():
    """What one counts the other reads."""
    assert batches.SIZES == batch_counts.SIZES


def test_sizes_become_histograms_and_faults_counters():
    """An operator sees whether batches form, and what goes wrong in them."""
    metrics, counts = Metrics("0.1.0"), BatchCounts()
    metrics.route("r", "baseline", [("a", "1")]).watch_batches("a", counts)
    counts.count_run(rows_n=3, calls_n=1)
    counts.count_run(rows_n=300, calls_n=4)
    counts.bisections_n, counts.expired_n = 5, 7
    found = samples(metrics)
    assert [0, 0, 1, 1, 2] == [found["turnout_batch_rows_bucket", le] for le in ("1.0", "2.0", "4.0", "256.0", "+Inf")]
    assert (303, 2) == (found["turnout_batch_rows_sum", ""], found["turnout_batch_rows_count", ""])
    assert [1, 1, 2] == [found["turnout_batch_calls_bucket", le] for le in ("1.0", "2.0", "4.0")]
    assert (5, 7) == (found["turnout_batch_bisections_total", ""], found["turnout_batch_expired_total", ""])


def test_an_arm_that_batches_nothing_has_no_such_series():
    """A constant has no sizes."""
    metrics = Metrics("0.1.0")
    metrics.route("r", "baseline", [("a", "1")])
    assert {} == samples(metrics)
