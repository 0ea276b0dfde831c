"""`turnout serve`: a config directory, or just model files."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.certificates import check_certificates
from gateway.cli.loading import compile_routes, fail, parse_steps, read_configuration, refusals
from gateway.config.compiled import CompiledRoute
from gateway.config.directory import Configuration
from gateway.config.documents import WORKERS_LIMIT, ListenDoc, SettingsDoc
from gateway.logs import begin_log
from strategies.core.spec import duration_s

if TYPE_CHECKING:
    from gateway.control.process import Ports
    from gateway.handover import Launch

LOG = logging.getLogger("turnout")
MIB = 1024 * 1024


def serve(
    what: Annotated[
        list[Path] | None, typer.Argument(help="A config directory [configs], or ONNX files: old new…")
    ] = None,
    *,
    strategy: Annotated[
        str | None, typer.Option(help="With files: baseline, ab:50%, canary:5% or shadow:100%.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="HTTP; gRPC and metrics take the next two. 0: free ones.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=WORKERS_LIMIT, help="Processes that serve, on the same ports.", show_default=False),
    ] = None,
    step: Annotated[list[str] | None, typer.Option(help="ROUTE=N: the live step of a ramp, from 1.")] = None,
    state: Annotated[Path | None, typer.Option(help="Directory for events and keys.", show_default=False)] = None,
    events: Annotated[str | None, typer.Option(help="Directory for events; - writes them to standard output.")] = None,
) -> None:
    """Serve models over HTTP and gRPC until told to stop."""
    begin_log()
    from gateway.control.process import Ports

    configuration = _configuration(what or [Path("configs")], strategy)
    settings = configuration.settings
    listen = _listen(settings.listen, host, port)
    settings = replace(settings, listen=listen, state=str(state or settings.state), workers=workers or settings.workers)
    routes = compile_routes(configuration, parse_steps(step or []))
    for route in routes:
        if route.notice:
            LOG.warning("route %s %s", route.name, route.notice)
    launch = _launch(settings, configuration, routes, events)
    _run(launch, Ports(listen.http, listen.grpc, listen.metrics))


def _launch(
    settings: SettingsDoc, configuration: Configuration, routes: tuple[CompiledRoute, ...], events: str | None
) -> "Launch":
    """Settings, after the command line had its say, as values that go to every worker."""
    from gateway.execution.shadows import ShadowBounds
    from gateway.frontends.limits import Limits
    from gateway.handover import Launch

    pool = settings.shadow_pool
    return Launch(
        routes=routes,
        state=Path(settings.state),
        events=events or str(Path(settings.state) / "events"),
        host=settings.listen.host,
        limits=Limits(
            body_bytes=settings.body_limit_mib * MIB,
            connection_s=duration_s(settings.connection_age) if settings.connection_age else 0.0,
        ),
        shadows=ShadowBounds(pool.calls, pool.queue, pool.memory_mib * MIB),
        drain_s=duration_s(settings.drain),
        override_token=_token(settings, configuration.root),
        tls=check_certificates(settings.tls, configuration.root),
        workers_n=settings.workers,
    )


def _run(launch: "Launch", ports: "Ports") -> None:
    """Serve until told to stop; a start that fails is one line and an exit status."""
    import asyncio

    from gateway.control.process import StartFailed, control
    from gateway.frontends.binding import PortInUse

    try:
        status = asyncio.run(control(launch, ports))
    except PortInUse as error:
        fail(str(error))
    except (StartFailed, OSError, ValueError) as error:
        fail(f"cannot start: {error}")
    if status:
        raise typer.Exit(status)


def _configuration(what: list[Path], strategy: str | None) -> Configuration:
    from gateway.config.quick import quick_configuration

    folders = [path for path in what if path.is_dir()]
    missing = [str(path) for path in what if not path.exists()]
    if missing:
        fail(f"no such file or directory: {', '.join(missing)}")
    if not folders:
        with refusals():
            return quick_configuration(what, strategy or ("baseline" if len(what) == 1 else "ab"))
    if len(what) > 1:
        fail("serve one config directory, or ONNX files, not both")
    if strategy:
        fail("--strategy is for model files; a config directory says it in its routes")
    return read_configuration(what[0])


def _listen(written: ListenDoc, host: str | None, port: int | None) -> ListenDoc:
    listen = written if host is None else replace(written, host=host)
    if port is None:
        return listen
    if port > 65533:
        fail(f"--port {port} leaves no room for gRPC and metrics; the highest is 65533")
    return replace(listen, http=port, grpc=port and port + 1, metrics=port and port + 2)


def _token(settings: SettingsDoc, root: Path) -> bytes:
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
