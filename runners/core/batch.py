"""One batch: calls joined along dimension 0 for one run, and that run's outputs dealt out to them again.

Joining and dealing are done where the run is, so that neither copies tensors on the event loop.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic

import numpy as np
from msgspec import Struct

from runners.core.errors import DeadlineExceeded, untried
from runners.core.tensor import InferenceRequest, InferenceResponse, Tensor, rows_of

Key = tuple[tuple[str, str, tuple[int, ...]], ...]
Outputs = tuple[Tensor, ...]


class RowsLost(Exception):
    """The outputs do not have one row for each row that went in, so nobody can tell whose is whose."""


class Call:
    """One request on its way through a batcher. `gone` says that nobody waits for it any more."""

    __slots__ = ("batch", "bytes_n", "deadline_at", "entered_at", "future", "gone", "key", "request", "rows_n")

    def __init__(
        self,
        request: InferenceRequest,
        deadline_at: float,
        entered_at: float,
        future: "asyncio.Future[InferenceResponse]",
    ) -> None:
        self.request = request
        self.deadline_at = deadline_at
        self.entered_at = entered_at
        self.future = future
        self.key = key_of(request)
        self.rows_n = rows_of(request)
        self.bytes_n = sum([tensor.array.nbytes for tensor in request.inputs])
        self.batch: Batch | None = None
        self.gone = False


class Batch:
    """Calls of one key that are run together. `wanted_n` of them still wait; the event loop alone counts them.

    `run` is its number, which the halves of a batch that failed share with it; `is_lost` says that its calls were lost
    at once, for no fault that any one of them is known to have. That holds for a batch of one as well: how many calls
    meet must not tell one kind of fault from the other, or an arm with more traffic would have other faults.
    """

    __slots__ = ("calls", "is_lost", "is_overdue", "rows_n", "run", "started_at", "wanted_n")

    def __init__(self, calls: list[Call], of: "Batch | None" = None, run: int = 0) -> None:
        self.run: int = of.run if of else run
        self.is_lost: bool = of.is_lost if of else False
        self.calls = calls
        self.wanted_n = len(calls)
        self.rows_n = 0
        self.started_at = 0.0
        self.is_overdue = False
        for call in calls:
            call.batch = self

    def join(self) -> InferenceRequest:
        """One request for all who still wait, with the outputs that any of them asks for.

        Whoever has left, or whose deadline has passed, takes no part. A request's parameters, id and context are
        its own affair and do not go along. Raises DeadlineExceeded when nobody is left.
        """
        now = monotonic()
        calls = self.calls = [call for call in self.calls if not call.gone and call.deadline_at > now]
        if not calls:
            raise untried(DeadlineExceeded("the deadline passed while the call waited for the model"))
        self.rows_n = sum([call.rows_n for call in calls])
        return joined([call.request for call in calls])

    def deal(self, outputs: Outputs) -> list[Outputs]:
        """Each call's own rows of the outputs it asked for, in the order of `calls`. Raises RowsLost."""
        return dealt(outputs, [call.request for call in self.calls])


class Ran(Struct, frozen=True, gc=False):
    """What came of a batch's run: the calls that took part, and each one's outputs."""

    calls: Sequence[Call]
    outputs: Sequence[Outputs]


def joined(requests: Sequence[InferenceRequest]) -> InferenceRequest:
    """One request with the rows of all, for requests of one key, and with the outputs that any of them asks for."""
    first = requests[0]
    if len(requests) == 1:
        return first
    if len(first.inputs) == 1:
        columns = [[request.inputs[0] for request in requests]]
    else:
        columns = [list(column) for column in zip(*map(_by_name, requests), strict=True)]
    inputs = tuple([_concatenated(column) for column in columns])
    return InferenceRequest(first.model, inputs, _union([request.outputs for request in requests]), first.version)


def dealt(outputs: Outputs, requests: Sequence[InferenceRequest]) -> list[Outputs]:
    """The rows of each of the requests that were joined, of those outputs it asked for. Raises RowsLost.

    They are copies: a view would keep the whole batch in memory for as long as one caller keeps one row.
    """
    if len(requests) == 1:
        return [outputs]
    counts = [rows_of(request) for request in requests]
    rows_n = sum(counts)
    for tensor in outputs:
        if not tensor.shape or tensor.shape[0] != rows_n:
            raise RowsLost(f"output {tensor.name!r} has shape {list(tensor.shape)} for {rows_n} rows")
    by_name = {tensor.name: tensor for tensor in outputs}
    mine: list[Outputs] = []
    start = 0
    for request, count in zip(requests, counts, strict=True):
        end = start + count
        wanted = [by_name[name] for name in request.outputs] if request.outputs else outputs
        mine.append(tuple([Tensor(t.name, t.datatype, t.array[start:end].copy()) for t in wanted]))
        start = end
    return mine


def key_of(request: InferenceRequest) -> Key | None:
    """What requests must have in common to be run together; None for one whose inputs do not agree on their rows."""
    inputs = request.inputs
    if len(inputs) == 1:
        tensor = inputs[0]
        shape = tensor.array.shape
        return ((tensor.name, tensor.datatype, shape[1:]),) if shape else None
    if not inputs or len({tensor.array.shape[:1] for tensor in inputs}) > 1 or not inputs[0].array.shape:
        return None
    return tuple(sorted([(tensor.name, tensor.datatype, tensor.array.shape[1:]) for tensor in inputs]))


def _by_name(request: InferenceRequest) -> list[Tensor]:
    return sorted(request.inputs, key=lambda tensor: tensor.name)


def _concatenated(column: list[Tensor]) -> Tensor:
    first = column[0]
    return Tensor(first.name, first.datatype, np.concatenate([tensor.array for tensor in column]))


def _union(wanted: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Every output that anybody asks for, () when somebody asks for all."""
    if not all(wanted):
        return ()
    return tuple(dict.fromkeys([name for names in wanted for name in names]))
