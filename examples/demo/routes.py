"""The demo's routes: one document, changed in a few words for each thing that is shown."""

from pathlib import Path

from gateway.config.yaml import dump

MODELS = Path(__file__).parents[2] / "configs" / "models"
FAULTS = Path(__file__).parents[1] / "faults"
UNIT_HEADER = "x-account-id"
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
CANARY = {"kind": "canary", "candidate": "network", "ramp": [{"share": share} for share in RAMP]}


def broken(model: str, timeout: str = "2s") -> dict[str, object]:
    """Half of the units meet a candidate that fails."""
    arms = BASE["arms"] | {"network": {"model": f"file:{FAULTS / model}", "role": "candidate"}}
    return HALF | {"arms": arms, "timeout": timeout}


CHANGES: dict[str, dict[str, object]] = {
    "baseline": {},
    "ab": HALF,
    **{f"canary-{step}": {"strategy": CANARY, "salt": CANARY_SALT} for step in range(1, len(RAMP) + 1)},
    "shadow": {"shadow": [{"candidate": "network"}]},
    "raises": broken("raises.onnx"),
    "hangs": broken("hangs.onnx", timeout="400ms"),
    "nan": broken("nan.onnx"),
}
STEPS = [f"canary-{step}={step}" for step in range(1, len(RAMP) + 1)]


def write_routes(directory: Path) -> None:
    """Write a config directory that `turnout serve` takes."""
    (directory / "routes").mkdir(parents=True)
    for name, changes in CHANGES.items():
        document = {"turnout": "v1", "route": name} | BASE | changes
        (directory / "routes" / f"{name}.yaml").write_text(dump(document))
