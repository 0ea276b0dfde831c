"""docs/rollouts.md draws the machine as its table has it, and knows every phase and every word."""

import re
from itertools import product
from pathlib import Path

from strategies.core.state import Phase, RolloutState
from strategies.evidence.rule import Verdict
from strategies.rollout.guardrails import METRICS
from strategies.rollout.machine import TABLE, Event, IllegalTransition, Verb, move
from strategies.rollout.ramp import Inconclusive, Ramp

PAGE = (Path(__file__).parents[2] / "docs" / "rollouts.md").read_text("utf-8")


def drawn() -> list[str]:
    """Each way from one phase to another as a line of a Mermaid diagram, found by trying every move in every way."""
    ways = set()
    ramps = [
        Ramp((1, 2), patience_s=patience_s, approve_above_ppm=above_ppm, on_inconclusive=word)
        for patience_s, above_ppm, word in product((0.0, 9.0), (1, 1_000_000), Inconclusive)
    ]
    states = [RolloutState(step, approver=who) for step, who in product((0, 1), ("", "bob"))]
    for (phase, moves), ramp, state, verdict in product(TABLE.items(), ramps, states, Verdict):
        for verb in moves:
            event = Event(verb, author="carol", now_s=1.0, verdict=verdict)
            before = RolloutState(state.step, phase, approver=state.approver)
            try:
                after = move(before, event, ramp)
            except IllegalTransition:
                continue
            if (after.phase, after.step) != (before.phase, before.step):
                ways.add((phase, after.phase, verdict if verb is Verb.TICK else verb))
    order = list(Phase)
    pairs = sorted({(was, now) for was, now, _ in ways}, key=lambda pair: (order.index(pair[0]), order.index(pair[1])))
    words = [*Verdict, *Verb]
    return [
        f"    {was} --> {now}: " + ", ".join(sorted((w for a, b, w in ways if (a, b) == (was, now)), key=words.index))
        for was, now in pairs
    ]


def test_the_diagram_is_drawn_from_the_table():
    """What `drawn` says is what the page has to say."""
    (block,) = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)\n```", PAGE, re.DOTALL)

    assert drawn() == block.splitlines()


def test_every_word_is_explained():
    for word in (*Phase, *Verdict, *Inconclusive, *METRICS, *(verb for verb in Verb if verb is not Verb.TICK)):
        assert f"`{word}`" in PAGE, word
