"""What every client is told by a gateway that holds its models, it is told by replicas: the same tests ask for it."""
# ruff: noqa: F401 - what is imported is collected here as well

from tests.conformance.test_dialects import (
    infer,
    test_a_budget_in_a_header_is_kept,
    test_a_budget_that_runs_out_is_a_deadline_exceeded,
    test_a_deadline_of_grpc_itself_is_kept,
    test_a_fallback_can_be_declined,
    test_a_fallback_is_named_in_the_answer,
    test_a_mistake_is_told_in_the_client_s_exception,
    test_a_null_is_a_nan,
    test_a_sequence_stays_with_its_arm,
    test_a_unit_meets_one_arm_however_it_is_named,
    test_a_version_can_be_asked_for,
    test_a_version_that_is_not_offered_is_refused_in_words,
    test_bytes_that_are_no_text_are_refused_in_words,
    test_outputs_are_those_asked_for_in_that_order,
    test_the_answer_says_who_gave_it,
    test_what_is_not_finite_is_nan_in_json,
)
from tests.conformance.test_inference import test_every_answer_is_what_the_model_itself_gives
from tests.conformance.test_questions import (
    test_a_model_is_ready,
    test_configuration_is_the_signature_in_triton_s_words,
    test_metadata_is_the_model_s_signature,
    test_statistics_count_calls_and_rows,
    test_the_index_lists_every_route_and_version,
    test_the_server_is_live_and_ready,
)
