"""How a call to a model can fail.

RunnerError
├── InvalidInput        the caller's tensors do not fit the model; a fallback would not help
├── NotReady            the endpoint is closed, loading or broken
├── Overloaded          the queue is full; nothing was tried
├── DeadlineExceeded    time ran out
├── ExecutionFailed     the model itself failed
└── InvalidOutput       the model answered, but not with what its signature and policy promise

LoadRefused is apart: it says why a model was not opened at all.
"""

from typing import ClassVar

_QUOTED_LENGTH = 80


class RunnerError(Exception):
    """One failed call. `code` is the cause as events and metrics write it; it never changes its meaning.

    `is_untried` says that the model was not asked, for a reason that says nothing about it: too many callers, a time
    that was over, a model that was closed. `run` is the number of the run that the call was in, 0 for one of its own;
    with `loses_run` that run was lost for all in it at once, one or many, so that their errors are one fault.
    """

    code: ClassVar[str]
    fallback_helps: ClassVar[bool] = True
    is_untried: bool = False
    run: int = 0
    loses_run: bool = False


class InvalidInput(RunnerError):
    """The caller's tensors do not fit the model's signature."""

    code = "invalid_input"
    fallback_helps = False


class NotReady(RunnerError):
    """The endpoint is closed, loading or broken; nothing was tried."""

    code = "not_ready"


class Overloaded(RunnerError):
    """The endpoint's queue is full; nothing was tried."""

    code = "overload"
    is_untried = True


class DeadlineExceeded(RunnerError):
    """The deadline passed before the answer was there; whatever ran was told to stop."""

    code = "timeout"


class ExecutionFailed(RunnerError):
    """The model raised."""

    code = "error"


class InvalidOutput(RunnerError):
    """Wrong shape or datatype, a missing output, a NaN that the policy rejects, a range that was broken."""

    code = "invalid_output"


class LoadRefused(Exception):
    """A model was not opened. `what` names it, `why` is for a person, `cure` says what to do about it."""

    def __init__(self, what: str, why: str, cure: str = "") -> None:
        super().__init__(f"{what}: {why}" + (f"; {cure}" if cure else ""))
        self.what, self.why, self.cure = what, why, cure


def untried(error: RunnerError) -> RunnerError:
    """The same error, as one that says nothing about the model."""
    error.is_untried = True
    return error


def quoted(word: str) -> str:
    """A word of somebody else's for an error text: escaped, and cut where it grows too long to be read."""
    return repr(word) if len(word) <= _QUOTED_LENGTH else repr(word[:_QUOTED_LENGTH]) + "..."
