"""`turnout evidence` as an operator types it."""

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from gateway.cli.app import app
from gateway.increments import CellIncrement, CellKey, Counts, Increment
from gateway.state.bookings import Booking, Bookings
from gateway.state.closing import Reporter
from gateway.state.ledger import Ledger
from gateway.state.shelf import Shelf
from strategies.evidence.epochs import Epoch

SHARES = '{"new":10000,"old":990000}'


class Line(msgspec.Struct, forbid_unknown_fields=True):
    experiment: str
    epoch: Epoch


def turnout(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), env={"TURNOUT_STATE_URL": ""})


@pytest.fixture
def state(tmp_path: Path) -> str:
    """Two experiments of a route, the later one with two steps, and something lost."""
    shelf = Shelf(tmp_path)
    for experiment, epochs in (("digits@1", (1000,)), ("digits@4", (1010, 1012))):
        cells = [
            CellIncrement(CellKey(experiment, step, SHARES, epoch, arm), Increment(n, n, n, 0, {"error_rate": step}))
            for step, epoch in enumerate(epochs)
            for arm, n in (("new", 1), ("old", 99))
        ]
        me = Reporter("a", epochs[-1] + 1, {}, 10.0 * epochs[-1] + 13)
        Bookings(shelf.engine()).book([Booking(experiment, 1, Counts(0, {}, cells, {experiment: [epochs[0]]}))], me, {})
    late = CellIncrement(CellKey("digits@4", 0, SHARES, 1010, "new"), Increment(3))
    Bookings(shelf.engine()).book([Booking("late", 1, Counts(0, {}, [late]))], me, {})
    shelf.close()
    return str(tmp_path)


def test_an_export_is_the_latest_experiment_s_epochs_as_they_are_judged(state):
    printed = turnout("evidence", "export", "digits", "--state", state)
    lines = [msgspec.json.decode(line, type=Line) for line in printed.stdout.splitlines()]
    shelf = Shelf(Path(state))
    assert list(Ledger(shelf.engine()).epochs("digits@4")) == [line.epoch for line in lines]
    assert ({"digits@4"}, [1010, 1012]) == ({line.experiment for line in lines}, [line.epoch.number for line in lines])
    shelf.close()


def test_an_earlier_experiment_can_be_named(state):
    assert 1 == len(turnout("evidence", "export", "digits@1", "--state", state).stdout.splitlines())


def test_sums_are_shown_with_what_is_missing_and_what_came_late(state):
    printed = turnout("evidence", "show", "digits", "--state", state).stdout
    assert "digits@4: 2 epochs, the last until 1970-01-01 02:48:50+00:00" in printed
    assert "step 2  new  1 requests, 1 units, 1 runs, 1 error_rate" in printed
    assert "missing in epoch 1010: a: requests could not be counted" in printed
    assert "3 requests were told when their epoch was closed" in printed


@pytest.mark.parametrize(("route", "message"), [("faces", "counted of faces\n"), ("digits@9", "there is digits@4, d")])
def test_what_was_never_counted_is_refused_with_what_was(state, route, message):
    printed = turnout("evidence", "show", route, "--state", state)
    assert (2, True) == (printed.exit_code, message in printed.output)
