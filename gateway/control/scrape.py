"""The one /metrics of a gateway: every worker's snapshot and what those that ended left, added up."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic

from prometheus_client.core import Metric

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
    ) -> None:
        """`event_counts` are of the control process's own log, whose events are counted with the others'.

        `untold_n` says how many workers ended before they had told all they had counted, `notice_counts` what became
        of notices.
        """
        self._crew = crew
        self._untold_n = untold_n
        self._event_counts = event_counts
        self._notice_counts = notice_counts

    async def gather(self) -> Iterable[Metric]:
        """Every family, as fresh as each worker tells it within a second."""
        await self._refresh()
        evidence = collect_evidence({"worker": self._untold_n()})
        own = snapshot_of([*collect_events(self._event_counts()), evidence])
        told = [worker.snapshot for worker in self._crew.workers]
        return [*metrics_of(merge([*told, self._crew.remains, own])), *self.about_workers()]

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
