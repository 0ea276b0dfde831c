"""What a gateway serves when it starts: its state, unless the directory has something new to say."""

from pathlib import Path

import pytest

from gateway.config.problems import ConfigRefused, Located
from gateway.control.boot import BootRefused, Offer, boot
from gateway.publishing.change import Apply, Freeze, Operate, Request, Undo
from gateway.publishing.publisher import Publisher
from gateway.publishing.rehearsal import Rehearsal
from gateway.state.database import FILE
from gateway.state.errors import StateCorrupt, StateUnavailable
from gateway.state.members import Member
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from strategies.core.spec import Problem
from strategies.rollout.machine import Verb
from tests.gateway.conftest import documents

NOW = 1_795_651_200.0
ME = "here:8000"


class Machine:
    """A gateway's start, again and again on the same state."""

    def __init__(self, root: Path, state: Path) -> None:
        self.root = root
        self.state = state

    def offer(self, written=None, **more) -> Offer:
        known = {"source": "/etc/turnout", "author": "ann", "folder": self.root}
        return Offer(documents=documents() if written is None else written, **(known | more))

    async def start(self, offer: Offer, *, me: str = ME) -> Publisher:
        shelf = Shelf(self.state)
        try:
            publisher = Publisher(shelf, self.root, Rehearsal(is_opening=False), clock=lambda: NOW)
            await boot(publisher, shelf, offer, me)
        finally:
            shelf.close()
        return publisher

    async def operate(self, change) -> None:
        shelf = Shelf(self.state)
        publisher = Publisher(shelf, self.root, Rehearsal(is_opening=False), clock=lambda: NOW)
        await publisher.publish(Request(change, "bob", Cause.OPERATE))
        shelf.close()

    def present(self, gateway: str) -> None:
        shelf = Shelf(self.state)
        shelf.members().beat(Member(gateway, 1, "", NOW))
        shelf.close()


@pytest.fixture
def machine(root, tmp_path) -> Machine:
    return Machine(root, tmp_path / "state")


def refused() -> ConfigRefused:
    return ConfigRefused([Located(Path("routes/digits.yaml"), 3, 1, Problem((), "unknown word"))])


async def test_the_first_start_takes_the_directory(machine):
    assert 1 == (await machine.start(machine.offer())).meaning.number


async def test_a_restart_changes_nothing(machine):
    await machine.start(machine.offer())
    await machine.operate(Operate("digits", Verb.ADVANCE))
    publisher = await machine.start(machine.offer())
    assert (2, 1) == (publisher.meaning.number, publisher.meaning.kept["digits"].rollout.step)


async def test_an_edited_directory_is_taken(machine):
    await machine.start(machine.offer())
    assert 2 == (await machine.start(machine.offer(documents(timeout="2s")))).meaning.number


async def test_a_restart_does_not_undo_an_undo(machine, caplog):
    await machine.start(machine.offer())
    await machine.start(machine.offer(documents(timeout="2s")))
    await machine.operate(Undo())
    publisher = await machine.start(machine.offer(documents(timeout="2s")))
    assert (3, documents()) == (publisher.meaning.number, dict(publisher.meaning.content.documents))
    assert "turnout apply /etc/turnout takes what is in the directory" in caplog.text


async def test_a_lone_gateway_takes_a_directory_that_went_back(machine):
    await machine.start(machine.offer())
    await machine.start(machine.offer(documents(timeout="2s")))
    assert 3 == (await machine.start(machine.offer())).meaning.number


async def test_one_of_several_does_not_take_an_older_directory(machine):
    """Its mount may be late: the others have moved on."""
    await machine.start(machine.offer())
    await machine.start(machine.offer(documents(timeout="2s")))
    machine.present("there:8000")
    assert 2 == (await machine.start(machine.offer())).meaning.number


