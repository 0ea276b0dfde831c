"""The verbs over HTTP, and every refusal with its status."""

import asyncio
import json
from importlib.metadata import version

import jsonschema
import pytest

from gateway.admin.api import described_app
from tests.gateway.admin.conftest import DAY_S
from tests.gateway.conftest import documents, ramp

DOCUMENT = described_app(None, None, version("turnout")).openapi()  # type: ignore[arg-type]  # nothing is asked
OPERATIONS = [(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item]
APPROVE = ("POST", "/v1/routes/{route}/approve")
CHANGES = [each for each in OPERATIONS if each[0] == "POST" and each != APPROVE]  # what who operates may do
MOVES = ["advance", "promote", "approve", "rollback", "hold", "resume", "restart"]


def filled(path: str) -> str:
    return path.format(route="digits", number=1, arm="new")


def body_of(path: str) -> dict:
    return {"documents": documents(), "dry_run": True} if path == "/v1/apply" else {"dry_run": True}


async def ask(client, method, path, body=None):
    return await client.request(method, filled(path), json=(body or body_of(path)) if method != "GET" else None)


def test_every_verb_has_a_path():
    assert {("POST", f"/v1/routes/{{route}}/{move}") for move in MOVES} <= set(OPERATIONS)
    assert {("POST", f"/v1/{verb}") for verb in ("apply", "undo", "freeze")} <= set(OPERATIONS)


@pytest.mark.parametrize("which", ["none", "wrong", "expired", "revoked", "another kind"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_nobody_without_a_valid_token_gets_anything(site, method, path, which):
    """On every path of the document, so that a new one cannot be forgotten; and each is written down."""
    site.token()
    secret = {
        "none": lambda: "",
        "wrong": lambda: "turnout_" + "x" * 43,
        "expired": lambda: site.token(name="late", ago_s=2 * DAY_S),
        "revoked": site.revoked,
        "another kind": lambda: "",
    }[which]()
    headers = {"authorization": f"Basic {site.token(name='basic')}"} if which == "another kind" else {}
    async with site.client(secret, **headers) as client:
        refused = await ask(client, method, path)

    assert (401, "Bearer") == (refused.status_code, refused.headers["www-authenticate"])
    assert "a valid token is needed" in refused.json()["error"]
    assert [("somebody", f"{method} {filled(path)}")] == [each[:2] for each in site.refusals()]


@pytest.mark.parametrize("role", ["infer", "observe", "operate", "approve"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_a_role_that_is_not_enough_gets_nothing(site, method, path, role):
    """Whoever looks cannot change anything, and whoever asks for inference cannot look."""
    looks = [each for each in OPERATIONS if each[0] == "GET"]
    may = {"infer": [], "observe": looks, "operate": looks + CHANGES, "approve": [*looks, APPROVE]}[role]
    async with site.client(site.token(role)) as client:
        answered = await ask(client, method, path)

    if (method, path) in may:
        assert answered.status_code not in {401, 403}
    else:
        assert (403, f"the token has {role}") == (answered.status_code, answered.json()["error"].split(", ")[1])
        assert [("ann", f"{method} {filled(path)}")] == [each[:2] for each in site.refusals()]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/nothing", "/docs", "//v1/status", "/v1/status/"])
async def test_what_there_is_not_is_not_told_to_strangers(site, path):
    site.token()
    async with site.client() as client:
        assert 401 == (await client.get(path)).status_code


async def test_the_document_may_be_seen_by_anybody(site):
    """It says nothing of what is served."""
    site.token()
    async with site.client() as client:
        told = await client.get("/openapi.json")
    assert (200, {}) == (told.status_code, told.json().get("servers", {}))


async def test_before_the_first_revision_there_is_nothing_to_see(site):
    async with site.client() as client:
        assert (await client.get("/v1/status")).json()["live"] is None
        assert {"revisions": []} == (await client.get("/v1/revisions")).json()
        for path in ("/v1/revisions/live", "/v1/revisions/1", "/v1/routes/digits"):
            assert 404 == (await client.get(path)).status_code
        undone = await client.post("/v1/undo", json={})
        assert (404, "nothing came before the documents that are live") == (undone.status_code, undone.json()["error"])


async def test_before_there_is_a_token_the_author_is_unproven(site):
    async with site.client(**{"x-turnout-author": "Łukasz".encode()}) as client:
        await client.post("/v1/apply", json={"documents": documents()})
        (head,) = (await client.get("/v1/revisions")).json()["revisions"]
    assert "Łukasz (unproven)" == head["author"]


async def test_what_is_applied_is_live_and_told(site, operator):
    assert 1 == site.fleet.live
    status = (await operator.get("/v1/status")).json()
    assert (1, "ann", "the first") == tuple(status["live"][each] for each in ("revision", "author", "reason"))
    assert "canary: new 2%, old 98%; baking at 2% (step 1 of 3)" in status["routes"][0]["sentence"]
    route = (await operator.get("/v1/routes/digits")).json()
    assert ({"new": 20_000, "old": 980_000}, "digits@1") == (route["shares_ppm"], route["experiment"])
    whole = (await operator.get("/v1/revisions/live")).json()
    assert documents() == whole["documents"]
    assert whole == (await operator.get("/v1/revisions/1")).json()


async def test_a_dry_run_says_what_would_change_and_changes_nothing(site, operator):
    edited = {"documents": documents(timeout="2s"), "dry_run": True}
    told = (await operator.post("/v1/apply", json=edited)).json()
    assert (1, None, ["timeout 1s → 2s"]) == (told["live"], told["published"], told["routes"][0]["words"])
    assert 1 == site.fleet.live


async def test_the_same_again_is_no_revision(operator):
    told = (await operator.post("/v1/apply", json={"documents": documents()})).json()
    assert (1, None, []) == (told["live"], told["published"], told["routes"])


async def test_a_rollout_is_moved_by_every_verb(operator):
    """In an order in which each is possible."""
    shares = []
    for verb in ("advance", "hold", "resume", "promote", "rollback", "restart"):
        done = await operator.post(f"/v1/routes/digits/{verb}", json={"reason": "to see"})
        assert 200 == done.status_code, done.text
        shares.append((await operator.get("/v1/routes/digits")).json()["shares_ppm"].get("new", 0))
    assert [100_000, 100_000, 100_000, 1_000_000, 0, 20_000] == shares
    reasons = [each["reason"] for each in (await operator.get("/v1/revisions")).json()["revisions"]]
    assert "restart digits: to see" == reasons[0]


async def test_only_somebody_else_with_a_role_of_its_own_may_approve(site, operator):
    """Who operates a rollout cannot wave it through, and who approves it cannot do anything else."""
    cautious = documents(strategy=ramp("2%", "50%") | {"approve_above": "2%"})
    assert 200 == (await operator.post("/v1/apply", json={"documents": cautious, "restart": ["digits"]})).status_code
    path = "/v1/routes/digits/approve"
    refused = await operator.post(path, json={})
    assert (403, "this takes the role approve, the token has operate") == (refused.status_code, refused.json()["error"])
    async with site.client(site.token("approve", "ann")) as same_name:
        assert "ann began this rollout" in (await same_name.post(path, json={})).json()["error"]
    async with site.client(site.token("approve", "bob")) as second:
        assert 403 == (await second.post("/v1/routes/digits/advance", json={})).status_code
        assert 200 == (await second.post(path, json={"reason": "seen"})).status_code
        assert "bob" == (await second.get("/v1/routes/digits")).json()["rollout"]["approver"]
    assert 200 == (await operator.post("/v1/routes/digits/advance", json={})).status_code


async def test_a_move_says_exactly_who_moves(operator):
    told = (await operator.post("/v1/routes/digits/advance", json={})).json()
    (move,) = told["routes"][0]["moves"]
    assert ("old", "new", 80_000) == (move["from"], move["to"], move["share_ppm"])


async def test_undo_goes_back_and_undo_again_forth(operator):
    await operator.post("/v1/apply", json={"documents": documents(timeout="2s")})
    for expected in (documents(), documents(timeout="2s")):
        assert 200 == (await operator.post("/v1/undo", json={})).status_code
        assert expected == (await operator.get("/v1/revisions/live")).json()["documents"]
    assert 200 == (await operator.post("/v1/undo", json={"to_revision": 1})).status_code
    assert documents() == (await operator.get("/v1/revisions/live")).json()["documents"]


async def test_what_is_frozen_stays_but_for_what_makes_traffic_safer(operator):
    await operator.post("/v1/apply", json={"documents": documents(timeout="2s")})
    assert 200 == (await operator.post("/v1/freeze", json={"reason": "Christmas"})).status_code
    for method, path in CHANGES:
        answered = await ask(operator, method, path)
        is_safe = path.endswith(("/rollback", "/hold", "/freeze"))
        assert (200 if is_safe else 409) == answered.status_code, (path, answered.text)
        assert is_safe or "everything is frozen: Christmas" in answered.json()["error"]
    assert "Christmas" == (await operator.get("/v1/status")).json()["frozen"]
    await operator.post("/v1/freeze", json={})
    assert 200 == (await operator.post("/v1/routes/digits/advance", json={})).status_code


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_a_change_made_for_another_revision_is_refused(site, operator, method, path):
    """Two people who change the same thing do not undo each other unseen; and it is written down."""
    body = body_of(path) | {"expects": 7, "dry_run": False, "reason": "late"}
    refused = await ask(operator, method, path, body)
    told = refused.json()
    assert (409, 1, "ann") == (refused.status_code, told["live"], told["author"])
    assert "revision 7 is not the live one: ann has published revision 1" in told["error"]
    assert ["ann"] == [each[0] for each in site.refusals()]


async def test_of_two_changes_for_one_revision_one_is_made(operator):
    bodies = [{"documents": documents(timeout=f"{n}s"), "expects": 1} for n in (2, 3, 4, 5)]
    answered = await asyncio.gather(*(operator.post("/v1/apply", json=body) for body in bodies))
    assert [200, 409, 409, 409] == sorted(each.status_code for each in answered)


async def test_a_mistake_in_a_document_is_told_with_its_place(site, operator):
    broken = {"routes/digits.yaml": documents()["routes/digits.yaml"].replace("baseline", "basline")}
    refused = await operator.post("/v1/apply", json={"documents": broken})
    (problem,) = refused.json()["problems"]
    assert (422, True) == (refused.status_code, problem["file"].endswith("routes/digits.yaml"))
    assert (True, True) == (problem["line"] > 1, "'baseline'" in problem["cure"])
    assert "basline" in site.refusals()[0][2]


async def test_a_model_that_cannot_be_opened_is_refused_with_its_place(site, operator):
    site.fleet.refused = {"digits/new": "it is no model"}
    refused = await operator.post("/v1/apply", json={"documents": documents(timeout="2s")})
    assert (409, ["digits/new: it is no model"]) == (refused.status_code, refused.json()["reasons"])
    assert 1 == site.fleet.live
    assert ("ann", "apply", "digits/new: it is no model") == site.refusals()[0]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/v1/routes/digit/advance", {}, 409, "no route is called 'digit'; there is digits"),
        ("POST", "/v1/routes/digits/resume", {}, 409, "cannot resume: the rollout is climbing; possible:"),
        ("POST", "/v1/routes/a%2Fb/advance", {}, 404, "/openapi.json says what there is"),
        ("POST", "/v1/routes/a%00b/advance", {}, 422, "route: "),
        ("POST", "/v1/undo", {"to_revision": 99}, 404, "there is no revision 99; the latest is 1"),
        ("POST", "/v1/undo", {"to_revision": 2**60}, 422, "to_revision: "),
        ("POST", "/v1/undo", {"reason": "a\0b"}, 422, "reason: "),
        ("POST", "/v1/undo", {"resaon": ""}, 422, "resaon: Extra inputs are not permitted"),
        ("POST", "/v1/apply", {}, 422, "documents: Field required"),
        ("POST", "/v1/apply", {"documents": {"../x.yaml": "a"}}, 422, "nobody reads this file"),
        ("POST", "/v1/apply", {"documents": {"routes/x.yaml": "\ud800"}}, 422, "x.yaml"),
        ("POST", "/v1/apply", {"documents": {"routes/\ud800.yaml": ""}}, 422, "documents"),
        ("GET", "/v1/routes/digit", None, 404, "no route is called 'digit'; there is digits"),
        ("GET", "/v1/revisions/99", None, 404, "there is no revision 99; the latest is 1"),
        ("GET", "/v1/revisions/x", None, 422, "number: "),
        ("GET", "/v1/revisions?limit=0", None, 422, "limit: "),
        ("GET", "/v1/nothing", None, 404, "/openapi.json says what there is"),
        ("PUT", "/v1/apply", {}, 405, "Method Not Allowed"),
    ],
)
async def test_a_mistake_is_answered_in_words(operator, method, path, body, status, words):
    content = None if body is None else json.dumps(body)
    refused = await operator.request(method, path, content=content, headers={"content-type": "application/json"})
    assert status == refused.status_code, refused.text
    assert words in refused.json()["error"]
    assert 405 != status or refused.headers["allow"] == "POST"


async def test_a_failure_of_our_own_is_json_too(site, operator, monkeypatch):
    monkeypatch.setattr(site.publisher, "publish", None)
    failed = await operator.post("/v1/undo", json={})
    assert (500, "the gateway has failed at this; its log says how") == (failed.status_code, failed.json()["error"])


async def test_the_audit_log_is_told_a_page_at_a_time(operator):
    await operator.post("/v1/routes/digits/advance", json={"reason": "to see"})
    latest = (await operator.get("/v1/audit?limit=1")).json()["entries"][0]
    assert ("ann", "operate", "done") == (latest["author"], latest["action"], latest["outcome"])
    rest = (await operator.get(f"/v1/audit?before={latest['number']}")).json()["entries"]
    assert [latest["number"] - 1, 1] == [rest[0]["number"], rest[-1]["number"]]
    heads = (await operator.get("/v1/revisions?before=2")).json()["revisions"]
    assert [1] == [each["revision"] for each in heads]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_every_answer_is_as_the_document_describes_it(operator, method, path):
    """Whoever generates a client from the document can read what it gets."""
    answered = await ask(operator, method, path)
    described = DOCUMENT["paths"][path][method.lower()]["responses"][str(answered.status_code)]
    schema = described["content"]["application/json"]["schema"] | {"components": DOCUMENT["components"]}
    jsonschema.validate(answered.json(), schema)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_path_says_that_it_wants_a_token(method, path):
    described = DOCUMENT["paths"][path][method.lower()]
    assert [{"token": []}] == described["security"]
    assert {"401", "403", "422", "503"} <= set(described["responses"])
    assert described["description"]
