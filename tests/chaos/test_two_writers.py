"""Two gateways share a state, and many ask both of them for changes at once."""

import json
import threading
from pathlib import Path
from time import monotonic, sleep

from tests.chaos.conftest import revision_served

ROOT = Path(__file__).parents[2]
LINEAR = ROOT / "configs" / "models" / "digits-linear.onnx"
WRITERS_N, WINS_N = 6, 4


def documents(timeout_ms: int) -> dict[str, str]:
    arms = {"linear": {"model": f"file:{LINEAR}", "role": "baseline"}}
    document = {"turnout": "v1", "route": "digits", "arms": arms, "strategy": {"kind": "baseline"}}
    return {"routes/digits.yaml": json.dumps(document | {"timeout": f"{timeout_ms}ms"})}


class Writer(threading.Thread):
    """Asks until it has won a few times. What it won and what it was told when it lost are kept."""

    def __init__(self, number: int, operator) -> None:
        super().__init__()
        self.author = f"writer-{number}"
        self.won: list[int] = []
        self.lost: list[dict] = []
        self.other: list[object] = []
        self._number, self._operator = number, operator

    def run(self) -> None:
        while len(self.won) < WINS_N and not self.other:
            _, live = self._operator.ask("GET", "/v1/revisions/live")
            text = documents(20_000 + 100 * self._number + len(self.won))
            body = {"documents": text, "expects": live["revision"]}
            status, told = self._operator.ask("POST", "/v1/apply", body, self.author)
            if status == 200:
                self.won.append(told["live"])
            elif status == 409 and "author" in told:
                self.lost.append(told)
            else:
                self.other.append((status, told))


def test_one_writer_wins_each_number_and_the_others_are_told_who(start_gateway, operator_of, tmp_path):
    config = tmp_path / "config"
    (config / "routes").mkdir(parents=True)
    for path, text in documents(10_000).items():
        (config / path).write_text(text)
    one = start_gateway(config)
    (tmp_path / "state-1").symlink_to(one.state)  # where the second one looks for its state
    two = start_gateway(config)
    operators = [operator_of(one), operator_of(two)]
    writers = [Writer(number, operators[number % 2]) for number in range(WRITERS_N)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.other for writer in writers] == [[]] * WRITERS_N
    winners = {number: writer.author for writer in writers for number in writer.won}
    assert sorted(winners) == list(range(2, 2 + WRITERS_N * WINS_N))
    lost = [told for writer in writers for told in writer.lost]
    assert lost
    assert {f"{winners[told['live']]} (unproven)" == told["author"] for told in lost} == {True}

    last, ends_at = max(winners), monotonic() + 30
    while {revision_served(gateway.http) for gateway in (one, two)} != {last}:
        assert monotonic() < ends_at, "they did not come together"
        sleep(0.05)
    while not all(operator.ask("GET", "/v1/status")[1]["converged"] for operator in operators):
        assert monotonic() < ends_at, "one of them does not say so"
        sleep(0.05)
    assert [one.stop(), two.stop()] == [0, 0]
    assert "Traceback" not in one.log() + two.log()
