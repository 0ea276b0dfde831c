"""Embedded: an ONNX model in the gateway's own process, on ONNX Runtime.

A small model is run where its request is, on the event loop; any other in a thread of its own. What decides is measured
at load (onnx/placement.py) and corrected in service: a model that turns out slow leaves the loop for good. Calls that
meet share a run where the model's rows may be run together (onnx/rows.py): in the thread those that come while it is
busy, on the loop those that come in one turn of it.
"""

from collections.abc import Callable
from functools import partial
from time import monotonic

import onnxruntime as ort
from msgspec import Struct

from runners.core.batch_counts import BatchCounts
from runners.core.batching import WAITING_N, Batcher, Limits
from runners.core.checks import InputCheck, OutputCheck
from runners.core.errors import DeadlineExceeded, InvalidOutput, LoadRefused, NotReady, untried
from runners.core.golden import GoldenCase, check_golden, read_golden
from runners.core.marks import Marks, unseen
from runners.core.runner import Batching, Description, ModelRef
from runners.core.tensor import InferenceRequest, InferenceResponse, Tensor, bytes_of
from runners.core.thread import DEFAULT_LIMIT_N, ModelThread
from runners.core.turns import Turn, Turns
from runners.onnx.engine import SessionEngine
from runners.onnx.placement import LOOP_LIMIT_S, Placement, loop_elements, place
from runners.onnx.providers import PROVIDERS
from runners.onnx.rows import RowTrial, try_rows
from runners.onnx.session import LoadedModel, OnnxSession, load_model, session_options
from runners.onnx.warmup import ROWS_N, WarmUp, clock_of, warm_up
from runners.registry.resolve import resolve

PLATFORM = "onnx_onnxv1"
SLOW_S = 0.001
# A run may be slow because others had the core, or the interpreter when it came back; on a busy machine that happens
# many times in a row. So once one was slow, the next are measured by what the thread itself worked: a clock that is too
# dear to be read for every run.
SLOW_RUNS_N = 3
_BACKGROUND_NICENESS = 10
_CHECKED_HERE_BYTES = 65_536  # a check of more would hold up the event loop, on which clients depend
_LOAD_LIMIT_S = 60.0
_TRIALS_N = 256  # a few words for each

_Key = tuple[str, str, str, int, Batching]
# That rows of a model may be run together, remembered for the very same file, provider, threads and bounds: to try it
# out once more takes a third of what it takes to open a small model.
Trials = dict[_Key, RowTrial]


class _Opened(Struct, frozen=True):
    loaded: LoadedModel
    version: str
    checks: tuple[InputCheck, OutputCheck]
    warm: WarmUp
    rows: RowTrial


class Embedded:
    """Opens ONNX files. Every model gets a session and a thread of its own."""

    def __init__(self, marks: Marks | None = None) -> None:
        """`marks` is where models say that they are run, for whoever outlives this process; by default nowhere."""
        self._turn = Turn()
        self._marks = marks
        self._trials: Trials = {}

    async def open(self, model: ModelRef, /) -> "EmbeddedEndpoint":
        """Load, check and warm a model, all in its thread. Raises LoadRefused.

        Given up after a minute, or after as long as its provider may need to compile it.
        """
        provider = PROVIDERS.get(model.provider.name)
        limit_s = provider.load_limit_s if provider else _LOAD_LIMIT_S
        options, run_options = session_options(), ort.RunOptions()

        def stop() -> None:
            options.set_load_cancellation_flag(True)
            run_options.terminate = True

        niceness = _BACKGROUND_NICENESS if model.background else 0
        thread = ModelThread(model.reference, niceness=niceness, is_begun=False)
        try:
            await thread.begin()
            opened = await thread.run(
                lambda: _open(model, options, run_options, self._trials), stop, deadline_at=monotonic() + limit_s
            )
        except DeadlineExceeded:
            await thread.close()
            raise LoadRefused(model.reference, f"took longer than {limit_s:.0f} s to load") from None
        except BaseException:
            await thread.close()
            raise
        return EmbeddedEndpoint(opened, thread, model, self._marks, self._turn)

    async def close(self) -> None:
        """Endpoints share nothing that has to be let go of."""


