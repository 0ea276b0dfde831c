"""Where verbs are done: here, on the state itself, or there, at a gateway that runs."""

import asyncio
import json
import logging
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import typer
from msgspec.structs import replace

from gateway.cli.kept import shelf_in
from gateway.cli.loading import fail

if TYPE_CHECKING:
    from gateway.publishing.change import Request
    from gateway.publishing.prepare import Meaning
    from gateway.state.revision import Revision

TOKEN_VARIABLE = "TURNOUT_TOKEN"  # noqa: S105 - the variable's name
ServerOption = Annotated[
    str, typer.Option("--server", help=f"A running gateway's admin address; {TOKEN_VARIABLE} holds the token for it.")
]
CaOption = Annotated[Path | None, typer.Option("--ca-file", help="Whom to trust there, instead of the system's.")]
CONVERGE_S = 10.0
Found = TypeVar("Found")
ASK_LIMIT_S = 660.0  # models may have to be compiled
CONNECT_LIMIT_S = 10.0
DEFAULT_PORT = 8003


class Desk(Protocol):
    """What verbs need. Everything is plain; what is refused ends the command with the reason."""

    def publish(self, request: "Request", *, is_dry: bool) -> dict[str, Any]: ...
    def history(self, limit_n: int) -> list[dict[str, Any]]: ...
    def revision(self, number: int) -> "Revision": ...
    def live(self) -> "Revision": ...
    def status(self) -> dict[str, Any]: ...
    def route(self, name: str) -> dict[str, Any]: ...
    def story(self, route: str) -> list[dict[str, Any]]: ...


def desk(
    server: str, state: Path, ca_file: Path | None = None, root: Path = Path(), *, is_rehearsing: bool = True
) -> Desk:
    """There if a server is named, here otherwise.

    `root` is where models lie if nothing says so yet. Here, models are opened once before they are published, unless
    `is_rehearsing` says that they are not at hand; there, the gateway opens them in any case.
    """
    if server:
        return there(server, ca_file)
    return Here(state, root, is_rehearsing=is_rehearsing)


def there(server: str, ca_file: Path | None) -> "There":
    """A running gateway alone."""
    return There(server, os.environ.get(TOKEN_VARIABLE, ""), ca_file)


