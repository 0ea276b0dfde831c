"""From text to documents: strict, all problems at once, each where it stands."""

from datetime import date
from pathlib import Path

import pytest

from gateway.config.directory import load_directory, load_route
from gateway.config.problems import ConfigRefused
from gateway.config.yaml import YamlText

GOOD = """\
turnout: v1
route: digits
unit: {header: x-account-id}
attributes: {region: {header: x-region}}
arms:
  old: {model: "file:old.onnx", role: baseline}
  new: {model: "bento:digits:2", role: candidate}
fallback: [old]
audience: [{attribute: region, in: [nz, au]}]
strategy:
  kind: canary
  candidate: new
  ramp: [{share: 5%}, {share: 0.5, bake: 1h}]
shadow: [{candidate: new, share: 20%}]
expires: 2027-01-31
"""
AB = "kind: ab\n  shares: {new: 50%}"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigRefused) as refused:
        load_route(YamlText(Path("digits.yaml"), text))
    return str(refused.value).splitlines()


def test_a_correct_document_is_read():
    document = load_route(YamlText(Path("digits.yaml"), GOOD))

    assert (document.route, list(document.arms), document.strategy.kind) == ("digits", ["old", "new"], "canary")
    assert document.audience[0].values == ("nz", "au")
    assert document.expires == date(2027, 1, 31)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("role: baseline", "rol: baseline", "digits.yaml:6:33: arms.old.rol: unknown word"),
        ("role: baseline", "role: boss", "digits.yaml:6:33: arms.old.role: unknown value 'boss'"),
        (
            "route: digits\n",
            "route: digits\nhash: murmur3-unleesh\n",
            "digits.yaml:3:1: hash: unknown value 'murmur3-unleesh'",
        ),
        ("kind: canary", "kind: canry", "digits.yaml:10:1: strategy: unknown value 'canry'"),
        ("  kind: canary\n", "", "digits.yaml:10:1: strategy: the kind is missing"),
        ("share: 5%", "share: 5", "digits.yaml:13:11: strategy.ramp[0].share: share 5 is outside 0% to 100%"),
        ("share: 0.5", "share: 1%", "digits.yaml:13:24: strategy.ramp[1].share: the ramp does not rise here"),
        (
            "candidate: new\n  ramp",
            "candidate: nwe\n  ramp",
            "digits.yaml:12:3: strategy.candidate: no arm is called 'nwe'",
        ),
        ("fallback: [old]", "fallback: [old, ghost]", "digits.yaml:8:17: fallback[1]: no arm is called 'ghost'"),
        ("fallback: [old]", "fallback: []", "digits.yaml:8:1: fallback: an empty chain leaves nobody to step in"),
        (
            "role: baseline",
            "role: candidate",
            "digits.yaml:5:1: arms: a route has exactly one baseline, here it is none",
        ),
        ("bento:digits:2", "s3:digits", "digits.yaml:7:9: arms.new.model: 's3:digits' is no reference to a model"),
        ("attribute: region", "attribute: country", "digits.yaml:9:13: audience[0].attribute: no attribute is called"),
        ("share: 20%", "share: lots", "digits.yaml:14:27: shadow[0].share: 'lots' is no share"),
        ("turnout: v1", "turnout: v2", "digits.yaml:1:1: turnout: unknown value 'v2'"),
        ("route: digits", "route: ../etc", "digits.yaml:2:1: route: "),
        ("unit: {header: x-account-id}", "unit: {}", "digits.yaml:3:1: unit: a fact has one source"),
        ("route: digits", "route: digits\nroute: digits", "digits.yaml:3:1: not YAML: found duplicate key"),
        ("strategy:", "strategy: [", "not YAML"),
        (
            "shadow:",
            "  guardrails: [{action: block, no_worse_than: 3%}]\nshadow:",
            "digits.yaml:14:17: strategy.guardrails[0].action: no action is called 'block'",
        ),
        (
            "expires: 2027-01-31",
            "actions: {block: {output: label}}",
            "digits.yaml:15:11: actions.block: an answer is an action by one comparison, here there is none",
        ),
        (
            "expires: 2027-01-31",
            "actions: {block: {output: score, above: 1, below: 2}}",
            "digits.yaml:15:11: actions.block: an answer is an action by one comparison, here there is above and below",
        ),
        (
            "expires: 2027-01-31",
            "actions: {block: {output: score, above: .nan}}",
            "digits.yaml:15:34: actions.block.above: nothing compares to NaN",
        ),
        *(
            ("kind: canary\n  candidate: new\n  ramp: [{share: 5%}, {share: 0.5, bake: 1h}]", f"{AB}\n  {slices}", said)
            for slices, said in (
                (
                    "slices: {country: [nz]}",
                    "digits.yaml:13:12: strategy.slices.country: no attribute is called 'country'",
                ),
                (
                    "slices: {region: []}",
                    "digits.yaml:13:12: strategy.slices.region: a slice is a value, and there is none",
                ),
                (
                    "slices: {region: [nz, other]}",
                    "digits.yaml:13:25: strategy.slices.region[1]: 'other' cannot name a slice",
                ),
                ("slices: {region: [nz, nz]}", "digits.yaml:13:25: strategy.slices.region[1]: 'nz' is listed twice"),
                ("slices: {region: [1]}", "digits.yaml:13:21: strategy.slices.region[0]: must be text"),
                (
                    f"slices: {{region: [{', '.join(f'r{n}' for n in range(16))}]}}",
                    "strategy.slices: these are 17 slices",
                ),
            )
        ),
        ("expires: 2027-01-31", "timeout: 5", "digits.yaml:15:1: timeout: must be text"),
        ("expires: 2027-01-31", "timeout: 1h", "digits.yaml:15:1: timeout: a timeout of 1h is out of range"),
    ],
)
def test_a_mistake_is_told_where_it_stands(old, new, expected):
    """An editor can jump to it."""
    lines = problems(GOOD.replace(old, new, 1))

    assert any(expected in line for line in lines), lines


