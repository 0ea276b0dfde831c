"""Layers and the holdout as operators write them: ranges proved disjoint, and every mistake told where it stands."""

from datetime import date
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.assign import assignment_of
from gateway.config.compile import compile_route
from gateway.config.diff import RouteDiff, Side, diff_route
from gateway.config.directory import Configuration, load_directory, load_documents, load_file, place_of
from gateway.config.layers import free_ranges
from gateway.config.problems import ConfigRefused
from gateway.config.review import review
from gateway.config.traffic import Traffic, traffic_of
from gateway.config.yaml import YamlText, dump

ROOT = Path("conf")
LAYERS = "holdout: {share: 2%}\nlayers: {checkout: {}, search: {salt: s1}}\n"
cut = st.integers(0, 20)
ranges = st.lists(st.tuples(cut, cut).filter(lambda pair: pair[0] < pair[1]), min_size=1, max_size=6)


def route(name: str, **words: object) -> str:
    arms = {
        "old": {"model": "file:old.onnx", "role": "baseline"},
        "new": {"model": "file:new.onnx", "role": "candidate"},
    }
    strategy = {"kind": "ab", "shares": {"new": "50%"}}
    written = {"turnout": "v1", "route": name, "arms": arms, "strategy": strategy, "unit": {"header": "x-account"}}
    return dump(written | words)


def load(layers: str = LAYERS, **routes: str) -> Configuration:
    return load_documents(
        ROOT, {"layers.yaml": layers, **{f"routes/{name}.yaml": text for name, text in routes.items()}}
    )


def problems(layers: str = LAYERS, **routes: str) -> list[str]:
    with pytest.raises(ConfigRefused) as refused:
        load(layers, **routes)
    return str(refused.value).splitlines()


def traffic(configuration: Configuration) -> dict[str, Traffic]:
    compiled = (compile_route(each, root=ROOT, layers=configuration.layers) for each in configuration.routes)
    return {each.route: each for each in map(traffic_of, compiled)}


def changed(before: Configuration, after: Configuration) -> RouteDiff | None:
    """What happens to the one route that both have."""
    sides = [
        Side(each.routes[0], compile_route(each.routes[0], root=ROOT, layers=each.layers)) for each in (before, after)
    ]
    return diff_route(*sides)


def percents(pair: tuple[int, int]) -> str:
    return f"{pair[0] * 5}%-{pair[1] * 5}%"


@given(ranges)
def test_ranges_are_refused_exactly_when_two_overlap(written):
    """The proof misses no overlap and sees none where there is none."""
    routes = {f"r{n}": route(f"r{n}", layer="checkout", slots=percents(pair)) for n, pair in enumerate(written)}
    overlapping = any(one[0] < other[1] and other[0] < one[1] for one, other in combinations(written, 2))
    if overlapping:
        assert all("overlaps" in line for line in problems(**routes) if not line.startswith(" "))
    else:
        assert len(load(**routes).routes) == len(written)


