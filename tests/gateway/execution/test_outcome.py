"""What a request came to, as a value."""

import gc
import weakref

from gateway.execution.outcome import Outcome
from runners.core.errors import InvalidInput


def test_an_error_in_a_ring_with_its_outcome_can_be_collected():
    """A refusal that was raised leads to the frame with the outcome it stands in; neither stays for ever."""

    def refuse() -> weakref.ref:
        outcome = Outcome(InvalidInput("too small"), None, ())
        try:
            raise outcome.answer
        except InvalidInput as error:
            return weakref.ref(error)

    left = refuse()
    gc.collect()

    assert left() is None
