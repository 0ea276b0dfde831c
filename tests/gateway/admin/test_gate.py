"""What is refused before a word of it is parsed."""

import pytest

from gateway.admin.gate import BODY_LIMIT
from tests.gateway.conftest import documents

APPLY = {"documents": documents()}


async def ask(site, method="GET", path="/v1/status", **more):
    headers = more.pop("headers", {})
    async with site.client(more.pop("secret", ""), **headers) as client:
        return await client.request(method, path, **more)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8003", "TURNOUT.example:443"])
async def test_a_name_of_ours_is_answered(site, host):
    assert 200 == (await ask(site, headers={"host": host})).status_code


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8003", "127.0.0.1.nip.io", "", "[::2]"])
@pytest.mark.parametrize("path", ["/v1/status", "/openapi.json", "/"])
async def test_another_name_is_not(site, host, path):
    """A page on the web that has its own name resolve to this machine learns nothing and does nothing."""
    refused = await ask(site, path=path, headers={"host": host})
    assert 403 == refused.status_code
    assert "write listen: {admin_names: [NAME]}" in refused.json()["error"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"]
)
async def test_what_a_form_can_send_is_refused(site, kind):
    """A browser posts these for any page, without asking."""
    refused = await ask(site, "POST", "/v1/apply", content=b"{}", headers={"content-type": kind})
    assert (415, "write content-type: application/json") == (refused.status_code, refused.json()["error"])


async def test_a_change_without_a_kind_is_refused(site):
    assert 415 == (await ask(site, "POST", "/v1/undo", content=b"{}")).status_code


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON ;x=y"])
async def test_json_is_json_however_it_is_written(site, kind):
    refused = await ask(site, "POST", "/v1/undo", content=b"[]", headers={"content-type": kind})
    assert 422 == refused.status_code


async def test_a_body_that_is_announced_too_long_is_not_read(site):
    read = []

    async def body():
        read.append(1)
        yield b"x"

    headers = {"content-length": str(BODY_LIMIT + 1), "content-type": "application/json"}
    refused = await ask(site, "POST", "/v1/apply", content=body(), headers=headers)
    assert (413, "the body is longer than 16 MiB") == (refused.status_code, refused.json()["error"])


async def test_a_body_that_grows_too_long_is_given_up(site):
    """Chunks announce nothing."""
    sent = []

    async def body():
        for _ in range(100):
            sent.append(1)
            yield b" " * (1 << 20)

    refused = await ask(site, "POST", "/v1/apply", content=body(), headers={"content-type": "application/json"})
    assert (413, "the body is longer than 16 MiB") == (refused.status_code, refused.json()["error"])
    assert 100 > len(sent)


async def test_a_stranger_s_body_is_not_read(site):
    """Sixteen megabytes of JSON are much to parse for somebody who may not ask."""
    site.token()
    refused = await ask(site, "POST", "/v1/apply", content=b"{no json", headers={"content-type": "application/json"})
    assert 401 == refused.status_code


async def test_a_document_that_is_too_long_is_refused_before_it_is_parsed(site):
    """This one would take a parser minutes."""
    text = "a: &a [x]\n" + "b: [" + "*a, " * 100_000
    refused = await ask(site, "POST", "/v1/apply", json={"documents": {"routes/digits.yaml": text}})
    assert 422 == refused.status_code
    (problem,) = refused.json()["problems"]
    assert "the document is longer than 256 KiB" == problem["what"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe{", b"[" * 100_000, b'{"expects": ' + b"9" * 5000 + b"}", b'{"expects": NaN}']
)
async def test_what_is_no_json_is_answered_in_words(site, body):
    refused = await ask(site, "POST", "/v1/undo", content=body, headers={"content-type": "application/json"})
    assert refused.status_code in {400, 422}
    assert refused.json()["error"]


async def test_a_state_that_is_away_is_told(site, tmp_path):
    """Nobody is let in because it cannot be looked up who they are."""
    site.shelf.close()
    (tmp_path / "state" / "state.db").unlink(missing_ok=True)
    (tmp_path / "state" / "state.db").mkdir(parents=True)
    refused = await ask(site)
    (tmp_path / "state" / "state.db").rmdir()
    assert 503 == refused.status_code
    assert "state.db" in refused.json()["error"]


async def test_other_protocols_are_not_spoken(site):
    sent = []

    async def send(message):
        sent.append(message)

    await site.app({"type": "websocket", "path": "/v1/status", "headers": []}, None, send)
    assert [] == sent
