"""Who may ask: anybody on this machine before there were tokens, and nobody without one ever after."""

import pytest

from gateway.admin.callers import (
    DENIALS_N,
    MINUTE_S,
    Callers,
    Denied,
    exposure_problem,
    host_of,
    is_local,
)
from gateway.state.tokens import TokenRole
from tests.gateway.admin.conftest import DAY_S


@pytest.fixture
def callers(site):
    return Callers(site.shelf)


def denied(callers, authorization="", role=TokenRole.OBSERVE, action="GET /v1/status"):
    with pytest.raises(Denied) as refused:
        callers.admit(authorization, "ann", role, action)
    return refused.value.status, str(refused.value)


@pytest.mark.parametrize(
    ("said", "author"),
    [
        ("ann@desk", "ann@desk (unproven)"),
        ("", "somebody (unproven)"),
        ("a\nnn\x1b[2J\u202e", "ann[2J (unproven)"),
        ("a" * 500, f"{'a' * 200} (unproven)"),
    ],
)
def test_before_there_was_a_token_everybody_is_who_they_say_unproven(callers, said, author):
    """What is not proven is marked, and cannot break a line of the history."""
    assert author == callers.admit("", said, TokenRole.OPERATE, "POST /v1/undo").author


def test_a_tokens_name_is_the_author_whatever_is_said(site, callers):
    assert "ann" == callers.admit(f"Bearer {site.token()}", "root", TokenRole.OPERATE, "POST /v1/undo").author


def test_the_word_bearer_may_be_written_in_any_case(site, callers):
    assert "ann" == callers.admit(f"bEARER  {site.token()} ", "", TokenRole.OBSERVE, "GET /v1/status").author


@pytest.mark.parametrize("kind", ["Basic", "", "Bearer:"])
def test_a_token_under_another_word_is_none(site, callers, kind):
    assert 401 == denied(callers, f"{kind} {site.token()}".strip())[0]


def test_once_there_was_a_token_it_is_closed_for_good(site, callers):
    """That a token has expired or was revoked must not open the door to those who have none."""
    site.token(ago_s=2 * DAY_S)
    assert (401, "a valid token is needed: Authorization: Bearer TOKEN") == denied(callers)
    site.revoked()
    assert 401 == denied(callers)[0]


@pytest.mark.parametrize(
    ("held", "wanted", "may"),
    [
        ("infer", "observe", False),
        ("infer", "operate", False),
        ("observe", "observe", True),
        ("observe", "operate", False),
        ("operate", "observe", True),
        ("operate", "operate", True),
        ("approve", "observe", True),
        ("approve", "operate", False),
    ],
)
def test_a_role_is_what_it_is_good_for(site, callers, held, wanted, may):
    bearer = f"Bearer {site.token(held)}"
    if may:
        assert callers.admit(bearer, "", TokenRole(wanted), "GET /v1/status")
    else:
        expected = (403, f"this takes the role {wanted}, the token has {held}")
        assert expected == denied(callers, bearer, TokenRole(wanted))


def test_a_refusal_is_written_down_with_who_and_what(site, callers):
    """A stranger is somebody; whoever holds a token is known by its name. Neither can forge a line."""
    bearer = f"Bearer {site.token('observe')}"
    denied(callers, bearer, TokenRole.OPERATE, "POST /v1/routes/a\nadmin  undo done/advance")
    denied(callers, "Bearer wrong", action="GET /" + "x" * 5000)
    stranger, known = site.refusals()

    assert ("somebody", 200) == (stranger[0], len(stranger[1]))
    assert ("ann", "POST /v1/routes/aadmin  undo done/advance") == known[:2]
    assert "this takes the role operate" in known[2]


def test_strangers_cannot_fill_the_audit_log(site):
    """What is kept for ever gets sixty refusals a minute, and the last of them says that there were more."""
    now = [1_000_000.0]
    site.token()
    callers = Callers(site.shelf, lambda: now[0])
    for _ in range(DENIALS_N + 40):
        denied(callers)
    assert DENIALS_N == len(site.refusals())
    assert ["not written down" in detail for _, _, detail in site.refusals()] == [True] + [False] * (DENIALS_N - 1)

    now[0] += MINUTE_S
    denied(callers)
    assert DENIALS_N + 1 == len(site.refusals())
    assert "" == site.shelf.audit().verify()


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("127.0.0.1:8003", "127.0.0.1"),
        ("Turnout.Example:8003", "turnout.example"),
        ("localhost", "localhost"),
        ("[::1]:8003", "::1"),
        ("::1", "::1"),
        ("[::1", "::1"),
        ("", ""),
    ],
)
def test_a_host_is_known_without_its_port(header, name):
    assert name == host_of(header)


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("localhost.evil.example", False),
    ],
)
def test_only_this_machine_reaches_a_loopback_address(host, answer):
    assert answer is is_local(host)


def test_an_address_beyond_this_machine_takes_tls_and_a_token_that_is_valid(site):
    """Each thing that is missing is named, with what to do about it."""

    def problem(*, has_tls: bool) -> str:
        return exposure_problem("0.0.0.0", has_tls=has_tls, shelf=site.shelf)

    site.token(ago_s=2 * DAY_S)
    assert "which takes tls: with a certificate and a token: turnout token create" in problem(has_tls=False)
    assert problem(has_tls=True).endswith("takes a token: turnout token create NAME --role operate")
    site.token()
    assert problem(has_tls=False).endswith("which takes tls: with a certificate")
    assert "" == problem(has_tls=True)
    assert "" == exposure_problem("127.0.0.1", has_tls=False, shelf=site.shelf)
