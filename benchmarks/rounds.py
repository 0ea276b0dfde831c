"""Rounds: every server in turn, started afresh each time, every cell of the matrix after a check of its answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.answers import FRAME_BYTES, WrongAnswer, await_answers, check_answers
from benchmarks.load import Load, LoadFailed, Measured, send
from benchmarks.peer_servers import PEERS
from benchmarks.plain_loop import ROWS, measure_loop
from benchmarks.readings import Reading, read_memory_mib, read_server
from benchmarks.servers import LOOP, ON_RAY, Running, ServerFailed, Station, cases_of, serve

WARM_AT_ONCE = 8
# To foretell how long a run takes: start and stop, and what surrounds each load.
STARTS_IN_S, RAY_STARTS_IN_S, CHECK_S = 2.0, 20.0, 0.5

Turn = tuple[int, str]  # a round, and the server that is measured in it
NO_TURNS: frozenset[Turn] = frozenset()


@dataclass(frozen=True)
class Matrix:
    """What is measured, and for how long. Every combination of server, case and `at_once` is a cell."""

    servers: tuple[str, ...]
    cases: tuple[str, ...]
    at_once: tuple[int, ...]
    rounds_n: int
    seconds: int
    warm_s: int
    load_cpu: int


@dataclass(frozen=True)
class Run:
    """One cell in one round. `memory_mib` is the server's after its last cell so far, `start_s` until it was ready."""

    server: str
    case: str
    at_once: int
    round_no: int
    measured: Measured
    seen: Reading
    memory_mib: float
    start_s: float

    @property
    def cpu_us(self) -> float:
        """The server's processor time per request."""
        return self.seen.cpu_s / self.measured.requests_n * 1e6


@dataclass(frozen=True)
class Audience:
    """Who hears of what happens: `tell` of each turn, `give_up` of a peer that is not measured on, and why."""

    tell: Callable[[str], None]
    give_up: Callable[[str, str], None]


def cells_of(server: str, matrix: Matrix) -> list[tuple[str, int]]:
    """What is measured of a server in one round: cases, and how many at once."""
    if server == LOOP:
        return [(case, ROWS) for case in cases_of(server, matrix.cases)]
    return [(case, at_once) for case in cases_of(server, matrix.cases) for at_once in matrix.at_once]


def turn_seconds(server: str, matrix: Matrix) -> float:
    """About how long one round of a server takes."""
    cases_n = len({case for case, _ in cells_of(server, matrix)})
    starting_s = PEERS[server].starts_in_s if server in PEERS else RAY_STARTS_IN_S if server == ON_RAY else STARTS_IN_S
    return starting_s + cases_n * (matrix.warm_s + CHECK_S) + len(cells_of(server, matrix)) * (matrix.seconds + CHECK_S)


def measure(matrix: Matrix, station: Station, audience: Audience, done: frozenset[Turn] = NO_TURNS) -> Iterator[Run]:
    """Run the matrix but for the turns that are `done`. The order of servers turns from round to round, so that a drift
    of the machine hits all.

    Raises WrongAnswer, LoadFailed or ServerFailed for the floor and the gateway; what was yielded before stays valid. A
    peer with such trouble is given up, with the reason, and the others are measured on. So is the gateway's Ray where
    it does not start.
    """
    lost: set[str] = set()
    for round_no in range(matrix.rounds_n):
        turn = round_no % len(matrix.servers)
        for name in (*matrix.servers[turn:], *matrix.servers[:turn]):
            if name in lost or (round_no, name) in done:
                continue
            audience.tell(f"round {round_no + 1} of {matrix.rounds_n}: {name}")
            try:
                if name == LOOP:
                    yield _measure_loop(round_no, matrix, station)
                    continue
                with serve(name, station) as running:
                    yield from _measure_server(running, round_no, matrix, station)
            except (WrongAnswer, LoadFailed, ServerFailed) as error:
                if name not in PEERS and not (name == ON_RAY and isinstance(error, ServerFailed)):
                    raise
                lost.add(name)
                audience.give_up(name, str(error))


def _measure_loop(round_no: int, matrix: Matrix, station: Station) -> Run:
    """The loop as a row among servers': a request is a row of a full batch, its latency is the batch's."""
    pace = measure_loop(station, matrix.seconds)
    rows_n = round(pace.per_second * matrix.seconds)
    batch_ms = pace.run_rows / pace.per_second * 1e3
    ((case, at_once),) = cells_of(LOOP, matrix)
    seen = Reading(cpu_s=pace.cpu_us * rows_n / 1e6)
    return Run(
        LOOP, case, at_once, round_no, Measured(rows_n, pace.per_second, batch_ms, batch_ms, 0, 0), seen, 0.0, 0.0
    )


def _measure_server(running: Running, round_no: int, matrix: Matrix, station: Station) -> Iterator[Run]:
    for case in cases_of(running.name, matrix.cases):
        await_answers(running, case, station.workload)
        port = running.ports["grpc" if case == "grpc" else "http"]
        send(Load(case, station.workload, port, WARM_AT_ONCE, matrix.warm_s, matrix.load_cpu))
        for at_once in matrix.at_once:
            check_answers(running, case, station.workload)
            load = Load(case, station.workload, port, at_once, matrix.seconds, matrix.load_cpu)
            before = read_server(running, case)
            measured = send(load)
            seen = read_server(running, case).since(before)
            _refuse_failures(running.name, load, measured, seen)
            memory_mib = read_memory_mib(running.processes["grpc" if case == "grpc" else "http"])
            yield Run(running.name, case, at_once, round_no, measured, seen, memory_mib, running.start_s)


def _refuse_failures(name: str, load: Load, measured: Measured, seen: Reading) -> None:
    """A figure made of refusals is worth nothing, and h2load counts a refused call as done.

    Up to `at_once` requests are under way when time is up, and a caller who hangs up is refused nothing.
    """
    where = f"{name}, {load.case}, {load.at_once} at once"
    if measured.failed_n:
        raise WrongAnswer(f"{where}: {measured.failed_n} of {measured.requests_n} requests failed")
    if seen.refused_n > load.at_once:
        raise WrongAnswer(f"{where}: the gateway refused {seen.refused_n:.0f} requests")
    if seen.fallbacks_n > load.at_once:
        raise WrongAnswer(f"{where}: a fallback answered {seen.fallbacks_n:.0f} requests")
    least_bytes = min(probs.nbytes for probs in load.workload.expected.values()) + FRAME_BYTES
    if load.case == "grpc" and measured.answer_bytes < measured.requests_n * least_bytes:
        raise WrongAnswer(f"{where}: {measured.requests_n} calls brought {measured.answer_bytes} bytes")
