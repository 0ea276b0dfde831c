"""Every path of the HTTP frontend but inference: health, metadata, configuration, the repository."""

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct, json

from gateway.errors import Malformed, MethodNotAllowed, NotImplementedHere, UnknownModel
from gateway.frontends.discovery import NAME_SHOWN, Discovery
from gateway.frontends.http_body import read_body
from gateway.frontends.http_exchange import JSON_LINE, LENGTH_LINE, Exchange
from gateway.frontends.limits import Limits
from gateway.frontends.status import refusal_of
from runners.core.errors import NotReady

Asked = TypeVar("Asked")
READ = ("GET", "HEAD")
WRITE = ("POST",)


class IndexBody(Struct):
    """What may be asked of the repository's index."""

    ready: bool = False


class LoadBody(Struct):
    """What may come along with a request to load."""

    parameters: dict[str, Any] = {}


class Page(Struct, frozen=True):
    """What stands at a path: the verbs it takes, and what turns a request's body into a document."""

    verbs: tuple[str, ...]
    answer: Callable[[bytes | bytearray], Any]


class HttpDocuments:
    """Answers what can be asked about the server and its models."""

    def __init__(self, discovery: Discovery, limits: Limits) -> None:
        self._discovery = discovery
        self._limits = limits
        self._pages: dict[tuple[str, ...], Page] = {
            ("v2",): Page(READ, lambda _: discovery.server()),
            ("v2", "health", "live"): Page(READ, lambda _: {"live": True}),
            ("v2", "health", "ready"): Page(READ, lambda _: self._server_ready()),
            ("v2", "models"): Page(READ, lambda _: discovery.models()),
            ("v2", "repository", "index"): Page(WRITE, self._index),
        }

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            page = self._page(tuple(exchange.path.strip("/").split("/")), exchange.method)
            answer = json.encode(page.answer(await read_body(exchange, self._limits)))
        except Exception as error:  # noqa: BLE001 - refusal_of logs what nobody meant to raise
            verbs = error.verbs if isinstance(error, MethodNotAllowed) else ()
            allow = f"allow: {', '.join(verbs)}\r\n".encode() if verbs else b""
            exchange.refuse(refusal_of(error), allow)
        else:
            exchange.reply(200, JSON_LINE + LENGTH_LINE % len(answer), answer)

    def _page(self, parts: tuple[str, ...], verb: str) -> Page:
        """What stands at the path of these parts. Raises UnknownModel, NotImplementedHere or MethodNotAllowed."""
        page = self._pages.get(parts) or self._page_of_parts(parts)
        if verb not in page.verbs:
            raise MethodNotAllowed(page.verbs)
        return page

    def _page_of_parts(self, parts: tuple[str, ...]) -> Page:
        match parts:
            case ["v2", "models", "stats"]:
                return Page(READ, lambda _: self._discovery.statistics("", ""))
            case ["v2", "models", name, "versions", version, *rest]:
                return self._model_page(name, version, rest)
            case ["v2", "models", name, *rest]:
                return self._model_page(name, "", rest)
            case ["v2", "repository", "models", name, "load"]:
                return Page(WRITE, lambda body: self._load(name, body))
            case ["v2", "repository", "models", name, "unload"]:
                return Page(WRITE, lambda _: self._discovery.unload(name))
            case ["v2", "trace" | "logging" | "systemsharedmemory" | "cudasharedmemory" as extension, *_]:
                raise NotImplementedHere(f"the {extension} extension is not spoken here")
            case _:
                raise UnknownModel("nothing is at this path; the protocol begins at /v2")

    def _model_page(self, name: str, version: str, rest: list[str]) -> Page:
        known = self._discovery
        match rest:
            case []:
                return Page(READ, lambda _: known.model(name, version))
            case ["ready"]:
                return Page(READ, lambda _: self._model_ready(name, version))
            case ["config"]:
                return Page(READ, lambda _: known.config(name, version))
            case ["infer"]:
                raise MethodNotAllowed(WRITE)
            case ["stats"]:
                return Page(READ, lambda _: known.statistics(name, version))
            case ["trace", "setting"] | ["generate" | "generate_stream"]:
                raise NotImplementedHere(f"the {rest[0]} extension is not spoken here")
            case _:
                raise UnknownModel(f"nothing is at this path of model '{name[:NAME_SHOWN]}'")

    def _server_ready(self) -> dict[str, bool]:
        if not self._discovery.is_server_ready():
            raise NotReady("the server is not ready")
        return {"ready": True}

    def _model_ready(self, name: str, version: str) -> dict[str, Any]:
        if not self._discovery.is_model_ready(name, version):
            raise NotReady(f"model '{name[:NAME_SHOWN]}' is not ready")
        return {"name": name, "ready": True}

    def _index(self, body: bytes | bytearray) -> list[dict[str, Any]]:
        return self._discovery.index(only_ready=_parse(body, IndexBody).ready)

    def _load(self, name: str, body: bytes | bytearray) -> dict[str, Any]:
        self._discovery.load(name, has_parameters=bool(_parse(body, LoadBody).parameters))
        return {"name": name, "load": True}


def _parse(body: bytes | bytearray, kind: type[Asked]) -> Asked:
    """The body as an object of `kind`; no body means what an empty object does."""
    try:
        return json.decode(body or b"{}", type=kind)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not what this path takes: {error}") from None
