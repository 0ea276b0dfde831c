"""What a server says of itself beside the load generator's figures: its metrics, its processor time, its memory."""

import os
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.servers import Running

OK_CODES = {"200", "OK"}
GONE_CODES = {"499", "CANCELLED"}  # of callers that had gone: load generators go when their time is over
SCRAPE_S = 10.0
FIELDS = {  # of a Reading, by the counter that tells it
    "turnout_requests_total": "refused_n",  # but for those that went well
    "turnout_requests_refused_total": "refused_n",
    "turnout_fallbacks_total": "fallbacks_n",
    "turnout_shadow_calls_total": "shadows_made_n",
    "turnout_shadow_dropped_total": "shadows_dropped_n",
    "turnout_shadow_pending": "shadows_pending_n",
    "turnout_events_dropped_total": "events_dropped_n",
    "turnout_spans_exported_total": "spans_exported_n",
    "turnout_spans_dropped_total": "spans_dropped_n",
}


@dataclass(frozen=True)
class Reading:
    """Counters of one server at one moment; all 0 where it has none. `cpu_s` is of the processes that answer a case."""

    cpu_s: float = 0.0
    refused_n: float = 0.0
    fallbacks_n: float = 0.0
    shadows_made_n: float = 0.0
    shadows_dropped_n: float = 0.0
    shadows_pending_n: float = 0.0
    events_dropped_n: float = 0.0
    spans_exported_n: float = 0.0
    spans_dropped_n: float = 0.0

    def since(self, before: "Reading") -> "Reading":
        """What was added since an earlier reading."""
        return Reading(**{name: getattr(self, name) - getattr(before, name) for name in self.__dataclass_fields__})


def read_server(running: Running, case: str) -> Reading:
    """Look at a server. Raises OSError when it is gone."""
    cpu_s = read_cpu_s(running.processes["grpc" if case == "grpc" else "http"])
    if "metrics" not in running.ports:
        return Reading(cpu_s=cpu_s)
    url = f"http://127.0.0.1:{running.ports['metrics']}/metrics"
    with urllib.request.urlopen(url, timeout=SCRAPE_S) as response:
        counters = sum_counters(response.read().decode())
    return Reading(cpu_s=cpu_s, **counters)


def sum_counters(text: str) -> Mapping[str, float]:
    """The fields of a Reading that Prometheus text tells."""
    sums = dict.fromkeys([name for name in Reading.__dataclass_fields__ if name != "cpu_s"], 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            field = FIELDS.get(sample.name)
            if field and not (
                sample.name == "turnout_requests_total" and sample.labels["code"] in OK_CODES | GONE_CODES
            ):
                sums[field] += sample.value
    return sums


def read_cpu_s(process: int) -> float:
    """Processor time a process and those it started have used so far. Who ended meanwhile counts for nothing."""
    spent_s = read_own_cpu_s(process)
    for each in family_of(process)[1:]:
        with suppress(OSError):
            spent_s += read_own_cpu_s(each)
    return spent_s


def read_own_cpu_s(process: int) -> float:
    """Processor time one process has used so far, all its threads and both modes."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime of proc(5)


def read_memory_mib(process: int) -> float:
    """Memory of a process and those it started that is resident now, what they share counted once."""
    mib = 0.0
    for each in family_of(process):
        with suppress(OSError):
            mib += read_own_memory_mib(each)[1]
    return mib


def read_own_memory_mib(process: int) -> tuple[float, float]:
    """What is resident of one process, and the same with what is shared divided among those who share it."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return sizes["Rss"], sizes["Pss"]


def family_of(process: int) -> list[int]:
    """The process, its children, and theirs. Raises OSError when the process itself is gone."""
    family = [process, *_children(process)]
    for each in islice(family, 1, None):  # a list that grows meanwhile
        with suppress(OSError):  # Ray starts processes that soon end
            family += _children(each)
    return family


def _children(process: int) -> Iterator[int]:
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # a thread that ended
            yield from map(int, (task / "children").read_text().split())
