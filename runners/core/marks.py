"""Marks: which models are being run, in memory that outlives the process that runs them.

A model can end the process that it runs in, and then nobody is left to say what ran. So a byte is set before each run
and cleared after it, in pages shared with the process that started this one, which reads them when it has ended.

    slot ── sign of the model, 8 bytes │ it runs on the event loop, 1 │ it runs in its thread, 1 │ unused, 6
"""

import mmap
from hashlib import sha256

from runners.core.runner import ModelRef

SIGN_N = 8
ON_LOOP, IN_THREAD = SIGN_N, SIGN_N + 1  # places within a slot
SLOT_N = 16
SLOTS_N = 4096  # models open at once; what is opened beyond these leaves no mark
BYTES_N = SLOTS_N * SLOT_N

Page = bytearray | mmap.mmap


class Mark:
    """Where one opened model says that it is run: `page[on_loop] = 1` before, 0 after; likewise `in_thread`."""

    __slots__ = ("in_thread", "on_loop", "page")

    def __init__(self, page: Page, at: int) -> None:
        self.page = page
        self.on_loop = at + ON_LOOP
        self.in_thread = at + IN_THREAD


class Marks:
    """All slots of one process. Used from the event loop alone, but for the bytes that say that something runs."""

    def __init__(self, page: Page) -> None:
        """`page` has BYTES_N bytes, all zero."""
        self._page = page
        self._free = list(range(BYTES_N - SLOT_N, -1, -SLOT_N))

    def take(self, model: ModelRef) -> Mark:
        """A mark of its own for a model that was opened."""
        if not self._free:
            return unseen()
        at = self._free.pop()
        self._page[at : at + SIGN_N] = sign_of(model)
        return Mark(self._page, at)

    def give_back(self, mark: Mark) -> None:
        """The model is closed. One whose run does not end keeps its slot: somebody may have to know."""
        is_ours, at = mark.page is self._page, mark.on_loop - ON_LOOP
        if is_ours and not mark.page[mark.on_loop] and not mark.page[mark.in_thread]:
            self._page[at : at + SLOT_N] = bytes(SLOT_N)
            self._free.append(at)


def unseen() -> Mark:
    """A mark that nobody looks at."""
    return Mark(bytearray(SLOT_N), 0)


def sign_of(model: ModelRef) -> bytes:
    """What a slot knows a model by: equal for models that are opened from the same words."""
    return sha256(repr(model).encode()).digest()[:SIGN_N]


def running_in(page: bytes | Page) -> frozenset[bytes]:
    """The signs of what is being run, or was when the process ended."""
    slots = (page[at : at + SLOT_N] for at in range(0, len(page), SLOT_N))
    return frozenset(bytes(slot[:SIGN_N]) for slot in slots if slot[ON_LOOP] or slot[IN_THREAD])
