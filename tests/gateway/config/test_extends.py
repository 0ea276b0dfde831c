"""A route that says only what it does otherwise: merged word by word, and every mistake told where it was written."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.config.directory import load_directory, load_documents, load_file
from gateway.config.extends import CHAIN_LIMIT, extended, unused_bases
from gateway.config.problems import ConfigRefused
from gateway.config.schema import schemas
from gateway.config.yaml import dump

ROOT = Path("conf")
FRAUD = """\
turnout: v1
route: fraud
owner: risk-team
arms:
  old: {model: "file:old.onnx", role: baseline, threads: 2}
  new: {model: "file:new.onnx", role: candidate}
strategy:
  kind: canary
  candidate: new
  ramp: [{share: 5%}, {share: 50%}]
timeout: 500ms
"""
words = st.sampled_from(["a", "b", "c"])
values = st.recursive(
    st.none() | st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=2),
    lambda inner: st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
groups = st.dictionaries(words, values, max_size=3)


def load(**documents: str):
    """The configuration of these route documents, by the name of the file; `bases__x` lies in bases/."""
    return load_documents(ROOT, {path_of(name): text for name, text in documents.items()})


def path_of(name: str) -> str:
    return f"{name.replace('__', '/')}.yaml" if "__" in name else f"routes/{name}.yaml"


def problems(**documents: str) -> list[str]:
    with pytest.raises(ConfigRefused) as refused:
        load(**documents)
    return str(refused.value).splitlines()


def patched(target: object, patch: object) -> object:
    """The RFC's own words, as the oracle."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for word, value in patch.items():
        if value is None:
            result.pop(word, None)
        else:
            result[word] = patched(result.get(word), value)
    return result


def test_a_route_says_only_what_it_does_otherwise():
    """A second country gets the same arms under its own name, with less time."""
    child = 'extends: fraud.yaml\nroute: fraud-nz\ntimeout: 200ms\narms: {old: {threads: 4}, new: {model: "file:nz"}}\n'
    fraud, fraud_nz = load(fraud=FRAUD, fraud_nz=child).routes

    assert (fraud.route, fraud.timeout, fraud.arms["old"].threads) == ("fraud", "500ms", 2)
    assert (fraud_nz.route, fraud_nz.timeout, fraud_nz.arms["old"].threads) == ("fraud-nz", "200ms", 4)
    assert (fraud_nz.arms["new"].model, fraud_nz.arms["new"].role, fraud_nz.owner) == (
        "file:nz",
        "candidate",
        "risk-team",
    )
    assert fraud_nz.extends == "fraud.yaml"


def test_a_list_is_replaced_and_null_takes_away():
    child = "extends: fraud.yaml\nroute: other\nstrategy: {ramp: [{share: 10%}]}\nowner: null\n"
    other = load(fraud=FRAUD, other=child).routes[1]

    assert [step.share for step in other.strategy.ramp] == ["10%"]
    assert (other.strategy.candidate, other.owner) == ("new", None)


def test_another_kind_of_strategy_brings_its_own_words():
    """Nobody has to take away the words of a ramp to write an A/B test."""
    child = "extends: fraud.yaml\nroute: other\nstrategy: {kind: ab, shares: {new: 50%}}\n"

    assert load(fraud=FRAUD, other=child).routes[1].strategy.shares == {"new": "50%"}


def test_a_base_need_be_no_route():
    """What several routes have in common lies in bases/, and is served by nobody."""
    base = "turnout: v1\ntimeout: 200ms\nunit: {header: x-account-id}\n"
    route = FRAUD.replace("timeout: 500ms\n", "") + "extends: bases/common.yaml\n"
    configuration = load(bases__common=base, fraud=route)

    assert [document.route for document in configuration.routes] == ["fraud"]
    assert (configuration.routes[0].timeout, configuration.routes[0].unit.header) == ("200ms", "x-account-id")


def test_arms_keep_the_order_of_the_farthest_base():
    """An arm's place is part of what it is, so adding one at the end moves none."""
    child = 'extends: fraud.yaml\nroute: other\narms: {extra: {model: "file:x", role: reserve}, old: {threads: 1}}\n'

    assert list(load(fraud=FRAUD, other=child).routes[1].arms) == ["old", "new", "extra"]


