"""A model's files on their way to a replica: packed by content, kept once per node, opened there as any model's.

gateway: files ──► pack ──► the clerk's shelf ──► unpack into the node's cache ──► replica
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from time import time

from msgspec import Struct
from msgspec.structs import replace

from runners.core.errors import LoadRefused
from runners.core.frozen import freeze
from runners.core.runner import ModelRef
from runners.onnx.graph import MODEL_LIMIT_BYTES, read_graph
from runners.registry.resolve import resolve

CACHE_VARIABLE = "TURNOUT_MODEL_CACHE"
KEPT_S = 7 * 86_400.0  # models that no replica of a node has opened for so long leave its cache
CHUNK_BYTES = 16 << 20
MODEL, GOLDEN = "model.onnx", "golden.json"


class File(Struct, frozen=True):
    """One file: where it lies within the parcel, and what is in it."""

    name: str
    size: int
    digest: str  # SHA-256, hex


class Parcel(Struct, frozen=True):
    """What a replica needs to open a model. `model` is how, without its files; `version` is the registry's."""

    model: ModelRef
    files: tuple[File, ...]
    version: str

    @property
    def digest(self) -> str:
        """Of all that is in it."""
        listing = "".join(f"{file.digest}  {file.name}\n" for file in self.files)
        return sha256(listing.encode()).hexdigest()


def pack(model: ModelRef) -> tuple[Parcel, dict[str, Path]]:
    """What to send, and where each file lies here. Blocks on the disk. Raises LoadRefused, OSError."""
    artifact = resolve(model.reference, model.root)
    places = {MODEL: artifact.path}
    with freeze(artifact.path, limit_bytes=MODEL_LIMIT_BYTES) as file:
        for tensor in read_graph(file).external:
            places[tensor.location] = artifact.path.resolve().parent / tensor.location
    if model.golden:
        places[GOLDEN] = model.root / model.golden
    files = tuple([_file(name, place) for name, place in places.items()])
    return Parcel(model, files, model.version or artifact.version), places


def chunks(place: Path) -> Iterator[bytes]:
    """A file, in pieces that are not too large for one message."""
    with place.open("rb") as content:
        while piece := content.read(CHUNK_BYTES):
            yield piece


def unpack(parcel: Parcel, fetch: Callable[[File], Iterator[bytes]], cache: Path) -> ModelRef:
    """The model, as it can be opened on this node; what is not in `cache` yet is fetched, once for all replicas.

    Raises LoadRefused for files that do not arrive as they were sent.
    """
    folder = cache / parcel.digest
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=cache, prefix="."))
        try:
            for file in parcel.files:
                _receive(file, fetch(file), beside / file.name)
            _settle(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    os.utime(folder)
    _forget_old(cache, folder)
    golden = Path(GOLDEN) if any(file.name == GOLDEN for file in parcel.files) else None
    here = replace(parcel.model, reference=f"file:{MODEL}", root=folder, golden=golden, version=parcel.version)
    return replace(here, hosting=None)


def cache_folder() -> Path:
    """Where this node keeps models."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache/turnout/models")


def _file(name: str, place: Path) -> File:
    digest, size = sha256(), 0
    for piece in chunks(place):
        digest.update(piece)
        size += len(piece)
    return File(name, size, digest.hexdigest())


def _receive(file: File, pieces: Iterator[bytes], place: Path) -> None:
    digest = sha256()
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as content:
        for piece in pieces:
            digest.update(piece)
            content.write(piece)
    if digest.hexdigest() != file.digest:
        raise LoadRefused(file.name, "did not arrive as it was sent")


def _settle(beside: Path, folder: Path) -> None:
    """In one step, so that nobody opens half a model. Whoever was faster has brought the same."""
    try:
        beside.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _forget_old(cache: Path, but: Path) -> None:
    for each in cache.iterdir():
        try:
            if each != but and time() - each.stat().st_mtime > KEPT_S:
                shutil.rmtree(each, ignore_errors=True)
        except OSError:  # a neighbour is faster
            continue
