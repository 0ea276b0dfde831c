"""docs/protocol.md is held to what the frontends do."""

import re
from pathlib import Path

import pytest

from gateway import deadline, facts
from gateway.arrival import REQUEST_ID_LIMIT
from gateway.frontends import grpc_calls, grpc_protocol, http_codec, http_connection
from gateway.frontends.attribution import REQUEST_ID
from gateway.frontends.http2 import allowance, headers, inbound, settings
from gateway.frontends.limits import DEFAULT_LIMITS
from gateway.frontends.reception import TIMEOUT_HEADER
from gateway.frontends.status import STATUSES, TEXT_LIMIT
from runners.core.tensor import DATATYPES
from runners.core.tensor_json import MAX_RANK
from runners.oip.contents import CONTENTS
from runners.oip.messages import POOL, SERVICE
from strategies.core.plan import Reason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/protocol.md").read_text()
OPENAPI = (ROOT / "docs/openapi.yaml").read_text()
WORDS = ("truth", "integer", "number", "text")  # for elements in JSON
CLIENT_LOCKS = {"tritonclient": "clients", "kserve": "kserve", "grpcio": "dev"}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of every row of a section's tables, heads and rules apart."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_status_table_is_the_one_that_is_used():
    """Whoever handles errors can go by the page."""
    described = {row[0].strip("`"): (row[1], row[2].strip("`")) for row in rows("Errors")[1:]}
    assert {code: (str(status.http), status.grpc.name) for code, status in STATUSES.items()} == described


def test_the_datatypes_are_those_that_are_carried():
    """Size, JSON and contents of every datatype are as the codecs have them."""
    described = {row[0].strip("`"): (row[1], row[2] in WORDS, row[3].strip("`")) for row in rows("Tensors")[1:]}
    assert {
        name: (str(datatype.itemsize or "varies"), name in CONTENTS, CONTENTS.get(name, "raw only"))
        for name, datatype in DATATYPES.items()
    } == described


def test_every_method_of_the_service_is_named():
    """What the .proto offers stands on the page, spoken or not."""
    methods = POOL.FindServiceByName(SERVICE).methods_by_name
    assert [] == [name for name in methods if f"`{name}`" not in section("What is spoken")]


@pytest.mark.parametrize("page", [section("What is spoken"), OPENAPI])
def test_every_path_is_named(page):
    """The page and the OpenAPI document know the paths that the frontend knows."""
    source = (ROOT / "gateway/frontends/http_documents.py").read_text()
    fixed, patterns = source.split("async def __call__")[0], source.split("def _page_of_parts(")[1]
    known = fixed.split("self._pages")[1] + patterns.split("def _server_ready")[0]
    words = set(re.findall(r'"([a-z_]+)"', known)) - {"v2"}
    assert {"health", "repository", "index", "config", "ready", "logging", "generate_stream"} <= words
    assert set() == {word for word in words if not re.search(rf"/(\{{model\}}/)?{word}\b", page)}


@pytest.mark.parametrize(
    "name",
    [
        facts.ARM_HEADER.decode(),
        facts.TOKEN_HEADER.decode(),
        TIMEOUT_HEADER.decode(),
        REQUEST_ID,
        facts.UNIT_PARAMETER,
        facts.SEQUENCE_PARAMETER,
        facts.ARM_PARAMETER,
        *map(str, Reason),
    ],
)
def test_every_name_of_our_own_is_explained(name):
    """Whoever sees one of our names can look it up."""
    assert f"`{name}`" in section("Names of our own")


def test_every_header_that_is_read_is_explained():
    """No header changes what happens to a request without being on the page."""
    files = (path for path in (ROOT / "gateway").rglob("*.py") if path.parent.name != "admin")  # a page of its own
    sources = (path.read_text() for path in files)
    read = {name for source in sources for name in re.findall(r'b"(x-[a-z-]+|traceparent|tracestate)"', source)}
    assert {"x-turnout-arm", "x-turnout-fallback", "traceparent"} <= read
    assert set() == {name for name in read if f"`{name}`" not in section("Names of our own")}


def test_the_limits_are_those_that_hold():
    """The numbers on the page are the numbers in the code."""
    numbers = {number for row in rows("Limits")[1:] for number in re.findall(r"\d+", row[1])}
    limits = DEFAULT_LIMITS
    assert {
        str(limits.body_bytes >> 20),
        str(limits.json_elements),
        str(MAX_RANK),
        str(http_connection.HEADERS_LIMIT),
        str(http_connection.HEAD_BYTES_LIMIT),
        f"{http_connection.HEAD_S:g}",
        f"{limits.body_s:g}",
        f"{http_connection.WRITE_S:g}",
        str(http_connection.CONNECTIONS_LIMIT),
    } == numbers
    assert grpc_calls.CALLS_LIMIT == http_connection.CONNECTIONS_LIMIT


def test_the_limits_of_http_2_are_those_that_hold():
    """So are those of the gRPC port's own transport."""
    numbers = {number for row in rows("Limits of HTTP/2")[1:] for number in re.findall(r"\d+", " ".join(row[:2]))}
    assert {
        str(headers.LIST_BYTES),
        str(settings.STREAMS_LIMIT),
        str(inbound.STREAM_WINDOW >> 10),
        f"{DEFAULT_LIMITS.body_s:g}",
        str(allowance.RESETS),
        str(allowance.ODDITIES),
        f"{allowance.RESETS_PER_S:g}",
        f"{allowance.ODDITIES_PER_S:g}",
        f"{grpc_protocol.QUIET_S:g}",
        f"{grpc_protocol.REPLY_S:g}",
    } == numbers
    assert (4, True) == (grpc_calls.ROOM_MESSAGES, "four times the body limit" in section("Limits of HTTP/2"))


def test_other_numbers_are_those_that_hold():
    """So are those that stand in the text."""
    assert f"up to {http_codec.ID_LIMIT} characters" in section("Names of our own")
    assert f"Up to {REQUEST_ID_LIMIT} printable" in section("Names of our own")
    assert f"at most {TEXT_LIMIT} characters" in section("Errors")
    assert ("Ten minutes are the most", 600) == (
        re.search(r"Ten minutes are the most", section("Names of our own"))[0],
        deadline.LONGEST_S,
    )


@pytest.mark.parametrize("client", CLIENT_LOCKS)
def test_the_clients_tried_are_those_that_are_locked(client):
    """The page names the versions that the conformance run installs."""
    lock = (ROOT / "requirements" / f"{CLIENT_LOCKS[client]}.txt").read_text()
    pinned = re.search(rf"^{client}(?:\[.*\])?==(\S+)", lock, re.MULTILINE)[1]
    assert {pinned} == {row[1] for row in rows("Clients tried") if row[0].split(",")[0].split()[0] == client}