@given(st.lists(groups, min_size=2, max_size=4))
def test_a_chain_is_one_merge_patch_after_the_other(chain):
    """Whoever knows JSON Merge Patch knows what a document comes to, however many it extends."""
    documents = {}
    for place, group in enumerate(chain):
        head = {"extends": f"d{place - 1}.yaml"} if place else {}
        documents[f"routes/d{place}.yaml"] = dump(head | group)
    last = len(chain) - 1
    expected: object = chain[0]
    for group in chain[1:]:
        expected = patched(expected, group)
    merged = extended(ROOT, f"routes/d{last}.yaml", documents).group()

    # a plain document keeps a null, and an heir has it no more
    assert merged == patched({}, expected) | {"extends": f"d{last - 1}.yaml"}


@given(groups)
def test_who_changes_nothing_says_what_the_base_says(group):
    documents = {"routes/a.yaml": dump(group | {"x": 1}), "routes/b.yaml": "extends: a.yaml\n"}
    merged = dict(extended(ROOT, "routes/b.yaml", documents).group())
    del merged["extends"]

    assert merged == patched({}, group | {"x": 1})


@pytest.mark.parametrize(
    ("old", "new", "child", "expected"),
    [
        (
            "threads: 2",
            "thread: 2",
            "",
            "conf/routes/fraud.yaml:5:49: arms.old.thread: unknown word (as conf/routes/other.yaml extends it)",
        ),
        ("", "", "timeot: 1s\n", "conf/routes/other.yaml:3:1: timeot: unknown word"),
        ("", "", "arms: {old: {thread: 1}}\n", "conf/routes/other.yaml:3:14: arms.old.thread: unknown word"),
        ("", "", "strategy: {ramp: [{bake: 1m}]}\n", "conf/routes/other.yaml:3:19: strategy.ramp[0].share: this is"),
        ("", "", "strategy: {ramp: null}\n", "conf/routes/other.yaml:3:12: strategy.ramp: this is missing"),
        (
            "",
            "",
            "arms: {new: null}\n",
            "conf/routes/fraud.yaml:9:3: strategy.candidate: no arm is called 'new' (as conf/routes/other.yaml extends",
        ),
    ],
)
def test_a_mistake_is_told_where_the_word_was_written(old, new, child, expected):
    """The file that is named is the one to mend, and if another document minds, it is named too."""
    lines = problems(fraud=FRAUD.replace(old, new), other=f"extends: fraud.yaml\nroute: other\n{child}")

    assert any(line.startswith(expected) for line in lines), lines


def test_the_mistake_of_a_base_is_told_once():
    """Ten heirs do not make ten mistakes of one."""
    base = FRAUD.replace("route: fraud\n", "").replace("owner:", "ownr:")
    heirs = {name: f"extends: bases/b.yaml\nroute: {name}\n" for name in ("one", "two")}
    lines = problems(bases__b=base, **heirs)

    assert lines == [
        "conf/bases/b.yaml:2:1: ownr: unknown word (as conf/routes/one.yaml, conf/routes/two.yaml extend it)",
        "    did you mean 'owner'?",
    ]


def test_a_name_is_not_inherited():
    """Two routes of one name would be the commonest mistake of all."""
    lines = problems(fraud=FRAUD, other="extends: fraud.yaml\n")

    assert lines == ["conf/routes/other.yaml:1:1: route: this is missing"]


def test_a_base_that_is_not_there_is_told_with_the_nearest():
    lines = problems(fraud=FRAUD, other="extends: frod.yaml\nroute: other\n")

    assert lines == [
        "conf/routes/other.yaml:1:1: extends: there is no routes/frod.yaml",
        "    name a file beside this one, or bases/NAME.yaml; did you mean 'routes/fraud.yaml'?",
    ]


