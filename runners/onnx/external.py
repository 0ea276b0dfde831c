"""Weights that a model keeps in files beside it.

The runtime never opens them. They are frozen here, one by one, without following links, and handed over as memory; so
what is hashed is what is loaded, and no path that a model file names can lead anywhere.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

from runners.core.errors import LoadRefused, quoted
from runners.core.frozen import FrozenFile, freeze_beneath
from runners.onnx.graph import ExternalTensor, GraphFacts

EXTERNAL_LIMIT_BYTES = 64 << 30
_FILES_LIMIT_N = 1024
_MEMORY_TAG = "_ORT_MEM_ADDR_"  # the runtime takes a location with this for an address in memory


@contextmanager
def frozen_externals(name: str, directory: Path, facts: GraphFacts) -> Iterator[dict[str, FrozenFile]]:
    """Location -> frozen file, for all that the model called `name` in `directory` leans on. Raises LoadRefused."""
    locations = sorted({tensor.location for tensor in facts.external})
    if len(locations) > _FILES_LIMIT_N:
        raise LoadRefused(name, f"keeps its weights in {len(locations)} files", f"at most {_FILES_LIMIT_N} are taken")
    with ExitStack() as stack:
        files: dict[str, FrozenFile] = {}
        for location in locations:
            if _MEMORY_TAG in location:
                raise LoadRefused(name, f"names {quoted(location)} as a file, which is an address in memory")
            try:
                files[location] = stack.enter_context(
                    freeze_beneath(directory, location, limit_bytes=EXTERNAL_LIMIT_BYTES)
                )
            except LoadRefused as refused:
                raise LoadRefused(name, f"external data {refused.what} {refused.why}", refused.cure) from None
        for tensor in facts.external:
            _check_extent(name, tensor, files[tensor.location].size)
        yield files


def digest_of(model: FrozenFile, externals: dict[str, FrozenFile]) -> str:
    """SHA-256 in hex: of the model file, or of what `sha256sum` prints for it and its files.

    In that listing the model comes first, as model.onnx whatever its name, then the files by location.
    """
    if not externals:
        return model.digest()
    listing = [f"{model.digest()}  model.onnx\n"]
    listing += [f"{file.digest()}  {location}\n" for location, file in sorted(externals.items())]
    return sha256("".join(listing).encode()).hexdigest()


def _check_extent(name: str, tensor: ExternalTensor, file_bytes: int) -> None:
    length = file_bytes - tensor.offset if tensor.length < 0 else tensor.length
    if length < 0 or tensor.offset + length > file_bytes:
        raise LoadRefused(
            name,
            f"tensor {quoted(tensor.name)} lies beyond the {file_bytes} bytes of {quoted(tensor.location)}",
            "copy the weights again",
        )
    if tensor.size_bytes > length:
        raise LoadRefused(
            name, f"tensor {quoted(tensor.name)} needs {tensor.size_bytes} bytes and {length} are kept for it"
        )
