"""What a route does, in a sentence."""

from gateway.publishing.change import Apply
from gateway.publishing.telling import sentence, tell_route
from tests.gateway.conftest import documents


def test_a_route_that_interleaves_says_who_answers_together_and_how(after):
    strategy = {"kind": "interleave", "partners": ["new"], "ids": "items", "share": "20%"}
    meaning = after(Apply(documents(strategy=strategy)))

    how = "lists of items, the first 10 places by team draft"
    assert sentence(meaning, "digits") == f"interleave: old+new 20%, old 80%; {how}"
    assert tell_route(meaning, "digits")["shares_ppm"] == {"old+new": 200_000, "old": 800_000}
