"""How much of what is legal in small numbers a peer may do before it is told to calm down.

Source: CVE-2023-44487 (resets), CVE-2025-8671 (faults that make us reset), CVE-2019-9512 to 9518 (frames of no use).
"""

from typing import Final

from gateway.frontends.http2.frames import Code, ConnectionFault

RESETS: Final = 1000  # streams given up before their answer, at once
RESETS_PER_S: Final = 33.0
ODDITIES: Final = 1000  # pings, settings, priorities, empty frames, frames for streams that are over, at once
ODDITIES_PER_S: Final = 100.0


class Allowances:
    """Two buckets of tokens, both full at first. Whoever owns them says how much time has passed."""

    def __init__(self) -> None:
        self._resets: float = RESETS
        self._oddities: float = ODDITIES

    def reset(self) -> None:
        """A stream was reset, by either side. Raises ConnectionFault for one too many."""
        if self._resets < 1:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many streams were reset")
        self._resets -= 1

    def oddity(self) -> None:
        """A frame came that only makes work. Raises ConnectionFault for one too many."""
        if self._oddities < 1:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many frames that only make work")
        self._oddities -= 1

    def refill(self, passed_s: float) -> None:
        self._resets = min(RESETS, self._resets + passed_s * RESETS_PER_S)
        self._oddities = min(ODDITIES, self._oddities + passed_s * ODDITIES_PER_S)