class EmbeddedEndpoint:
    """One opened ONNX model."""

    def __init__(self, opened: _Opened, thread: ModelThread, model: ModelRef, marks: Marks | None, turn: Turn) -> None:
        loaded = opened.loaded
        signature = loaded.session.signature
        self.description = Description(
            signature=signature,
            platform=PLATFORM,
            version=opened.version,
            digest=loaded.digest,
            provider=loaded.provider.name,
            degraded=loaded.provider.degraded,
            held_bytes=0 if loaded.facts.external or loaded.provider.name != "cpu" else loaded.size_bytes,
        )
        self.facts = loaded.facts
        self.placement = place(signature, loaded.facts, loaded.provider.name, opened.warm, background=model.background)
        self.rows = opened.rows
        self.batch_counts = BatchCounts()
        self._session: OnnxSession | None = loaded.session
        limits = _limits(model.batching, opened.rows)
        self._marks = marks
        self._mark = marks.take(model) if marks else unseen()
        engine = SessionEngine(loaded.session, thread, self._mark)
        self._batcher = Batcher(model.reference, engine, limits, self.batch_counts)
        self._turns = Turns(self._run_here, rows_on_loop(opened.rows), self.batch_counts, turn)
        self._check_input, self._check_output = opened.checks
        self._elements_on_loop = loop_elements(signature)
        self._on_loop = self.placement.on_loop
        self._slow_runs_n = 0
        self._clock: Callable[[], float] = monotonic
        self._own_clock = clock_of(loaded, model.threads)
        self._is_background = model.background
        self._thread = thread

    def ready(self) -> bool:
        return self._session is not None and self._batcher.ready()

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        if self._session is None:
            raise untried(NotReady("the model is closed"))
        self._check_input(request)
        if self._on_loop and self._is_small(request):
            response = await self._turns.infer(request, deadline_at=deadline_at)
        else:
            response = await self._batcher.infer(request, deadline_at=deadline_at)
        if self._is_background and bytes_of(response.outputs) > _CHECKED_HERE_BYTES:
            check = partial(self._check_output, request.outputs, response.outputs)
            await self._thread.run(check, _let_end, deadline_at=deadline_at)
        else:
            try:
                self._check_output(request.outputs, response.outputs)
            except InvalidOutput as error:
                error.run = response.run
                raise
        return response

    async def close(self) -> None:
        self._session = None
        self._turns.close()
        await self._batcher.close()
        marks, self._marks = self._marks, None
        if marks is not None:
            marks.give_back(self._mark)

    def _is_small(self, request: InferenceRequest) -> bool:
        limits = self._elements_on_loop
        for tensor in request.inputs:  # noqa: SIM110  a generator would cost as much again
            if tensor.array.size > limits[tensor.name]:
                return False
        return True

    def _run_here(self, request: InferenceRequest) -> tuple[Tensor, ...]:
        if self._session is None:
            raise untried(NotReady("the model is closed"))
        mark, clock = self._mark, self._clock
        started_at = clock()
        mark.page[mark.on_loop] = 1
        try:
            outputs = self._session.run(request)
        finally:
            mark.page[mark.on_loop] = 0
        if clock() - started_at > SLOW_S:
            self._count_slow_run()
        elif self._slow_runs_n:
            self._slow_runs_n, self._clock = 0, monotonic
        return outputs

    def _count_slow_run(self) -> None:
        self._slow_runs_n, self._clock = self._slow_runs_n + 1, self._own_clock
        if self._slow_runs_n == SLOW_RUNS_N:
            self._on_loop = False
            why = f"{SLOW_RUNS_N} runs in a row took longer than {SLOW_S * 1000:.0f} ms"
            self.placement = Placement(on_loop=False, why=why, warm_up_ms=self.placement.warm_up_ms)


def _let_end() -> None:
    """What cannot be told to stop, and is soon over."""


def _open(model: ModelRef, options: ort.SessionOptions, run_options: ort.RunOptions, trials: Trials) -> _Opened:
    """All that blocks of opening a model, in order: find, load, warm, ask the golden requests."""
    if model.threads < 0:
        raise LoadRefused(
            model.reference, f"cannot have {model.threads} threads", "write 1 or more, or 0 for all cores"
        )
    artifact = resolve(model.reference, model.root)
    loaded = load_model(artifact.path, model.provider, threads=model.threads, options=options, digest=artifact.digest)
    signature = loaded.session.signature
    checks = InputCheck(signature), OutputCheck(signature, model.outputs)
    run = partial(loaded.session.run, options=run_options)
    clock = clock_of(loaded, model.threads)
    warm = warm_up(loaded.session, run_options, clock)
    cases: tuple[GoldenCase, ...] = ()
    if model.golden:
        cases = read_golden(model.root / model.golden)
        check_golden(model.reference, cases, run, checks)
    elif warm.fault and warm.never_ran:
        raise LoadRefused(
            model.reference,
            f"could not be run with made-up inputs: {warm.fault}",
            "give it a golden request that it can answer",
        )
    key = loaded.digest, repr(model.provider), loaded.provider.name, model.threads, model.batching
    rows = None if cases else trials.get(key)
    if rows is None:
        rows = try_rows(signature, loaded.facts, run, model.batching, [case.request for case in cases], clock=clock)
        # What keeps rows apart may be a bad moment, and in a niced thread runs may take longer than they do.
        if not (cases or rows.why or model.background):
            _remember(trials, key, rows)
    return _Opened(loaded, model.version or artifact.version or loaded.digest[:12], checks, warm, rows)


def _remember(trials: Trials, key: _Key, rows: RowTrial) -> None:
    while len(trials) >= _TRIALS_N:
        del trials[next(iter(trials))]
    trials[key] = rows


def _limits(batching: Batching, rows: RowTrial) -> Limits:
    if rows.why:
        return Limits(max_rows=1, waiting_n=DEFAULT_LIMIT_N)
    return Limits(rows.rows_n, batching.max_wait_s, WAITING_N)


def rows_on_loop(rows: RowTrial) -> int:
    """How many rows may share a run on the event loop: as many as take no longer than what a lone call there may."""
    if rows.why:
        return 1
    return rows.rows_n if rows.rows_ms < LOOP_LIMIT_S * 1000 else min(ROWS_N, rows.rows_n)


RUNNER = Embedded
