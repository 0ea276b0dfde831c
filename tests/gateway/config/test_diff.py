"""A change in words of traffic."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.compile import compile_route, inherited_map
from gateway.config.diff import RouteDiff, Side, diff_route, diff_routes
from gateway.config.directory import NO_LAYERS, load_route
from gateway.config.yaml import YamlText, dump
from strategies.core.assignment import POINTS
from strategies.core.spec import percent

BASE = {
    "turnout": "v1",
    "route": "digits",
    "arms": {
        "old": {"model": "file:old.onnx", "role": "baseline"},
        "new": {"model": "file:new.onnx", "role": "candidate"},
        "newer": {"model": "file:newer.onnx", "role": "candidate"},
        "dumb": {"model": "constant:dumb.json", "role": "reserve"},
    },
    "fallback": ["old"],
    "strategy": {"kind": "ab", "shares": {"new": "5%"}},
}
permille = st.integers(0, 500)


def side(before: Side | None = None, digests: dict[str, str] | None = None, **changes: object) -> Side:
    document = load_route(YamlText(Path("digits.yaml"), dump(BASE | changes)))
    inherited = inherited_map(document, before.compiled if before else None)
    return Side(
        document, compile_route(document, root=Path("/nowhere"), layers=NO_LAYERS, before=inherited), digests or {}
    )


def ab(new: int, newer: int) -> dict[str, object]:
    return {"kind": "ab", "shares": {"new": f"{new / 10:.1f}%", "newer": f"{newer / 10:.1f}%"}}


def changed(**changes: object) -> RouteDiff:
    before = side()
    difference = diff_route(before, side(before, **changes))
    assert difference is not None
    return difference


@given(permille, permille, permille, permille)
def test_the_percentages_are_a_count_of_units(new, newer, then_new, then_newer):
    """What is told of units is what a thousand evenly spread ones would see."""
    before = side(strategy=ab(new, newer))
    after = side(before, strategy=ab(then_new, then_newer))
    seen: dict[tuple[str, str], int] = {}
    for unit in range(1_000):
        point = (2 * unit + 1) * POINTS // 2_000
        pair = tuple(each.compiled.decider.allocation.at(point).serve[0].name for each in (before, after))
        if pair[0] != pair[1]:
            seen[pair] = seen.get(pair, 0) + 1

    difference = diff_route(before, after)
    words = difference.words if difference else ()
    told = [line for line in words if "of units move" in line]
    # midpoints miss by one unit what a fewest-points move splits within a thousandth
    assert {(move.source, move.target) for move in (difference.moves if difference else ()) if move.ppm} >= seen.keys()
    for move in difference.moves if difference else ():
        assert abs(move.points * 1_000 / POINTS - seen.get((move.source, move.target), 0)) <= 1
        share = f"{percent(move.ppm)} of units move from {move.source} to {move.target}"
        assert any(line.startswith(share) for line in told) == bool(move.ppm)


@given(permille, permille)
def test_nothing_differs_from_itself(new, newer):
    before = side(strategy=ab(new, newer))

    assert diff_route(before, side(before, strategy=ab(new, newer))) is None


@given(permille, permille)
def test_a_way_back_is_the_mirror_of_the_way_there(new, then_new):
    there_from = side(strategy=ab(new, 0))
    there_to = side(there_from, strategy=ab(then_new, 0))
    there, back = diff_route(there_from, there_to), diff_route(there_to, side(there_to, strategy=ab(new, 0)))

    def moves(difference: RouteDiff | None) -> set[tuple[str, str, int]]:
        return {(m.source, m.target, m.points) for m in difference.moves} if difference else set()

    assert moves(back) == {(target, source, points) for source, target, points in moves(there)}


def test_a_wider_share_only_adds_units():
    difference = changed(strategy={"kind": "ab", "shares": {"new": "7%"}})

    assert difference.words[0] == "2% of units move from old to new, none return"
    assert difference.experiment == "continues"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timeout": "500ms"}, "timeout 1s → 500ms"),
        ({"owner": "risk"}, "owner none → risk"),
        ({"fallback": ["old", "dumb"]}, "the fallback of digits now ends in dumb, not in old"),
        ({"shadow": [{"candidate": "newer", "share": "18%"}]}, "shadow load +18% of requests: newer 18%"),
        ({"strategy": {"kind": "baseline"}}, "strategy ab → baseline"),
        ({"arms": BASE["arms"] | {"x": {"model": "file:x", "role": "reserve"}}}, "arm x is new: file:x, reserve"),
        ({"arms": {n: a for n, a in BASE["arms"].items() if n != "dumb"}}, "arm dumb is gone"),
        (
            {"arms": BASE["arms"] | {"new": {"model": "file:new.onnx", "role": "candidate", "threads": 2}}},
            "arm new.threads 1 → 2",
        ),
    ],
)  # fmt: skip
def test_every_change_has_its_words(changes, words):
    assert words in changed(**changes).words


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"epoch": 1}, ("epoch",)),
        ({"salt": "other"}, ("salt",)),
        ({"hash": "murmur3-unleash"}, ("hash",)),
        ({"unit": {"header": "x-session"}}, ("unit",)),
        ({"actions": {"block": {"output": "label", "equals": "block"}}}, ("actions",)),
        ({"strategy": {"kind": "canary", "candidate": "new", "ramp": [{"share": "5%"}]}}, ("strategy.kind",)),
        (
            {"arms": BASE["arms"] | {"new": {"model": "file:b.onnx", "role": "candidate"}}},
            ("the model of new",),
        ),
        (
            {
                "attributes": {"country": {"header": "x-country"}},
                "strategy": {"kind": "ab", "shares": {"new": "5%"}, "slices": {"country": ["nz"]}},
            },
            ("strategy.slices",),
        ),
        ({"timeout": "2s", "fallback": ["old", "dumb"], "shadow": [{"candidate": "newer"}]}, ()),
    ],
)
def test_an_experiment_restarts_when_what_it_measures_changes(changes, because):
    difference = changed(**changes)

    assert (difference.because, difference.experiment) == (because, "restarts" if because else "continues")


@pytest.mark.parametrize(
    "changes",
    [{"epoch": 1}, {"salt": "other"}, {"unit": {"header": "x-session"}}, {"hash": "murmur3-flagd", "salt": "digits/0"}],
)
def test_another_deal_moves_everybody_and_counts_nobody(changes):
    """Two maps over different points have no units in common to count."""
    difference = changed(**changes)

    assert (difference.dealt_afresh, difference.moves) == (True, ())
    assert difference.words[0] == "every unit is dealt afresh: new 5%, old 95%"


def test_a_file_with_another_content_is_another_model():
    before = side(digests={"new": "aa", "old": "cc"})
    difference = diff_route(before, side(before, digests={"new": "bb", "old": "cc"}))

    assert difference is not None
    assert difference.words[0] == "arm new: its model file has another content"
    assert difference.because == ("the model of new",)


def test_routes_come_and_go():
    here = side()
    came, went = diff_routes({"digits": here}, {"other": side(route="other")})

    assert (came.route, came.experiment, went.route, went.experiment) == ("other", "begins", "digits", "ends")
    assert came.words == ("the route is new: new 5%, old 95%; its fallback ends in old",)


def interleaved(**words: object) -> dict[str, object]:
    return {"kind": "interleave", "partners": ["new"], "ids": "items"} | words


def test_a_share_of_the_interleaved_moves_the_fewest_units():
    before = side(strategy=interleaved(share="10%"))
    difference = diff_route(before, side(before, strategy=interleaved(share="30%")))

    assert difference.words[:2] == (
        "20% of units move from old to old+new, none return",
        "strategy.share 10% → 30%",
    )
    assert "partner load +20% of requests" in difference.words
    assert difference.experiment == "continues"


@pytest.mark.parametrize("words", [{"k": 5}, {"method": "probabilistic"}, {"partners": ["new", "newer"]}])
def test_another_way_to_merge_is_another_experiment(words):
    before = side(strategy=interleaved())
    difference = diff_route(before, side(before, strategy=interleaved(**words)))

    assert difference.because[0] == "what is interleaved"
