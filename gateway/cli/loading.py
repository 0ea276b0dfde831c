"""What several verbs share: reading a configuration, and ending with one clear line when it cannot be used."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import typer

from gateway.config.compile import compile_route
from gateway.config.compiled import CompiledRoute
from gateway.config.directory import Configuration, load_directory
from gateway.config.documents import RouteDoc, SettingsDoc
from gateway.config.problems import ConfigRefused
from strategies.core.state import RolloutState

REFUSED = 2  # exit status: what was asked for cannot be done as it was written


def read_configuration(root: Path) -> Configuration:
    """The configuration in a directory; prints every problem and exits when there is one."""
    with refusals():
        return load_directory(root)
    raise AssertionError  # refusals() does not come back


def compile_routes(configuration: Configuration, steps: dict[str, int]) -> tuple[CompiledRoute, ...]:
    """All routes as of today, with the step of each ramp; exits on a step that is not there."""
    unknown = steps.keys() - {document.route for document in configuration.routes}
    if unknown:
        fail(f"--step names no route: {', '.join(sorted(unknown))}")
    return tuple(
        compile_route(
            document,
            root=configuration.root,
            layers=configuration.layers,
            state=_state(document, steps.get(document.route, 1)),
            today=datetime.now(UTC).date(),
        )
        for document in configuration.routes
    )


def parse_steps(written: list[str]) -> dict[str, int]:
    """`ROUTE=N` options as a mapping; N counts from 1, as people count the steps of a ramp."""
    steps = {}
    for text in written:
        route, _, number = text.partition("=")
        if not route or not number.isdecimal() or int(number) < 1:
            fail(f"--step wants ROUTE=N with N from 1, not '{text}'")
        steps[route] = int(number)
    return steps


def override_secret(settings: SettingsDoc, root: Path) -> bytes:
    """The content of the override token's file, nothing when none is named; exits when it cannot be used."""
    if settings.override_token_file is None:
        return b""
    file = root / settings.override_token_file
    try:
        token = file.read_bytes().strip()
    except OSError as error:
        fail(f"{file}: the override token cannot be read: {error.strerror}")
    if len(token) < 16:
        fail(f"{file}: an override token has at least 16 characters; make one with: openssl rand -hex 16")
    return token


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a refused configuration into printed problems and an exit status."""
    try:
        yield
    except ConfigRefused as refused:
        count = len(refused.problems)
        fail(f"{refused}\n{count} problem{'s' if count > 1 else ''}")


def fail(text: str) -> NoReturn:
    """Say why on standard error and leave."""
    sys.stderr.write(text.rstrip() + "\n")
    raise typer.Exit(REFUSED)


def _state(document: RouteDoc, step: int) -> RolloutState:
    ramp = getattr(document.strategy, "ramp", (None,))
    if step > len(ramp):
        fail(f"route '{document.route}' has {len(ramp)} step{'s' if len(ramp) > 1 else ''}, there is no step {step}")
    return RolloutState(step - 1)
