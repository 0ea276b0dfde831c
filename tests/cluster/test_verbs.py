"""The verbs of `turnout` on the committed route, whose models are on Ray here: the tests are those of the verbs."""
# ruff: noqa: F401 - what is imported is collected here as well

import pytest

from tests.gateway.cli.test_operate import (
    edited,
    run,
    test_a_dry_move_says_who_would_move,
    test_a_dry_run_changes_nothing,
    test_a_freeze_lets_through_what_makes_traffic_safer_and_nothing_else,
    test_a_missing_model_is_refused,
    test_a_mistake_in_a_document_is_told_with_its_place,
    test_a_promoted_candidate_answers_everybody_at_once,
    test_a_rollout_is_moved_by_every_verb,
    test_the_same_again_changes_nothing,
    test_undo_goes_back_and_undo_again_forth,
    test_what_is_applied_is_served_when_the_command_returns,
)


@pytest.fixture
def config(world):
    return world


@pytest.fixture
def turnout(gateway, config):
    """Runs a verb at the gateway, which is where it began."""
    at = ("--server", f"http://127.0.0.1:{gateway.admin}")
    reset = run("apply", config, "--restart", "digits", *at)
    assert 0 == reset.exit_code, reset.output
    return lambda *words: run(*words, *at)
