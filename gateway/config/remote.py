"""What is particular to an arm on another server: the words it needs, and those that would have no effect."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from gateway.config.documents import ArmDoc, ArmTlsDoc
from runners.core.runner import RemoteServer
from runners.oip.address import Address, read_reference, read_url
from strategies.core.spec import Problem

REMOTE = "remote"
_ONLY_REMOTE = ("url", "tls", "token_file")
_ONLY_HERE = ("provider", "threads", "batching")


def remote_problems(name: str, arm: ArmDoc, runner: str) -> Iterator[Problem]:
    """What is wrong with an arm's use of the words for other servers."""
    path = ("arms", name)
    is_reference = arm.model.startswith("remote:")
    if is_reference != (runner == REMOTE):
        cure = "leave runner out; the reference says it"
        yield Problem((*path, "runner"), f"'{arm.model}' cannot be run by '{runner}'", cure)
    elif not is_reference:
        for word in _written(arm, _ONLY_REMOTE):
            yield Problem(
                (*path, word), "this is for models on other servers", "write model: remote:MODEL, or leave it out"
            )
    else:
        for word in _written(arm, _ONLY_HERE):
            yield Problem((*path, word), "the other server decides how it runs its models", "leave it out")
        yield from _server_problems(path, arm)


def server_of(arm: ArmDoc, root: Path) -> RemoteServer | None:
    """Where a checked arm's model is served, None for one that is held here."""
    if arm.url is None:
        return None
    tls = arm.tls or ArmTlsDoc()
    files = (root / file if file else None for file in (tls.ca_file, tls.cert_file, tls.key_file, arm.token_file))
    return RemoteServer(arm.url, *files)


def _server_problems(path: tuple[str, str], arm: ArmDoc) -> Iterator[Problem]:
    try:
        if arm.model != "remote:":  # which is no reference of any kind, and is said to be none already
            read_reference(arm.model)
    except ValueError as error:
        yield Problem(
            (*path, "model"), f"'{arm.model}' is no reference: {error}", "write remote:MODEL or remote:MODEL:VERSION"
        )
    if arm.url is None:
        yield Problem((*path, "url"), "this is missing", "write url: grpc://HOST:PORT or http://HOST:PORT")
        return
    address: Address | None = None
    try:
        address = read_url(arm.url)
    except ValueError as error:
        cure = "write grpc://HOST:PORT, grpcs://HOST:PORT, http://HOST:PORT or https://HOST:PORT"
        yield Problem((*path, "url"), f"this is no address of a server: {error}", cure)
    if arm.tls and address and not address.is_secure:
        yield Problem((*path, "tls"), "the url does not ask for TLS", "write url: grpcs://… or https://…")
    if arm.tls and (arm.tls.cert_file is None) != (arm.tls.key_file is None):
        yield Problem((*path, "tls"), "a certificate and its key go together", "write both cert_file and key_file")


def _written(arm: ArmDoc, words: tuple[str, ...]) -> Iterator[str]:
    """Those of `words` that say something other than their default."""
    for field in fields(arm):
        if field.name in words and getattr(arm, field.name) != field.default:
            yield field.name