class Here:
    """The state in a folder or behind a URL. Gateways that share it follow within a second."""

    def __init__(self, folder: Path, root: Path, *, is_rehearsing: bool) -> None:
        self._is_rehearsing = is_rehearsing
        self._first_root = root
        self.within_s = CONVERGE_S  # how long gateways are waited for
        self._shelf = shelf_in(folder)

    def publish(self, request: "Request", *, is_dry: bool) -> dict[str, Any]:
        from gateway.publishing.change import Apply
        from gateway.publishing.prepare import meaning_of
        from gateway.publishing.publisher import Publisher
        from gateway.publishing.rehearsal import Rehearsal
        from gateway.publishing.telling import tell_published

        live = self._try(lambda: self._shelf.store().live())
        root = self._root(live)
        if isinstance(request.change, Apply) and live is None:
            request = replace(request, change=replace(request.change, source=str(root.resolve())))

        async def done() -> dict[str, Any]:
            rehearsal = Rehearsal(is_opening=self._is_rehearsing)
            if live:
                rehearsal.knows(meaning_of(live, root))
            publisher = Publisher(self._shelf, root, rehearsal)
            return tell_published(await publisher.publish(request, is_dry=is_dry))

        with _quiet():
            told = self._try(lambda: asyncio.run(done()))
        if told["published"]:
            told["gateways"] = self._converge(told["live"], time())
        return told

    def history(self, limit_n: int) -> list[dict[str, Any]]:
        from gateway.publishing.telling import tell_head

        self.live()
        return [tell_head(head) for head in self._try(lambda: self._shelf.store().history(limit_n=limit_n))]

    def revision(self, number: int) -> "Revision":
        self.live()
        return self._try(lambda: self._shelf.store().get(number))

    def live(self) -> "Revision":
        found = self._try(lambda: self._shelf.store().live()) if self._shelf.exists else None  # to look makes none
        return found or fail("nothing has been published here yet; start with: turnout apply DIRECTORY")

    def status(self) -> dict[str, Any]:
        from gateway.publishing.evidence import Watches, add_all_evidence
        from gateway.publishing.preferences import add_preferences
        from gateway.publishing.telling import tell_status
        from gateway.publishing.trials import Trials

        meaning = self._meaning()
        head, now = self._try(lambda: self._shelf.store().history(limit_n=1))[0], time()
        told = tell_status(meaning, head, self._try(lambda: self._shelf.members().present(now)), now)
        add_all_evidence(told, meaning, self._try(lambda: Watches().look(meaning, self._shelf.ledger(), now)))
        self._try(lambda: add_preferences(told, meaning, self._shelf.clicks().standing))
        return self._try(lambda: Trials().add(told, meaning, self._shelf.ledger))

    def route(self, name: str) -> dict[str, Any]:
        from gateway.publishing.evidence import Watches, add_evidence
        from gateway.publishing.telling import tell_route

        meaning = self._meaning()
        if name not in meaning.routes:
            fail(f"no route is called '{name}'; there is {', '.join(meaning.routes)}")
        now = time()
        watches = self._try(lambda: Watches().look(meaning, self._shelf.ledger(), now))
        present = self._try(lambda: self._shelf.members().present(now))
        return add_evidence(tell_route(meaning, name, present), meaning, watches)

    def story(self, route: str) -> list[dict[str, Any]]:
        from gateway.publishing.story import tell_story

        self.live()
        return self._try(lambda: tell_story(self._shelf.store(), route))

    def _meaning(self) -> "Meaning":
        from gateway.publishing.prepare import meaning_of

        live = self.live()
        return self._try(lambda: meaning_of(live, self._root(live)))

    def _root(self, live: "Revision | None") -> Path:
        """Where relative paths of models begin: in the gateway's own directory, if that is on this machine."""
        from gateway.publishing.kept import GATEWAY, read_for_all

        source = Path(read_for_all(live.content.states[GATEWAY]).source) if live else Path()
        return source if source.is_absolute() and source.is_dir() else self._first_root

    def _converge(self, number: int, since: float) -> list[dict[str, Any]]:
        """Wait until every gateway serves what was published or says, after it was, why not."""
        ends_at = monotonic() + self.within_s
        while True:
            present = self._try(lambda: self._shelf.members().present(time()))
            late = [each for each in present if each.revision < number and not (each.trouble and each.seen_at > since)]
            if not late or monotonic() > ends_at:
                return [
                    {"gateway": each.gateway, "revision": each.revision, "trouble": each.trouble} for each in present
                ]
            sleep(0.05)

    def _try(self, do: Callable[[], Found]) -> Found:
        from gateway.config.problems import ConfigRefused
        from gateway.publishing.change import ChangeRefused
        from gateway.state.errors import StateError

        try:
            return do()
        except (ConfigRefused, ChangeRefused, StateError, OSError) as refused:
            fail(str(refused))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log's warnings: what is refused is said once, at the end."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class There:
    """A gateway's admin address."""

    def __init__(self, server: str, token: str, ca_file: Path | None) -> None:
        try:
            parts = urlsplit(server if "//" in server else f"//{server}")
            host, port = parts.hostname, parts.port or DEFAULT_PORT
        except ValueError:
            host = None
        if not host or parts.scheme not in ("", "http", "https"):
            fail(f"--server {server}: write it like http://127.0.0.1:{DEFAULT_PORT}")
        if not all("!" <= letter <= "~" for letter in token):
            fail(f"{TOKEN_VARIABLE} holds no token: one has no spaces, line ends or letters beyond ASCII")
        if parts.scheme == "https":
            context = _trust(ca_file)
            self._connect: Callable[[], HTTPConnection] = partial(
                HTTPSConnection, host, port, timeout=CONNECT_LIMIT_S, context=context
            )
        else:
            self._connect = partial(HTTPConnection, host, port, timeout=CONNECT_LIMIT_S)
        self._server = server
        self._headers: dict[str, str | bytes] = {"content-type": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"

    def publish(self, request: "Request", *, is_dry: bool) -> dict[str, Any]:
        from gateway.publishing.change import Apply, Freeze, Operate, Undo

        body: dict[str, Any] = {"reason": request.reason, "dry_run": is_dry}
        self._headers["x-turnout-author"] = _legible(request.author).encode()
        if request.expects >= 0:
            body["expects"] = request.expects
        match request.change:
            case Apply(documents, restart):
                body |= {"documents": dict(documents), "restart": sorted(restart)}
                return self._ask("POST", "/v1/apply", body)
            case Undo(to_revision, restart):
                body |= {"to_revision": to_revision or None, "restart": sorted(restart)}
                return self._ask("POST", "/v1/undo", body)
            case Operate(route, verb):
                return self._ask("POST", f"/v1/routes/{quote(route, safe='')}/{verb}", body)
            case Freeze(reason):
                return self._ask("POST", "/v1/freeze", body | {"reason": reason})
        raise AssertionError(request)

    def history(self, limit_n: int) -> list[dict[str, Any]]:
        return list(self._ask("GET", f"/v1/revisions?limit={limit_n}")["revisions"])

    def revision(self, number: int) -> "Revision":
        return self._read(self._ask("GET", f"/v1/revisions/{number}"))

    def live(self) -> "Revision":
        return self._read(self._ask("GET", "/v1/revisions/live"))

    def status(self) -> dict[str, Any]:
        return self._ask("GET", "/v1/status")

    def route(self, name: str) -> dict[str, Any]:
        return self._ask("GET", f"/v1/routes/{quote(name, safe='')}")

    def story(self, route: str) -> list[dict[str, Any]]:
        return list(self._ask("GET", f"/v1/routes/{quote(route, safe='')}/story")["story"])

    def logs(self, arm: str, route: str, lines_n: int) -> dict[str, Any]:
        return self._ask("GET", f"/v1/arms/{quote(arm, safe='')}/logs?{urlencode({'route': route, 'lines': lines_n})}")

    def _read(self, told: Mapping[str, Any]) -> "Revision":
        from gateway.state.revision import Cause, Content, Revision

        content = Content(told["documents"], told["states"])
        who = (told["author"], Cause(told["cause"]), told["reason"])
        return Revision(told["revision"], told["previous"], told["at"], *who, content)

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        connection = self._connect()
        try:
            connection.connect()
            connection.sock.settimeout(ASK_LIMIT_S)
            connection.request(method, path, json.dumps(body) if body is not None else None, self._headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            fail(f"{self._server} cannot be asked: {error}")
        finally:
            connection.close()
        try:
            told = msgspec.json.decode(content, type=dict[str, Any])
        except ValueError:
            fail(f"{self._server} answered {response.status}, but not as an admin address does; is it one?")
        if response.status >= 400:
            fail(str(told.get("error", told)))
        return told


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        fail(f"--ca-file {ca_file}: {error.strerror or 'it holds no certificate in PEM'}")


def _legible(text: str) -> str:
    """What a header can hold."""
    return "".join(letter for letter in text if letter.isprintable())