@given(st.sets(st.integers(1, 19), min_size=1, max_size=4), st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_no_unit_meets_the_experiments_of_two_routes_of_a_layer(cuts, units):
    edges = sorted({0, 20, *cuts})
    pairs = list(pairwise(edges))
    routes = {f"r{n}": route(f"r{n}", layer="checkout", slots=percents(pair)) for n, pair in enumerate(pairs)}
    configuration = load("layers: {checkout: {}}", **routes)
    compiled = [compile_route(each, root=ROOT, layers=configuration.layers) for each in configuration.routes]

    for unit in units:
        reasons = [assignment_of(each, unit, {})["reason"] for each in compiled]
        assert sorted(reasons) == ["not_enrolled"] * (len(pairs) - 1) + ["split"]


@given(ranges)
def test_what_is_free_is_what_nobody_has(written):
    documents = [load(r=route("r", layer="checkout", slots=percents(pair))).routes[0] for pair in written]
    free = free_ranges(documents)

    for place in range(20):
        taken = any(start <= place < end for start, end in written)
        assert taken != any(start <= place * 50_000 < end for start, end in free)


def test_an_overlap_names_both_routes_and_what_is_free():
    lines = problems(
        fraud=route("fraud", layer="checkout", slots="0%-20%"), price=route("price", layer="checkout", slots="10%-30%")
    )

    assert lines[0].startswith("conf/routes/price.yaml:")
    assert lines[0].endswith(
        "slots: 10%-30% of layer 'checkout' overlaps 0%-20% of route 'fraud' in conf/routes/fraud.yaml"
    )
    assert lines[1:] == ["    give each unit to one of them; free is 30%-100%"]


def test_a_range_within_a_larger_one_is_seen_past_its_neighbour():
    """Not only the next one on the line is looked at."""
    written = {"all": "0%-100%", "low": "10%-20%", "high": "50%-60%"}
    lines = problems(**{name: route(name, layer="checkout", slots=slots) for name, slots in written.items()})

    assert ["overlaps 0%-100% of route 'all'" in line for line in lines[::2]] == [True, True]
    assert lines[1].endswith("free is nothing")


def test_a_header_is_one_unit_however_it_is_spelt():
    other = route("price", layer="checkout", slots="20%-30%", unit={"header": "X-Account"})

    assert len(load(fraud=route("fraud", layer="checkout", slots="0%-20%"), price=other).routes) == 2


def test_a_name_is_enough_for_a_layer():
    assert load("layers:\n  checkout:\n", fraud=route("fraud")).layers.layers["checkout"].salt is None


@given(ranges.map(lambda written: (written[0], written[-1])))
def test_who_begins_and_who_ceases_to_take_part_is_counted_exactly(pairs):
    before, after = ({n for n in range(20) if pair[0] <= n < pair[1]} for pair in pairs)
    configurations = [load(fraud=route("fraud", layer="checkout", slots=percents(pair))) for pair in pairs]
    difference = changed(*configurations)

    begin, cease = len(after - before) * 5, len(before - after) * 5
    expected = f"{begin}% of all units begin to take part, {f'{cease}%' if cease else 'none'} cease to"
    assert difference is None if before == after else difference.words[0] == expected


def test_ranges_of_different_layers_may_overlap():
    configuration = load(
        fraud=route("fraud", layer="checkout", slots="0%-100%"), price=route("price", layer="search", slots="0%-100%")
    )

    assert [each.layer for each in configuration.routes] == ["checkout", "search"]


def test_routes_of_a_layer_deal_by_one_unit():
    """An account and its sessions would have places of their own, and meet both experiments."""
    lines = problems(
        fraud=route("fraud", layer="checkout", slots="0%-20%"),
        price=route("price", layer="checkout", slots="20%-30%", unit={"parameter": "session"}),
    )

    assert lines[0].endswith(
        "unit: layer 'checkout' deals by {header: x-account}, as route 'fraud' in conf/routes/fraud.yaml does; "
        "here it is {parameter: session}"
    )
    assert lines[1:] == ["    write unit: {header: x-account}, or use another layer: a unit has one place in a layer"]


@pytest.mark.parametrize(
    ("words", "what", "cure"),
    [
        (
            {"layer": "chekout", "slots": "0%-1%"},
            "layer: no layer is called 'chekout'",
            "the layers are checkout, search",
        ),
        (
            {"layer": "checkout"},
            "layer: slots are missing",
            "write which part of the layer's units it takes: slots: 0%-20%",
        ),
        ({"slots": "0%-1%"}, "slots: slots are a range of a layer, and none is named", "write layer: and its name"),
        ({"layer": "checkout", "slots": "20%"}, "slots: '20%' is no range", "write it like 0%-20%"),
        (
            {"layer": "checkout", "slots": "20%-20%"},
            "slots: nothing lies in 20%-20%",
            "write the lower end first, as in 0%-20%",
        ),
        (
            {"layer": "checkout", "slots": "0-20"},
            "slots: share 20 is outside 0% to 100%",
            "write five percent as 5% or 0.05",
        ),
    ],
)
def test_a_mistake_in_a_route_is_told_with_its_cure(words, what, cure):
    lines = problems(fraud=route("fraud", **words))

    assert lines[0].startswith("conf/routes/fraud.yaml:")
    assert lines[0].endswith(what)
    assert lines[1:] == [f"    {cure}"]


def test_a_layer_is_added_where_there_is_none():
    documents = {"routes/fraud.yaml": route("fraud", layer="checkout", slots="0%-1%")}
    with pytest.raises(ConfigRefused) as refused:
        load_documents(ROOT, documents)

    assert "\n    add it to layers.yaml: layers: {checkout: {}}" in str(refused.value)


@pytest.mark.parametrize(
    ("layers", "lines"),
    [
        (
            "layers: {a: {salt: b}, b: {}}",
            [
                "conf/layers.yaml:1:24: layers.b: layers 'a' and 'b' have one salt: they would be one and the same",
                "    give each a salt of its own, or leave it out",
            ],
        ),
        (
            "holdout: {share: 2}",
            [
                "conf/layers.yaml:1:11: holdout.share: share 2 is outside 0% to 100%",
                "    write five percent as 5% or 0.05",
            ],
        ),
        ("holdout: {}", ["conf/layers.yaml:1:1: holdout.share: this is missing"]),
        ("layer: {}", ["conf/layers.yaml:1:1: layer: unknown word", "    did you mean 'layers'?"]),
        ("", ["conf/layers.yaml: the document is empty"]),
    ],
)
def test_a_mistake_in_the_layers_is_told_once(layers, lines):
    """Routes are not blamed for layers that could not be read."""
    assert problems(layers, fraud=route("fraud", layer="checkout", slots="0%-20%")) == lines


def test_a_wrong_layer_hides_no_other_mistake():
    lines = problems("layers: []", fraud=route("fraud", strategy={"kind": "dice"}))

    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == [
        "conf/layers.yaml",
        "conf/routes/fraud.yaml",
    ]


def test_a_directory_is_read_with_its_layers(tmp_path):
    (tmp_path / "routes").mkdir()
    (tmp_path / "layers.yaml").write_text(LAYERS)
    (tmp_path / "routes" / "fraud.yaml").write_text(route("fraud", layer="search", slots="0%-20%"))

    for configuration in (load_directory(tmp_path), load_file(tmp_path / "routes" / "fraud.yaml")):
        assert configuration.layers.holdout.share == "2%"
        assert configuration.layers.layers["search"].salt == "s1"
        assert "layers.yaml" in configuration.documents


def test_a_range_can_be_inherited_and_is_then_refused():
    """A route that copies another one's range meets it on the same units, and is told so."""
    lines = problems(fraud=route("fraud", layer="checkout", slots="0%-20%"), heir="extends: fraud.yaml\nroute: heir\n")

    assert "overlaps 0%-20% of route" in lines[0]
    assert "(as conf/routes/heir.yaml extends it)" in lines[0]


def test_what_takes_part_is_told_in_numbers():
    told = traffic(load(fraud=route("fraud", layer="checkout", slots="10%-35%"), price=route("price")))

    fraud, price = told["fraud"], told["price"]
    assert (fraud.held_out_ppm, fraud.layer, fraud.slots_ppm, fraud.enrolled_ppm) == (
        20_000, "checkout", (100_000, 350_000), 245_000,
    )  # fmt: skip
    assert (price.held_out_ppm, price.layer, price.slots_ppm, price.enrolled_ppm) == (
        20_000,
        "",
        (0, 1_000_000),
        980_000,
    )


def test_shadow_calls_are_those_of_all_requests():
    """Whoever does not take part is answered by the baseline, so the candidate's shadow is called for him."""
    shadow = [{"candidate": "new", "share": "100%"}]
    told = traffic(load("layers: {l: {}}", fraud=route("fraud", shadow=shadow, layer="l", slots="0%-20%")))

    assert told["fraud"].shadow_ppm == {"new": 900_000}


def test_assign_shows_where_a_unit_stands():
    """Support can say why somebody does not meet the candidate."""
    configuration = load("holdout: {share: 100%}\nlayers: {l: {}}", fraud=route("fraud", layer="l", slots="0%-20%"))
    compiled = compile_route(configuration.routes[0], root=ROOT, layers=configuration.layers)
    told = assignment_of(compiled, "account-7", {})

    assert (told["arm"], told["reason"], told["holdout"]["drawn"]) == ("old", "held_out", True)
    assert (told["holdout"]["salt"], told["holdout"]["range_ppm"]) == ("holdout", [0, 1_000_000])
    assert (told["layer"]["name"], told["layer"]["salt"], told["layer"]["range_ppm"]) == ("l", "l", [0, 200_000])
    assert told["layer"]["drawn"] == (int(told["layer"]["hash"], 16) < 2**64 // 5)


def test_assign_says_nothing_of_what_is_not_there():
    configuration = load("turnout: v1", fraud=route("fraud"))
    told = assignment_of(compile_route(configuration.routes[0], root=ROOT, layers=configuration.layers), "u", {})

    assert (told["holdout"], told["layer"], told["reason"]) == (None, None, "split")


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("turnout: v1", "holdout: {share: 2%}", "2% of all units are held out: they get the baseline"),
        ("holdout: {share: 2%}", "turnout: v1", "nobody is held out any more, 2% of all units were"),
        ("holdout: {share: 2%}", "holdout: {share: 5%}", "3% more of all units are held out: 2% → 5%"),
        ("holdout: {share: 5%}", "holdout: {share: 2%}", "3% less of all units are held out: 5% → 2%"),
        (
            "holdout: {share: 2%}",
            "holdout: {share: 2%, salt: x}",
            "the holdout is drawn afresh: 2% of all units, not those of before",
        ),
    ],
)
def test_a_change_of_the_holdout_is_told_on_every_route(before, after, word):
    """It is written in another file than the route's, and it is the route's traffic that changes."""
    difference = changed(load(before, fraud=route("fraud")), load(after, fraud=route("fraud")))

    assert (difference.words, difference.experiment) == ((word,), "continues")


