"""Coins that anybody can throw again: bits of SHA-256(salt 0x1F event id 0x1F row)."""

from hashlib import sha256
from typing import Protocol

from strategies.core.assignment import SEPARATOR

BLOCK_BITS = 256


class Coins(Protocol):
    """A source of chance."""

    def pick(self, count: int) -> int:
        """A number from 0 to `count` - 1, each as likely as the others."""
        ...


class HashedCoins:
    """The coins of one row of one request.

    Bits are taken from the front. When a digest is used up, the next is of the same bytes with 0x1F and the digest's
    number, 1, 2, …, after them.
    """

    def __init__(self, salt: str, event_id: str, row: int) -> None:
        self._seed = SEPARATOR.join((salt.encode(), event_id.encode(), str(row).encode()))
        self._block = 0
        self._bits = int.from_bytes(sha256(self._seed).digest())
        self._left_n = BLOCK_BITS

    def pick(self, count: int) -> int:
        """As few bits as `count` needs, thrown again while they say more than that. None for a choice of one."""
        wanted_n = (count - 1).bit_length()
        while True:
            number = self._take(wanted_n)
            if number < count:
                return number

    def _take(self, bits_n: int) -> int:
        """The next bits as a number, the first of them the highest."""
        number = 0
        while bits_n:
            if not self._left_n:
                self._block += 1
                digest = sha256(self._seed + SEPARATOR + str(self._block).encode()).digest()
                self._bits, self._left_n = int.from_bytes(digest), BLOCK_BITS
            some_n = min(bits_n, self._left_n)
            self._left_n -= some_n
            number = number << some_n | self._bits >> self._left_n & ((1 << some_n) - 1)
            bits_n -= some_n
        return number
