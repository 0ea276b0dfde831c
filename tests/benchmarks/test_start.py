"""The figures of a start are of a gateway that is ready."""

from benchmarks.start import Start, cells, start_once, time_imports, write_constant


def test_a_start_is_measured_process_by_process(tmp_path):
    start = start_once(write_constant(tmp_path), workers=2)

    assert (3, 3) == (len(start.resident), len(start.proportional))
    assert all(0 < part <= whole for whole, part in zip(start.resident, start.proportional, strict=True))
    assert min(start.ready_s, start.cpu_s) > 0


def test_a_row_tells_medians():
    starts = [Start(1.0, 2.0, (50.0, 70.0, 80.0), (40.0, 50.0, 60.0))] * 2 + [Start(9.0, 9.0, (9.0, 9.0), (9.0, 9.0))]

    assert ["1.00", "2.00", "50", "80", "200", "150"] == list(cells(starts))


def test_imports_take_time():
    assert min(time_imports()) > 0
