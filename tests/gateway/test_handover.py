"""What the control process hands to a worker, and what it keeps to itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.compile import compile_route
from gateway.config.directory import NO_LAYERS, load_directory, load_route
from gateway.config.yaml import YamlText, dump
from gateway.execution.shadows import ShadowBounds
from gateway.handover import Launch, divide, pack, pack_routes, shadows_of, unpack, unpack_routes
from strategies.core.plan import RequestFacts
from strategies.core.state import RolloutState

ROOT = Path(__file__).parents[2]
CONTROL_ALONE = ("fastapi", "pydantic", "rich", "ruamel", "starlette", "typer")


@pytest.fixture
def launch(tmp_path):
    """The committed configuration, ready to be served."""
    configuration = load_directory(ROOT / "configs")
    routes = tuple(
        compile_route(document, root=configuration.root, layers=configuration.layers, state=RolloutState(0))
        for document in configuration.routes
    )
    return Launch(routes=routes, state=tmp_path, events=str(tmp_path / "events"))


def test_a_worker_decides_as_the_control_process_would(launch):
    """Every unit has the arm that `turnout assign` tells."""
    received = unpack(pack(launch))
    for sent, got in zip(launch.routes, received.routes, strict=True):
        for point in range(0, 2**64, 2**58):
            facts = RequestFacts(f"event-{point}", "", point, ("",) * len(sent.attribute_names), "", "")
            assert sent.decider.decide(facts) == got.decider.decide(facts)
        assert sent.arms == got.arms


def test_a_copy_of_a_baseline_elsewhere_is_handed_over_too():
    """The gateway's own copy of what runs on Ray has no words of its own for its provider."""
    arms = {"old": {"model": "file:old.onnx", "role": "baseline", "runner": "ray"}}
    written = {"turnout": "v1", "route": "r", "arms": arms, "strategy": {"kind": "baseline"}}
    route = compile_route(load_route(YamlText(Path("r.yaml"), dump(written))), root=Path("/etc"), layers=NO_LAYERS)
    (received,) = unpack_routes(pack_routes([route]))
    assert ["old", "old@resident"] == [each.arm.name for each in received.arms]
    assert route.arms == received.arms


def test_a_worker_never_meets_what_reads_documents(launch):
    """Parsing costs a tenth of a second and thirty megabytes; it is done once, beside the workers."""
    script = f"""
import asyncio, sys
import gateway.event_log, gateway.link, gateway.logs, gateway.main, gateway.serving, uvloop
from gateway.config.bind import Binder
from gateway.handover import unpack
from gateway.routing.leases import Leases
from observability.metrics import Metrics
from runners.core.catalogue import Runners
launch = unpack(sys.stdin.buffer.read())
binder = Binder(Leases(Runners().find), metrics=Metrics("0"), report=lambda event: None)
table = asyncio.run(binder.bind(1, launch.routes)).table
assert table.routes and not table.quarantined
print(*sorted(set({CONTROL_ALONE!r}) & {{name.partition(".")[0] for name in sys.modules}}))
"""
    ran = subprocess.run([sys.executable, "-c", script], input=pack(launch), capture_output=True, cwd=ROOT, check=False)

    assert (b"\n", 0) == (ran.stdout, ran.returncode), ran.stderr.decode()


@given(total=st.integers(0, 10_000), workers_n=st.integers(1, 64))
def test_the_parts_of_a_bound_are_the_bound(total, workers_n):
    parts = [divide(total, slot, workers_n) for slot in range(workers_n)]

    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1


def test_every_worker_can_make_a_shadow_call():
    """More workers than calls allowed: each may make one, or its shadows would never be called."""
    bounds = ShadowBounds(calls=2, queue=3, bytes=100)

    assert [(1, 1, 25), (1, 1, 25), (1, 1, 25), (1, 0, 25)] == [
        (part.calls, part.queue, part.bytes) for part in (shadows_of(bounds, slot, 4) for slot in range(4))
    ]