@pytest.mark.parametrize(
    ("before", "after", "word", "because"),
    [
        (
            {},
            {"layer": "l", "slots": "0%-20%"},
            "the route is in layer l: 20% of units take part, others get the",
            True,
        ),
        (
            {"layer": "l", "slots": "0%-20%"},
            {},
            "the route has left layer l: every unit takes part, 20% of them did",
            True,
        ),
        (
            {"layer": "l", "slots": "0%-20%"},
            {"layer": "m", "slots": "0%-9%"},
            "layer m draws afresh who takes part: 9%",
            True,
        ),
        (
            {"layer": "l", "slots": "0%-20%"},
            {"layer": "l", "slots": "10%-50%"},
            "30% of all units begin to take part, 10% cease to",
            False,
        ),
        (
            {"layer": "l", "slots": "0%-20%"},
            {"layer": "l", "slots": "0%-30%"},
            "10% of all units begin to take part, none cease to",
            False,
        ),
    ],
)
def test_a_change_of_layer_is_told_in_units(before, after, word, because):
    layers = "layers: {l: {}, m: {}}"
    difference = changed(load(layers, fraud=route("fraud", **before)), load(layers, fraud=route("fraud", **after)))

    assert difference.words[0].startswith(word)
    assert (difference.because, difference.experiment) == (
        ("layer",) if because else (),
        "restarts" if because else "continues",
    )


