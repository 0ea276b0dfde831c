"""Header blocks: decoded by `hpack` once for each that is new, written without any state.

Clients repeat themselves: a block that came before means the same again for as long as the peer's dynamic table has not
changed. Blocks of our own never touch a table, so they can be written long before it is known to whom they will go.

Source: RFC 7541.
"""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from hpack import Decoder
from hpack.exceptions import HPACKError

from gateway.frontends.http2.frames import END_HEADERS, HAS_PRIORITY, PADDED, Code, ConnectionFault, unpadded

LIST_BYTES: Final = 16 << 10  # of a request's headers by HPACK's measure; beyond, the request is refused
LIST_BYTES_MOST: Final = 4 * LIST_BYTES  # beyond, the connection: its table can no longer be followed
BLOCK_BYTES: Final = 32 << 10  # packed; a list within its limit is shorter
BLOCK_FRAMES: Final = 16
PRIORITY_BYTES: Final = 5  # what a HEADERS frame may begin with; nobody uses it any more
KNOWN_BLOCKS: Final = 128
KNOWN_BLOCK_BYTES: Final = 2048
ENTRY_BYTES: Final = 32  # what HPACK counts for a header beside name and value
SHORT: Final = 127  # a length below this is one byte

Field = tuple[bytes, bytes]
Head = TypeVar("Head")


class HeaderReader(Generic[Head]):
    """Decodes a connection's header blocks, in the order in which they came."""

    def __init__(self, parse: Callable[[Sequence[Field], int], Head]) -> None:
        """`parse` makes a request's head of its headers and their size; it is not asked again for a repeated block."""
        self._parse = parse
        self._decoder = Decoder(max_header_list_size=LIST_BYTES_MOST)
        self._known: dict[bytes, Head] = {}
        self._table: tuple[int, int] = (0, 0)  # the size it may have, and how many entries it has
        self._newest: object = None  # its newest entry, kept so that no later one can be taken for it

    def read(self, block: bytes) -> Head:
        """A request's head. Raises ConnectionFault, and whatever `parse` raises."""
        known = self._known.get(block)
        if known is not None:
            return known
        fields, has_changed = self._decode(block)
        head = self._parse(fields, sum([len(name) + len(value) + ENTRY_BYTES for name, value in fields]))
        if not has_changed and len(block) <= KNOWN_BLOCK_BYTES:
            if len(self._known) >= KNOWN_BLOCKS:
                self._known.clear()
            self._known[block] = head
        return head

    def skip(self, block: bytes) -> None:
        """Trailers, and heads of requests that are refused: they may still change the table."""
        self._decode(block)

    def _decode(self, block: bytes) -> tuple[Sequence[Field], bool]:
        """The headers, and whether they changed the table. If so, blocks known until now may mean something else."""
        try:
            fields: Sequence[Field] = tuple(self._decoder.decode(block, raw=True))
        except (HPACKError, IndexError, ValueError) as error:  # the latter two are what hpack lets out on torn blocks
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"a header block cannot be decoded: {error}") from None
        table = self._decoder.header_table
        entries = table.dynamic_entries
        state, newest = (table.maxsize, len(entries)), entries[0] if entries else None
        if state == self._table and newest is self._newest:
            return fields, False
        self._table, self._newest = state, newest
        self._known.clear()
        return fields, True


class HeaderBlocks:
    """Puts header blocks together that come in several frames, one at a time, as the protocol has it."""

    def __init__(self) -> None:
        self.stream_id = 0
        self.flags = 0  # of the frame it began with
        self._pieces: list[bytes] = []
        self._n = 0

    @property
    def is_open(self) -> bool:
        return bool(self._pieces)

    def begin(self, flags: int, stream_id: int, payload: bytes) -> bytes | None:
        """A HEADERS frame; the block if that was all of it. Raises ConnectionFault."""
        if flags & PADDED:
            payload = unpadded(flags, payload)
        if flags & HAS_PRIORITY:
            if len(payload) < PRIORITY_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a HEADERS frame is too short")
            payload = payload[PRIORITY_BYTES:]
        self.flags, self.stream_id = flags, stream_id
        if flags & END_HEADERS:
            return payload
        self._pieces, self._n = [payload], len(payload)
        return None

    def go_on(self, flags: int, payload: bytes) -> bytes | None:
        """A CONTINUATION frame; the block if that was its end. Raises ConnectionFault for one that has no end."""
        if not self._pieces:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block is continued that has not begun")
        self._pieces.append(payload)
        self._n += len(payload)
        if self._n > BLOCK_BYTES or len(self._pieces) > BLOCK_FRAMES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block is too long")
        if not flags & END_HEADERS:
            return None
        block = b"".join(self._pieces)
        self._pieces = []
        return block


def field(name: bytes, value: bytes) -> bytes:
    """A header as a block holds it: a literal that no table remembers. `name` is in lower case."""
    if len(name) < SHORT and len(value) < SHORT:
        return b"\0%c%b%c%b" % (len(name), name, len(value), value)
    return b"".join((b"\0", _length(len(name)), name, _length(len(value)), value))


def _length(number: int) -> bytes:
    """An integer with a prefix of seven bits."""
    if number < SHORT:
        return bytes((number,))
    encoded = bytearray((SHORT,))
    number -= SHORT
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
