import pytest

from strategies.core.arm import Arm, Arms, Role


@pytest.fixture
def arms() -> Arms:
    """A baseline, two candidates and a reserve, falling back on the baseline and then the reserve."""
    roles = {"old": Role.BASELINE, "new": Role.CANDIDATE, "newer": Role.CANDIDATE, "dumb": Role.RESERVE}
    return Arms(
        tuple(Arm(index, name, role, f"file:{name}.onnx") for index, (name, role) in enumerate(roles.items())),
        fallback=("old", "dumb"),
    )