def test_another_salt_of_the_layer_begins_a_new_experiment():
    """Other units take part, so what was counted before is of others."""
    written = route("fraud", layer="l", slots="0%-20%")
    difference = changed(load("layers: {l: {}}", fraud=written), load("layers: {l: {salt: x}}", fraud=written))

    assert difference.words == (
        "layer l draws afresh who takes part: 20% of units",
        "a new experiment begins, for the salt of its layer changed",
    )
    assert difference.plain()["enrolled_ppm"] == [200_000, 200_000]


def test_a_layer_that_other_routes_use_differently_is_no_difference():
    written = route("fraud", layer="l", slots="0%-20%")

    assert changed(load("layers: {l: {}}", fraud=written), load("layers: {l: {}, m: {}}", fraud=written)) is None


def test_a_route_that_is_new_says_how_many_take_part():
    configuration = load(fraud=route("fraud", layer="checkout", slots="0%-50%"))
    document = configuration.routes[0]
    side = Side(document, compile_route(document, root=ROOT, layers=configuration.layers))

    assert (
        diff_route(None, side)
        .words[0]
        .startswith("the route is new: new 50%, old 50% of the 49% of units that take part")
    )


def test_review_finds_what_keeps_units_for_nothing():
    old = {"kind": "baseline"}
    written = route("fraud", layer="checkout", slots="0%-20%", strategy=old, owner="x", pin=True)
    found = review(load(fraud=written), [], today=date(2026, 1, 1))

    assert [(finding.what, finding.cure) for finding in found] == [
        ("it keeps 0%-20% of layer checkout from others and tries nothing with it", "remove layer and slots"),
        ("no route is in layer search", "remove it from layers.yaml"),
    ]


@pytest.mark.parametrize(
    ("file", "text", "path"),
    [
        ("elsewhere/layers.yaml", LAYERS, "layers.yaml"),
        ("elsewhere/turnout.yaml", "drain: 1s", "turnout.yaml"),
        ("conf/bases/b.yaml", "owner: x", "bases/b.yaml"),
        ("tmp/edited.yaml", route("fraud", layer="checkout", slots="0%-20%"), "routes/old-name.yaml"),
        ("tmp/edited.yaml", "extends: bases/b.yaml\nroute: fraud\n", "routes/old-name.yaml"),
        ("tmp/new.yaml", "extends: bases/b.yaml\nroute: price\n", "routes/new.yaml"),
        ("tmp/new.yaml", "extends: bases/b.yaml\n", "routes/new.yaml"),
    ],
)
def test_one_file_takes_the_place_of_its_own(file, text, path):
    """`turnout apply FILE` changes the route of that name, wherever the file lies."""
    assert place_of(YamlText(Path(file), text), {"routes/old-name.yaml": route("fraud")}) == path


def test_one_file_that_is_wrong_in_itself_is_refused_where_it_lies():
    with pytest.raises(ConfigRefused, match=r"^tmp/edited.yaml:.*unknown value 'dice'"):
        place_of(YamlText(Path("tmp/edited.yaml"), route("fraud", strategy={"kind": "dice"})), {})
