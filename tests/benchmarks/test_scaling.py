"""Scaling is told by the busiest process."""

import argparse

import pytest

from benchmarks.load import missing_packages
from benchmarks.scaling import Reading, measure, summarize
from benchmarks.servers import write_config


def test_scaling_is_of_what_the_busiest_process_can_do():
    """Twice the requests for the same time of the busiest process is twice the gateway."""
    one, even, uneven = (
        Reading(1000, 500.0, (0.1, 1.0)),
        Reading(2000, 600.0, (0.1, 1.0, 1.0)),
        Reading(2000, 600.0, (0.1, 1.6, 0.4)),
    )

    assert ["1000", "2000", "2.00 (2.00 to 2.00)", "1.00", "1.20"] == summarize([[one, even]])
    assert ["1000", "1250", "1.25 (1.25 to 1.25)", "1.60", "1.20"] == summarize([[one, uneven]])


def test_a_control_process_that_is_the_busiest_is_what_limits():
    assert pytest.approx(500) == Reading(1000, 500.0, (2.0, 1.0, 1.0)).capacity


@pytest.mark.skipif(bool(missing_packages(["json"])), reason="the load generator is not installed")
def test_the_processes_of_a_gateway_are_read_one_by_one(workload, tmp_path):
    write_config(tmp_path, "none", workload)
    reading = measure(tmp_path, workload, "json", argparse.Namespace(at_once=4, seconds=1), 2)

    assert (3, True) == (len(reading.cpu_s), reading.requests_n > 0)
    assert 1.0 <= reading.evenness <= 2.0
