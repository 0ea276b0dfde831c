"""Routes without a file: one ONNX model, or a baseline and candidates, straight from the command line."""

from pathlib import Path

from gateway.config.directory import ROUTES_FOLDER, Configuration, load_route
from gateway.config.documents import SettingsDoc
from gateway.config.problems import ConfigRefused, Located
from gateway.config.yaml import YamlText, dump
from strategies.core.spec import Problem


def quick_configuration(models: list[Path], strategy: str) -> Configuration:
    """A route named after the first model, which is its baseline; the others are candidates.

    `strategy` is "baseline", "ab:50%", "canary:5%" or "shadow:100%"; with several candidates "ab" and "shadow" give
    the share to each. The document goes the way of every other one, so it is checked like every other one.
    """
    names = _names(models)
    document = {
        "turnout": "v1",
        "route": names[0],
        "arms": {
            name: {"model": f"file:{path.resolve()}", "role": "candidate" if place else "baseline"}
            for place, (name, path) in enumerate(zip(names, models, strict=True))
        },
        **_strategy(strategy, names[1:]),
    }
    text = dump(document)
    route = load_route(YamlText(Path("command line"), text))
    return Configuration(Path.cwd(), SettingsDoc(), (route,), {f"{ROUTES_FOLDER}/{names[0]}.yaml": text})


def _names(models: list[Path]) -> list[str]:
    """The files' stems; where two are alike, their folders stand before them."""
    stems = [path.stem for path in models]
    return [
        stem if stems.count(stem) == 1 else f"{path.resolve().parent.name}-{stem}"
        for stem, path in zip(stems, models, strict=True)
    ]


def _strategy(written: str, candidates: list[str]) -> dict[str, object]:
    kind, _, share = written.partition(":")
    if kind not in ("baseline", "ab", "canary", "shadow"):
        raise _refused(f"unknown strategy '{written}'", "write baseline, ab:50%, canary:5% or shadow:100%")
    if kind != "baseline" and not candidates:
        raise _refused(f"'{written}' needs a second model", "name it after the first: old.onnx new.onnx")
    if kind == "canary":
        return {"strategy": {"kind": "canary", "candidate": candidates[0], "ramp": [{"share": share or "5%"}]}}
    if kind == "ab":
        return {"strategy": {"kind": "ab", "shares": dict.fromkeys(candidates, share or "50%")}}
    shadows = [{"candidate": name, "share": share or "100%"} for name in candidates] if kind == "shadow" else []
    return {"strategy": {"kind": "baseline"}, "shadow": shadows}


def _refused(what: str, cure: str) -> ConfigRefused:
    return ConfigRefused([Located(Path("command line"), 0, 0, Problem((), what, cure))])
