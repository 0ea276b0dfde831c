"""`turnout serve`: a config directory, or just model files."""

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.certificates import check_certificates
from gateway.cli.kept import shelf_in, whoever_asks
from gateway.cli.loading import compile_routes, fail, override_secret, parse_steps, refusals
from gateway.config.directory import load_directory, settings_alone
from gateway.config.documents import WORKERS_LIMIT, ListenDoc, NotifyDoc, SettingsDoc
from gateway.config.problems import ConfigRefused
from gateway.logs import begin_log
from strategies.core.spec import duration_s

if TYPE_CHECKING:
    from gateway.control.boot import Offer
    from gateway.control.hosts import Hosts
    from gateway.control.notices import Receiver
    from gateway.control.process import Ports
    from gateway.handover import Launch
    from gateway.state.shelf import Shelf

MIB = 1024 * 1024
SECRET_N = 16  # characters of what a webhook is signed with, at least


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
        int | None, typer.Option(min=0, max=65535, help="HTTP; gRPC, metrics and admin take the next. 0: free ones.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=WORKERS_LIMIT, help="Processes that serve, on the same ports.", show_default=False),
    ] = None,
    step: Annotated[list[str] | None, typer.Option(help="ROUTE=N: the live step of a ramp, from 1.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Directory for revisions, events and keys.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option(help="Take what changes in the directory while it is served.")] = False,
    ray: Annotated[str | None, typer.Option(help="local: a Ray on this machine, begun and ended here.")] = None,
    events: Annotated[str | None, typer.Option(help="Directory for events; - writes them to standard output.")] = None,
) -> None:
    """Serve models over HTTP and gRPC until told to stop."""
    begin_log()
    from gateway.control.process import Ports

    offer, settings = _offer(what or [Path("configs")], strategy, parse_steps(step or []))
    listen = _listen(settings.listen, host, port)
    settings = replace(settings, listen=listen, state=str(state or settings.state), workers=workers or settings.workers)
    launch = _launch(settings, offer.folder or Path.cwd(), events)
    hosts = _hosts(settings, offer.folder or Path.cwd(), ray)
    ports = Ports(listen.http, listen.grpc, listen.metrics, listen.admin)
    if offer.folder:
        _run(launch, ports, shelf_in(launch.state), offer, hosts, is_watching=watch or settings.watch)
        return
    from gateway.state.shelf import Shelf

    with TemporaryDirectory(prefix="turnout-") as nowhere:  # what a command line says is worth keeping to nobody
        _run(launch, ports, Shelf(Path(nowhere)), offer, hosts, is_watching=False)


def _launch(settings: SettingsDoc, root: Path, events: str | None) -> "Launch":
    """Settings, after the command line had its say, as values that go to every worker."""
    from gateway.execution.shadows import ShadowBounds
    from gateway.frontends.limits import Limits
    from gateway.handover import Launch

    pool = settings.shadow_pool
    return Launch(
        state=Path(settings.state),
        events=events or str(Path(settings.state) / "events"),
        host=settings.listen.host,
        limits=Limits(
            body_bytes=settings.body_limit_mib * MIB,
            connection_s=duration_s(settings.connection_age) if settings.connection_age else 0.0,
        ),
        shadows=ShadowBounds(pool.calls, pool.queue, pool.memory_mib * MIB, pool.per_second),
        drain_s=duration_s(settings.drain),
        feedback_window_s=duration_s(settings.feedback_window),
        override_token=override_secret(settings, root),
        tls=check_certificates(settings.tls, root),
        workers_n=settings.workers,
        admin_host=settings.listen.admin_host,
        admin_names=settings.listen.admin_names,
    )


def _receivers(settings: SettingsDoc, root: Path) -> "tuple[Receiver, ...]":
    """Whom to tell, each with the secret that is shared with it; exits when one cannot be had."""
    from gateway.control.notices import Occasion, Receiver

    found = []
    for written in settings.notify:
        secret = _secret(written, root).strip()
        if len(secret) < SECRET_N:
            fail(f"notify: {written.url}: a secret has at least {SECRET_N} characters; make one: openssl rand -hex 16")
        found.append(Receiver(written.url, secret, frozenset(map(Occasion, written.on)) or frozenset(Occasion)))
    return tuple(found)


def _secret(written: NotifyDoc, root: Path) -> bytes:
    if written.secret_env is not None:
        return os.environ.get(written.secret_env, "").encode()
    file = root / str(written.secret_file)
    try:
        return file.read_bytes()
    except OSError as error:
        fail(f"{file}: the secret of a webhook cannot be read: {error.strerror}")


def _hosts(settings: SettingsDoc, root: Path, ray: str | None) -> "Hosts | None":
    """The cluster that hosts arms, None without one."""
    from gateway.control.hosts import LocalHosts, RemoteHosts
    from runners.core.errors import LoadRefused
    from runners.ray.settings import Dial, Tls, client_context

    if ray not in (None, "local"):
        fail(f"--ray takes the word local, not '{ray}'; a cluster is named by ray: {{address: ...}} in turnout.yaml")
    if ray == "local":
        return LocalHosts()
    if settings.ray is None:
        return None
    written = settings.ray.tls
    files = (written.ca_file, written.cert_file, written.key_file) if written else ()
    ca, cert, key = (root / file if file else None for file in files) if files else (None, None, None)
    tls = Tls(ca=ca, cert=cert, key=key) if written else None
    try:
        if tls is not None:
            client_context(tls)
    except LoadRefused as error:
        fail(f"ray: {error}")
    return RemoteHosts(settings.ray.address, Dial(root / settings.ray.secret_file, tls))


def _run(
    launch: "Launch", ports: "Ports", shelf: "Shelf", offer: "Offer", hosts: "Hosts | None", *, is_watching: bool
) -> None:
    """Serve until told to stop; a start that fails is one line and an exit status."""
    import asyncio

    from gateway.admin.server import AdminRefused
    from gateway.control.boot import BootRefused
    from gateway.control.process import StartFailed, control
    from gateway.frontends.binding import PortInUse
    from gateway.publishing.change import ChangeRefused
    from gateway.state.errors import StateError
    from runners.ray.local import LocalRayFailed

    try:
        with refusals():
            status = asyncio.run(control(launch, ports, shelf, offer, hosts, is_watching=is_watching))
    except PortInUse as error:
        fail(str(error))
    except (
        StartFailed,
        BootRefused,
        AdminRefused,
        ChangeRefused,
        StateError,
        LocalRayFailed,
        OSError,
        ValueError,
    ) as error:
        fail(f"cannot start: {error}")
    if status:
        raise typer.Exit(status)


def _offer(what: list[Path], strategy: str | None, steps: dict[str, int]) -> "tuple[Offer, SettingsDoc]":
    """What is written where the gateway is started, and its settings."""
    from gateway.config.quick import quick_configuration
    from gateway.control.boot import Offer

    folders = [path for path in what if path.is_dir()]
    missing = [str(path) for path in what if not path.exists()]
    if missing:
        fail(f"no such file or directory: {', '.join(missing)}")
    author = whoever_asks("")
    if not folders:
        with refusals():
            written = quick_configuration(what, strategy or ("baseline" if len(what) == 1 else "ab"))
        compile_routes(written, steps)
        return Offer("the command line", author, written.documents, steps=steps), written.settings
    if len(what) > 1:
        fail("serve one config directory, or ONNX files, not both")
    if strategy:
        fail("--strategy is for model files; a config directory says it in its routes")
    folder = what[0]
    try:
        written = load_directory(folder)
    except ConfigRefused as refused:  # what was live before may be served all the same
        alone = settings_alone(folder)
        return Offer(str(folder.resolve()), author, {}, folder, steps, refused, _receivers(alone, folder)), alone
    compile_routes(written, steps)
    receivers = _receivers(written.settings, folder)
    return Offer(str(folder.resolve()), author, written.documents, folder, steps, None, receivers), written.settings


def _listen(written: ListenDoc, host: str | None, port: int | None) -> ListenDoc:
    listen = written if host is None else replace(written, host=host)
    if port is None:
        return listen
    if port > 65532:
        fail(f"--port {port} leaves no room for gRPC, metrics and admin; the highest is 65532")
    return replace(listen, http=port, grpc=port and port + 1, metrics=port and port + 2, admin=port and port + 3)
