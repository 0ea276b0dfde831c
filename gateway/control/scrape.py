"""The one /metrics of a gateway: every worker's snapshot and what those that ended left, added up."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic

from prometheus_client.core import Metric

from gateway.arms import STATES, ArmSeen, HostedSeen
from gateway.control.crew import Crew
from gateway.control.notices import OUTCOMES
from observability.families import counter, gauge
from observability.merge import merge, metrics_of, snapshot_of
from observability.metrics import collect_events, collect_evidence
from observability.sinks.log import EventCounts

WITHIN_S = 1.0  # for a worker to tell its metrics; after that the ones it told before are used, and their age says so
PULSE_S = 5.0  # how often workers are asked in any case, so that one that dies takes little uncounted along


class Scrape:
    """Adds up whenever somebody asks."""

    def __init__(
        self,
        crew: Crew,
        event_counts: Callable[[], EventCounts],
        untold_n: Callable[[], int],
        notice_counts: Mapping[str, int],
        arms: Callable[[], Iterable[ArmSeen]] = tuple,
    ) -> None:
        """`event_counts` are of the control process's own log, whose events are counted with the others'.

        `untold_n` says how many workers ended before they had told all they had counted, `notice_counts` what became
        of notices, `arms` how arms are run at the moment.
        """
        self._crew = crew
        self._untold_n = untold_n
        self._event_counts = event_counts
        self._notice_counts = notice_counts
        self._arms = arms

    async def gather(self) -> Iterable[Metric]:
        """Every family, as fresh as each worker tells it within a second."""
        await self._refresh()
        evidence = collect_evidence({"worker": self._untold_n()})
        own = snapshot_of([*collect_events(self._event_counts()), evidence])
        told = [worker.snapshot for worker in self._crew.workers]
        added_up = metrics_of(merge([*told, self._crew.remains, own]))
        return [*added_up, *self.about_workers(), *about_replicas(self._arms())]

    async def pulse(self) -> None:
        """Ask now and then, until cancelled."""
        while True:
            await asyncio.sleep(PULSE_S)
            await self._refresh()

    def about_workers(self) -> Iterator[Metric]:
        """What only the control process knows."""
        crew, now = self._crew, monotonic()
        notices = [((outcome,), self._notice_counts.get(outcome, 0)) for outcome in OUTCOMES]
        yield counter("turnout_notices", "Notices to webhooks, by what became of them.", ("outcome",), notices)
        yield gauge(
            "turnout_worker_up",
            "1 while the worker answers requests.",
            ("worker",),
            [((str(worker.slot),), int(worker.is_up)) for worker in crew.workers],
        )
        yield counter(
            "turnout_worker_restarts",
            "Workers started in the place of one that had ended.",
            ("worker",),
            [((str(slot),), n) for slot, n in enumerate(crew.restarts_n)],
        )
        yield gauge(
            "turnout_worker_metrics_age_seconds",
            "Time since the worker told its metrics.",
            ("worker",),
            [((str(worker.slot),), now - worker.told_at) for worker in crew.workers if worker.told_at],
        )

    async def _refresh(self) -> None:
        await asyncio.gather(*(worker.refresh(WITHIN_S) for worker in self._crew.workers))


def about_replicas(arms: Iterable[ArmSeen]) -> Iterator[Metric]:
    """Replicas of arms on Ray, by what is so of them. Each is nobody's label: their names come and go."""
    found = [((arm.route, arm.arm), arm.hosted) for arm in arms if arm.hosted is not None]
    yield gauge(
        "turnout_replicas",
        "Replicas of an arm on Ray.",
        ("route", "arm", "state"),
        [((*place, state), hosted.count(state)) for place, hosted in found for state in STATES],
    )
    yield _of_each("turnout_replicas_wanted", "Replicas that an arm shall have, or the fewest.", found, "least_n")
    yield _of_each(
        "turnout_replicas_ejected", "Replicas that rest, for they were worse than others.", found, "ejected_n"
    )
    yield _of_each("turnout_replica_outstanding", "Calls of this gateway under way at replicas.", found, "pending_n")
    yield _of_each("turnout_replica_waiting", "Calls of everybody that wait for a model.", found, "waiting_n")
    died = [(place, hosted.died_n) for place, hosted in found]
    yield counter("turnout_replica_deaths", "Replicas that ended unasked.", ("route", "arm"), died)


def _of_each(name: str, text: str, found: Iterable[tuple[tuple[str, str], HostedSeen]], what: str) -> Metric:
    return gauge(name, text, ("route", "arm"), [(place, getattr(hosted, what)) for place, hosted in found])