@pytest.mark.parametrize("named", ["../fraud.yaml", "/etc/passwd", "routes/../turnout.yaml", "turnout.yaml", ""])
def test_nothing_outside_can_be_extended(named, tmp_path):
    """Documents come from anywhere; what they name is looked up among the texts, and nowhere else."""
    (tmp_path / "routes").mkdir()
    (tmp_path / "turnout.yaml").write_text("turnout: v1\n")
    (tmp_path / "fraud.yaml").write_text(FRAUD)
    (tmp_path / "routes" / "a.yaml").write_text(f'extends: "{named}"\nroute: a\n')

    with pytest.raises(ConfigRefused, match="there is no"):
        load_directory(tmp_path)


@pytest.mark.parametrize(
    ("documents", "circle"),
    [
        ({"a": "extends: a.yaml\nroute: a\n"}, "routes/a.yaml → routes/a.yaml"),
        (
            {"a": "extends: bases/b.yaml\nroute: a\n", "bases__b": "extends: routes/a.yaml\n"},
            "routes/a.yaml → bases/b.yaml → routes/a.yaml",
        ),
    ],
)
def test_a_circle_is_refused(documents, circle):
    lines = problems(**documents)

    assert lines[0].endswith(f"extends: this goes round in a circle: {circle}")
    assert lines[1] == "    let one of them stand on its own"


def test_a_chain_has_a_bound():
    """What is spread over a dozen files is found by nobody."""
    chain = {f"d{n}": f"extends: d{n - 1}.yaml\nroute: r{n}\n" for n in range(1, CHAIN_LIMIT + 1)}
    first = FRAUD.replace("route: fraud", "route: r0")

    assert len(load(d0=first, **dict(list(chain.items())[:-1])).routes) == CHAIN_LIMIT
    lines = problems(d0=first, **chain)
    assert lines == [
        "conf/routes/d1.yaml:1:1: extends: more than 8 documents extend each other",
        "    extend one that says more itself",
    ]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("a: [", "conf/bases/b.yaml:1:5: not YAML"),
        ("", "conf/bases/b.yaml: the document is empty"),
        ("- a", "conf/bases/b.yaml: the document is no group of named values"),
    ],
)
def test_a_base_that_is_none_is_refused_whoever_extends_it(base, expected):
    assert problems(bases__b=base, fraud=FRAUD)[0].startswith(expected)
    assert problems(bases__b=base, fraud=f"extends: bases/b.yaml\n{FRAUD}")[0].startswith(expected)


def test_extends_names_one_document():
    assert problems(fraud=f"extends: [a.yaml]\n{FRAUD}") == ["conf/routes/fraud.yaml:1:1: extends: must be text"]


def test_one_file_is_compared_with_all_it_extends(tmp_path):
    """`turnout diff` of two routes looks beside them for their bases."""
    for folder in ("routes", "bases"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bases" / "b.yaml").write_text(FRAUD.replace("route: fraud\n", ""))
    (tmp_path / "routes" / "a.yaml").write_text("extends: bases/b.yaml\nroute: a\n")

    assert load_file(tmp_path / "routes" / "a.yaml").routes[0].owner == "risk-team"


def test_a_base_nobody_extends_is_found():
    documents = {
        "routes/a.yaml": "extends: bases/one.yaml\n",
        "bases/one.yaml": "extends: two.yaml\n",
        "bases/two.yaml": "owner: x\n",
        "bases/three.yaml": "extends: two.yaml\n",
    }

    assert unused_bases(ROOT, documents) == ["bases/three.yaml"]


def test_editors_know_a_part_from_a_whole():
    """A document that extends another one is not underlined for what the other says, yet for a typing error."""
    schema = json.loads(schemas()["part.json"])
    Draft202012Validator.check_schema(schema)

    def errors(document: object) -> int:
        return len(list(Draft202012Validator(schema).iter_errors(document)))

    part = {"extends": "fraud.yaml", "route": "x", "arms": {"old": {"threads": 4}, "new": None}, "shadow": None}
    assert errors(part | {"strategy": {"ramp": [{"share": "1%"}]}}) == 0
    assert errors(part | {"ownr": "x"}) == 1
    assert errors(part | {"arms": {"old": {"thread": 4}}}) == 1
    assert errors(part | {"strategy": {"ramps": []}}) == 1
