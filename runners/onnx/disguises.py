"""What a file is that calls itself a model and is none.

Nothing here opens, unpacks or runs anything, it looks at bytes.
A pickle runs code when it is read, and an archive may hold one; so they are told apart by their first bytes alone.
"""

from typing import NamedTuple

_LOOK_BYTES = 4096
_TEXT_BYTES = 512


class Disguise(NamedTuple):
    """What the file is, and what to do about it."""

    is_a: str
    cure: str


_EXPORT = "export the model to ONNX"
_SAVED = "save the model itself, as one ONNX file"
_PICKLE = Disguise("a pickle, which would run code when read", f"{_EXPORT}, for example with skl2onnx")
_TORCH = Disguise("a PyTorch archive, which holds a pickle", f"{_EXPORT} with torch.onnx.export")
_LFS = Disguise("a Git LFS pointer, not the model", "fetch it with: git lfs pull")
_ANNEX = Disguise("a git-annex pointer, not the model", "fetch it with: git annex get")

# first bytes -> what they are; none of them can begin an ONNX file that the usual exporters write
_PREFIXES: tuple[tuple[bytes, Disguise], ...] = (
    (b"\x80\x02", _PICKLE),
    (b"\x80\x03", _PICKLE),
    (b"\x80\x04", _PICKLE),
    (b"\x80\x05", _PICKLE),
    (b"\x1f\x8b", Disguise("a gzip archive", "unpack it first")),
    (b"BZh", Disguise("a bzip2 archive", "unpack it first")),
    (b"\xfd7zXZ\x00", Disguise("an xz archive", "unpack it first")),
    (b"(\xb5/\xfd", Disguise("a zstd archive", "unpack it first")),
    (b"7z\xbc\xaf'\x1c", Disguise("a 7z archive", "unpack it first")),
    (b"x\x9c", Disguise("zlib data, perhaps a joblib file, which holds a pickle", _EXPORT)),
    (b"x\x01", Disguise("zlib data, perhaps a joblib file, which holds a pickle", _EXPORT)),
    (b"x\xda", Disguise("zlib data, perhaps a joblib file, which holds a pickle", _EXPORT)),
    (b"\x89HDF", Disguise("an HDF5 file", f"{_EXPORT}, for example with tf2onnx")),
    (b"\x93NUMPY", Disguise("a NumPy array", _SAVED)),
    (b"\x7fELF", Disguise("a shared library or a program", "custom operators are not loaded")),
    (b"MZ", Disguise("a Windows library or program", "custom operators are not loaded")),
    (b"version https://git-lfs", _LFS),
    (b"version https://hawser", _LFS),
    (b"/annex/objects/", _ANNEX),
)


def disguise_of(head: bytes) -> Disguise | None:
    """What the first bytes of a file betray at once, before anything is parsed; None lets it go on."""
    if not head:
        return Disguise("empty", "copy the model again")
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        return _archive(head)
    for prefix, disguise in _PREFIXES:
        if head.startswith(prefix):
            return disguise
    # ONNX Runtime would take its own format for a model, and nothing that is looked at here would be in it.
    if head[4:8] == b"ORTM":
        return Disguise("in ONNX Runtime's own ORT format", _SAVED)
    if head[4:8] == b"TFL3":
        return Disguise("a TensorFlow Lite model", f"{_EXPORT} with tf2onnx")
    return None


def likeness_of(head: bytes) -> Disguise:
    """What a file that did not parse may be meant as."""
    text = _text(head).strip()
    if not text or any(not character.isprintable() and not character.isspace() for character in text):
        return Disguise("not ONNX, or a damaged copy", "copy it again, or export it again")
    if text[:9].lower() in ("<!doctype", "<html>") or text[:5].lower() == "<html":
        return Disguise("an HTML page, perhaps the error of a download", "download it again")
    if text[:1] in ("{", "["):
        return Disguise("JSON text", _SAVED)
    if text.endswith(".") or text[:1] in ("(", "c", "]", "}"):
        return Disguise("text, perhaps an old pickle", _EXPORT)
    return Disguise("text", _SAVED)


def _text(head: bytes) -> str:
    """The beginning of a file as text, "" if it is none; a character that the cut has split is left out."""
    cut = head[:_TEXT_BYTES]
    try:
        return cut.decode()
    except UnicodeDecodeError as error:
        is_split = len(head) > len(cut) and error.start > len(cut) - 4
        return cut[: error.start].decode() if is_split else ""


def _archive(head: bytes) -> Disguise:
    look = head[:_LOOK_BYTES]
    if b"data.pkl" in look or b"constants.pkl" in look or b"/version" in look:
        return _TORCH
    return Disguise("a zip archive", "unpack it first; only the ONNX file itself is loaded")
