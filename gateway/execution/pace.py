"""How soon after one shadow call the next may start: the more requests come, the later."""

CALM_PER_S = 1_000.0  # requests that take a process some seventh of a core; beside so many, starts are half as frequent


class Pace:
    """`per_second` starts beside no requests, half as many beside CALM_PER_S of them a second, a fifth beside 4 times.

    A shadow call costs as much processor time as a request or two, and whoever comes meanwhile waits for the parts of
    it that are the event loop's. The busier the loop, the more of them come, and the longer their queue is already.
    """

    def __init__(self, per_second: float, now: float) -> None:
        self._least_s = 1 / per_second
        self._started_at = now
        self._begun_n = 0

    def rest_s(self, now: float, begun_n: int) -> float:
        """Seconds after a start at `now` in which there is no other. `begun_n` requests have begun so far, in all."""
        elapsed_s = max(now - self._started_at, self._least_s)
        requests_s = (begun_n - self._begun_n) / elapsed_s
        self._started_at, self._begun_n = now, begun_n
        return self._least_s * (1 + requests_s / CALM_PER_S)
