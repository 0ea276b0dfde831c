"""An ONNX session as a batcher's engine: each batch is one run in the model's own thread."""

from collections.abc import Callable
from functools import partial

import onnxruntime as ort

from runners.core.batch import Batch, Ran
from runners.core.batching import Done
from runners.core.marks import Mark
from runners.core.thread import ModelThread
from runners.onnx.session import OnnxSession


class SessionEngine:
    """Runs batches of one session in one thread; closing it lets go of both."""

    def __init__(self, session: OnnxSession, thread: ModelThread, mark: Mark) -> None:
        self._session: OnnxSession | None = session
        self._thread = thread
        self._mark = mark

    def start(self, batch: Batch, done: Done) -> Callable[[], None]:
        assert self._session is not None
        options = ort.RunOptions()
        stop: Callable[[], None] = partial(setattr, options, "terminate", True)
        return self._thread.submit(partial(_run, self._session, batch, options, self._mark), stop, done)

    def is_stuck(self) -> bool:
        return self._thread.is_stuck()

    async def close(self) -> None:
        self._session = None
        await self._thread.close()


def _run(session: OnnxSession, batch: Batch, options: ort.RunOptions, mark: Mark) -> Ran:
    request = batch.join()
    mark.page[mark.in_thread] = 1
    try:
        outputs = session.run(request, options)
    finally:
        mark.page[mark.in_thread] = 0
    return Ran(batch.calls, batch.deal(outputs))
