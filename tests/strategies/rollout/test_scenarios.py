"""Every path of a rollout, told in files that an operator can read: tests/scenarios/rollout/*.txt.

    ramp 1%/10m 10%/30m approve_above 5% patience 1h on_inconclusive hold
    tick 10m clear            ten minutes with requests, and what the evidence says
    tick 10m clear idle       ten minutes without
    away 1h                   nobody watches
    approve bob looks fine    who, and why; other verbs have a reason only

Four dashes come before the one line that says where the rollout stands then.
"""

from pathlib import Path

import pytest

from strategies.core.spec import duration_s, share_ppm
from strategies.core.state import RolloutState, live_ppm
from strategies.evidence.epochs import EPOCH_S
from strategies.evidence.rule import Verdict
from strategies.rollout.machine import TABLE, Event, IllegalTransition, Verb, move
from strategies.rollout.ramp import Inconclusive, Ramp

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios" / "rollout").glob("*.txt"))
AUTHOR = "ann"


class Story:
    """Plays the lines of a file."""

    def __init__(self) -> None:
        self.ramp = Ramp(())
        self.state = RolloutState(author=AUTHOR)
        self.now_s = 1_000_000.0
        self.refused = ""
        self.tried: set[tuple[str, str]] = set()

    def play(self, line: str) -> None:
        word, *words = line.split()
        self.refused = ""
        match word:
            case "ramp":
                self.ramp = ramp_of(words)
            case "away":
                self.now_s += duration_s(words[0])
            case "tick":
                self.tick(duration_s(words[0]), Verdict(words[1]), is_idle="idle" in words)
            case "approve":
                self.move(Event(Verb.APPROVE, " ".join(words[1:]), words[0]))
            case _:
                self.move(Event(Verb(word), " ".join(words), AUTHOR))

    def tick(self, for_s: float, verdict: Verdict, *, is_idle: bool) -> None:
        for _ in range(round(for_s / EPOCH_S)):
            self.now_s += EPOCH_S
            if Verb.TICK in TABLE[self.state.phase]:
                served_s = 0.0 if is_idle else float(EPOCH_S)
                self.move(Event(Verb.TICK, str(verdict), now_s=self.now_s, verdict=verdict, served_s=served_s))

    def move(self, event: Event) -> None:
        self.tried.add((self.state.phase, event.verb))
        try:
            self.state = move(self.state, event, self.ramp)
        except IllegalTransition as refused:
            self.refused = f"refused {refused}"

    @property
    def stands(self) -> str:
        share = live_ppm(self.ramp.shares_ppm, self.state) / 10_000
        reason = f" reason={self.state.reason}" if self.state.reason else ""
        return self.refused or f"{self.state.phase} step={self.state.step + 1} share={share:g}%{reason}"


def ramp_of(words: list[str]) -> Ramp:
    options, steps = {}, []
    while words:
        word = words.pop(0)
        match word:
            case "approve_above":
                options["approve_above_ppm"] = share_ppm(words.pop(0))
            case "patience":
                options["patience_s"] = duration_s(words.pop(0))
            case "on_inconclusive":
                options[word] = Inconclusive(words.pop(0))
            case _:
                share, _, bake = word.partition("/")
                steps.append((share_ppm(share), duration_s(bake or "0s")))
    return Ramp(tuple(share for share, _ in steps), tuple(bake for _, bake in steps), **options)


def told(text: str) -> list[tuple[list[str], str]]:
    """Blocks of lines, each with the one line that follows its dashes."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found, story = [], []
    while lines:
        line = lines.pop(0)
        if line == "----":
            found.append((story, lines.pop(0)))
            story = []
        else:
            story.append(line)
    return found


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_a_scenario_goes_as_it_is_written(file: Path) -> None:
    """Each file in tests/scenarios/rollout tells a story; the machine tells the same one."""
    story = Story()
    for lines, expected in told(file.read_text()):
        for line in lines:
            story.play(line)
        assert expected == story.stands, lines


def test_the_scenarios_take_every_move_of_the_table() -> None:
    """A move that no story tells of would be one that nobody can read about."""
    tried = set()
    for file in SCENARIOS:
        story = Story()
        for lines, _ in told(file.read_text()):
            for line in lines:
                story.play(line)
        tried |= story.tried

    assert set() == {(phase, verb) for phase, moves in TABLE.items() for verb in moves} - tried
