"""`turnout serve`: a config directory, or just model files."""

import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.certificates import open_certificates
from gateway.cli.loading import compile_routes, fail, parse_steps, read_configuration, refusals
from gateway.config.directory import Configuration
from gateway.config.documents import ListenDoc, SettingsDoc

if TYPE_CHECKING:
    from gateway.main import Launch


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
    step: Annotated[list[str] | None, typer.Option(help="ROUTE=N: the live step of a ramp, from 1.")] = None,
    state: Annotated[Path | None, typer.Option(help="Directory for events and keys.", show_default=False)] = None,
    events: Annotated[str | None, typer.Option(help="Directory for events; - writes them to standard output.")] = None,
) -> None:
    """Serve models over HTTP and gRPC until told to stop."""
    _begin_log()
    from gateway.main import Launch

    configuration = _configuration(what or [Path("configs")], strategy)
    settings = replace(configuration.settings, listen=_listen(configuration.settings.listen, host, port))
    home = state or Path(settings.state)
    launch = Launch(
        settings=settings,
        routes=compile_routes(configuration, parse_steps(step or [])),
        state=home,
        events=events or str(home / "events"),
        override_token=_token(settings, configuration.root),
        certificates=open_certificates(settings.tls, configuration.root),
    )
    _run(launch)


def _run(launch: "Launch") -> None:
    """Serve until told to stop; a start that fails is one line and an exit status."""
    import uvloop

    from gateway.frontends.binding import PortInUse
    from gateway.main import run

    try:
        uvloop.run(run(launch))
    except PortInUse as error:
        fail(str(error))
    except (OSError, ValueError) as error:
        fail(f"cannot start: {error}")


def _begin_log() -> None:
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it writes a line for every stranger whose handshake fails
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it announces what we announce


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
