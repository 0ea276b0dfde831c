"""The demo's routes: one document, changed in a few words for each thing that is shown."""

from pathlib import Path

from gateway.config.yaml import dump

MODELS = Path(__file__).parents[2] / "configs" / "models"
FAULTS = Path(__file__).parents[1] / "faults"
RANKINGS = Path(__file__).parents[1] / "search"
UNIT_HEADER = "x-account-id"
LIVE = "live"  # the route that an operator changes while clients ask
ITSELF = "itself"  # the route whose canary takes itself back
SEARCH = "search"  # the route whose two rankers readers choose between
RANKERS = ("profile", "learned")  # the baseline first
RAMP = ("5%", "25%", "50%")
CANARY_SALT = "canary"  # the three canary routes deal alike, so they are one canary seen at three steps

BASE = {
    "turnout": "v1",
    "unit": {"header": UNIT_HEADER},
    "timeout": "2s",
    "arms": {
        "linear": {"model": f"file:{MODELS / 'digits-linear.onnx'}", "role": "baseline"},
        "network": {"model": f"file:{MODELS / 'digits-mlp.onnx'}", "role": "candidate"},
        "prior": {"model": f"constant:{MODELS / 'digits-prior.json'}", "role": "reserve"},
    },
    "fallback": ["linear", "prior"],
    "strategy": {"kind": "baseline"},
}
HALF = {"strategy": {"kind": "ab", "shares": {"network": "50%"}}}
SHADOWED = {"shadow": [{"candidate": "network"}]}
CANARY = {"kind": "canary", "candidate": "network", "ramp": [{"share": share} for share in RAMP]}
CLIMB = {"strategy": CANARY}


def broken(model: str, timeout: str = "2s") -> dict[str, object]:
    """Half of the units meet a candidate that fails."""
    arms = BASE["arms"] | {"network": {"model": f"file:{FAULTS / model}", "role": "candidate"}}
    return HALF | {"arms": arms, "timeout": timeout}


CHANGES: dict[str, dict[str, object]] = {
    "baseline": {},
    LIVE: {},
    "ab": HALF,
    **{f"canary-{step}": {"strategy": CANARY, "salt": CANARY_SALT} for step in range(1, len(RAMP) + 1)},
    "shadow": SHADOWED,
    "raises": broken("raises.onnx"),
    "hangs": broken("hangs.onnx", timeout="400ms"),
    "nan": broken("nan.onnx"),
}
NONSENSE = broken("nan.onnx") | {"strategy": CANARY | {"ramp": [{"share": "25%"}, {"share": "50%"}]}}
RANKED = {
    "arms": {
        name: {"model": f"file:{RANKINGS / name}.onnx", "role": role}
        for name, role in zip(RANKERS, ("baseline", "candidate"), strict=True)
    },
    "fallback": ["profile"],
    "strategy": {"kind": "interleave", "partners": ["learned"], "ids": "ids", "aligned": ["similarity"]},
}
STEPS = [f"canary-{step}={step}" for step in range(1, len(RAMP) + 1)]


def write_routes(directory: Path) -> None:
    """Write a config directory that `turnout serve` takes."""
    (directory / "routes").mkdir(parents=True)
    # More shadows than by default: this machine has nothing else to do, and the demo does not wait for them.
    # And a short window: nobody who watches would wait half an hour until clicks count.
    settings = {"turnout": "v1", "shadow_pool": {"per_second": 5000}, "feedback_window": "3s"}
    (directory / "turnout.yaml").write_text(dump(settings))
    for name, changes in (CHANGES | {SEARCH: RANKED, ITSELF: NONSENSE}).items():
        write_route(directory, name, changes)


def write_route(directory: Path, name: str, changes: dict[str, object]) -> Path:
    """Write one route's document; returns its file."""
    file = directory / "routes" / f"{name}.yaml"
    file.write_text(dump({"turnout": "v1", "route": name} | BASE | changes))
    return file