async def test_another_directory_is_taken(machine):
    await machine.start(machine.offer())
    await machine.start(machine.offer(documents(timeout="2s"), source="/elsewhere"))
    publisher = await machine.start(machine.offer())
    assert (3, "/etc/turnout") == (publisher.meaning.number, publisher.meaning.for_all.source)


async def test_a_state_in_use_for_another_directory_is_not_taken_over(machine):
    await machine.start(machine.offer())
    machine.present("there:8000")
    with pytest.raises(BootRefused, match=r"there:8000 serves /etc/turnout with this state.*a --state of its own"):
        await machine.start(machine.offer(source="/elsewhere"))


async def test_a_mistake_in_the_directory_stops_a_first_start(machine):
    with pytest.raises(ConfigRefused, match="unknown word"):
        await machine.start(machine.offer({}, refused=refused()))


async def test_a_mistake_in_the_directory_does_not_stop_a_gateway_that_has_served(machine, caplog):
    """A node that restarts in the night serves what it served."""
    await machine.start(machine.offer())
    publisher = await machine.start(machine.offer({}, refused=refused()))
    assert 1 == publisher.meaning.number
    assert "revision 1 is served" in caplog.text


async def test_a_frozen_gateway_restarts(machine, caplog):
    await machine.start(machine.offer())
    await machine.operate(Freeze("it is Christmas"))
    assert 2 == (await machine.start(machine.offer(documents(timeout="2s")))).meaning.number
    assert "it is Christmas" in caplog.text


async def test_a_ramp_can_be_started_at_a_step(machine):
    publisher = await machine.start(machine.offer(steps={"digits": 3}))
    assert 2 == publisher.meaning.kept["digits"].rollout.step


async def test_a_replaced_model_file_begins_a_new_experiment(machine):
    await machine.start(machine.offer())
    (machine.root / "new.onnx").write_text("other, and longer")
    assert 2 == (await machine.start(machine.offer())).meaning.kept["digits"].began


async def test_a_damaged_state_is_served_from_memory(machine, caplog):
    await machine.start(machine.offer())
    await machine.operate(Operate("digits", Verb.ADVANCE))
    (machine.state / FILE).write_bytes(b"this is no database" * 1000)
    publisher = await machine.start(machine.offer())
    assert (2, 1) == (publisher.meaning.number, publisher.meaning.kept["digits"].rollout.step)
    assert "serving revision 2, as it was remembered" in caplog.text


async def test_a_damaged_state_without_memory_is_refused(machine):
    machine.state.mkdir()
    (machine.state / FILE).write_bytes(b"this is no database" * 1000)
    with pytest.raises(StateCorrupt):
        await machine.start(machine.offer())


async def test_without_its_state_a_new_gateway_serves_the_directory_and_keeps_nothing(machine, monkeypatch, caplog):
    def away(_self):
        raise StateUnavailable("postgresql://db: connection refused")

    monkeypatch.setattr(Shelf, "engine", away)
    publisher = await machine.start(machine.offer())
    assert ["digits"] == list(publisher.meaning.routes)
    assert "keeping nothing" in caplog.text


async def test_an_apply_is_not_undone_by_a_restart(machine):
    await machine.start(machine.offer())
    await machine.operate(Apply(documents(timeout="9s")))
    publisher = await machine.start(machine.offer())
    assert documents(timeout="9s") == dict(publisher.meaning.content.documents)


async def test_a_state_that_was_cut_to_nothing_is_no_new_one(machine):
    """Numbers never begin again under the clients of a gateway: somebody has to say that what was lost is lost."""
    await machine.start(machine.offer())
    (machine.state / FILE).write_bytes(b"")
    with pytest.raises(
        BootRefused, match=r"latest revision is 0, and revision 1 was served .* remove .*revision\.json"
    ):
        await machine.start(machine.offer())
    for snapshot in machine.state.glob("revision*.json"):
        snapshot.unlink()
    assert (await machine.start(machine.offer())).meaning.number == 1