def test_all_mistakes_are_told_at_once():
    lines = problems(GOOD.replace("role: baseline", "rol: baseline").replace("share: 20%", "shar: 20%"))

    assert sum(line.startswith("digits.yaml:") for line in lines) == 3  # role is missing, rol and shar are unknown


def test_an_unknown_word_is_answered_with_the_nearest_known():
    assert "    did you mean 'shadow'?" in problems(GOOD.replace("shadow:", "shadows:"))


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b", "a: &x [*x]"])
def test_what_is_no_document_is_refused(text):
    assert problems(text)


def test_aliases_cannot_blow_a_document_up():
    """Ten lines that unfold into a billion values are refused, not unfolded."""
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]

    assert "unfolds into too many values" in problems("\n".join(lines))[0]


def test_a_document_nobody_can_review_is_refused():
    assert "longer than 256 KiB" in problems("# " + "x" * 300_000)[0]


def test_a_directory_is_read_whole(tmp_path):
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "digits.yaml").write_text(GOOD)
    (tmp_path / "turnout.yaml").write_text("turnout: v1\nlisten: {http: 9000}\n")
    configuration = load_directory(tmp_path)

    assert configuration.settings.listen.http == 9000
    assert [route.route for route in configuration.routes] == ["digits"]


def test_a_directory_is_refused_whole(tmp_path):
    """The problems of all files are told together."""
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "a.yaml").write_text(GOOD)
    (tmp_path / "routes" / "b.yaml").write_text(GOOD)
    (tmp_path / "routes" / "c.yaml").write_text(GOOD.replace("kind: canary", "kind: dice"))
    (tmp_path / "turnout.yaml").write_text("listen: {http: 70000}\n")
    with pytest.raises(ConfigRefused) as refused:
        load_directory(tmp_path)

    text = str(refused.value)
    assert "turnout.yaml:1:10: listen.http" in text
    assert "unknown value 'dice'" in text
    assert "b.yaml:2:1: route: route 'digits' is in" in text


@pytest.mark.parametrize("missing", ["nowhere", "empty"])
def test_a_directory_without_routes_says_what_to_add(tmp_path, missing):
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigRefused, match="routes"):
        load_directory(tmp_path / missing)


def test_every_duration_of_the_settings_is_checked(tmp_path):
    (tmp_path / "turnout.yaml").write_text("turnout: v1\ndrain: soon\nconnection_age: later\n")
    with pytest.raises(ConfigRefused) as refused:
        load_directory(tmp_path)

    assert "turnout.yaml:2:1: drain: 'soon' is no duration" in str(refused.value)
    assert "turnout.yaml:3:1: connection_age: 'later' is no duration" in str(refused.value)
