"""Models in BentoML's model store: `bento:NAME:VERSION`.

The store keeps versions apart and never rewrites one, but it does not notice when somebody else does. So an import
notes the SHA-256 of what it stored, and every load compares. BentoML is an extra, imported when it is first needed.
"""

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from msgspec import Struct

from runners.core.errors import LoadRefused, quoted
from runners.core.frozen import FrozenFile, freeze
from runners.core.runner import ProviderChoice
from runners.core.tensor import Signature, TensorSpec
from runners.onnx.external import digest_of, frozen_externals
from runners.onnx.graph import MODEL_LIMIT_BYTES, GraphFacts
from runners.onnx.session import LoadedModel, load_model, session_options
from runners.registry.artifact import Artifact

_WORD = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")  # BentoML's rule, after lower-casing
_FILE = "model.onnx"


class StoredModel(Struct, frozen=True):
    """What the store knows of one model. `created_at` is ISO 8601; "" or 0 where it was not we who imported it."""

    name: str
    version: str
    digest: str
    size_bytes: int
    opset: int
    ir_version: int
    producer: str
    created_at: str
    signature: Signature

    @property
    def reference(self) -> str:
        return f"bento:{self.name}:{self.version}"


def find(tag: str) -> Artifact:
    """The model file behind NAME:VERSION, and the digest that was noted at import. Raises LoadRefused."""
    name, version = _split(tag)
    found = _get(name, version)
    digest = found.info.metadata.get("sha256")
    if not isinstance(digest, str) or not digest:
        raise LoadRefused(
            f"bento:{name}:{version}",
            "was not imported by turnout, so there is no digest to hold it to",
            f"turnout models import FILE --name {name}",
        )
    return Artifact(Path(found.path_of(_FILE)), version, digest)


def import_file(path: Path, name: str, version: str = "") -> StoredModel:
    """Store the ONNX file at `path`, with the weights beside it, after a trial load on the CPU.

    Names and versions are lower-cased, as BentoML would do with a notice on stdout. `version` is by default the first
    12 digits of the digest. Raises LoadRefused, also when the version exists.
    """
    loaded = load_model(path, ProviderChoice(), threads=1, options=session_options())
    name = _word("name", name)
    version = _word("version", version or loaded.digest[:12])
    models, exceptions = _bentoml()
    try:
        with models.create(f"{name}:{version}", metadata=_metadata(loaded)) as stored:
            if _copy(path, loaded.facts, Path(stored.path)) != loaded.digest:
                raise LoadRefused(path.name, "changed while it was imported", "import it again")
    except exceptions.BentoMLException as error:
        raise LoadRefused(f"bento:{name}:{version}", _line(error), "versions are never rewritten") from None
    return inspect(f"{name}:{version}")


def list_models() -> tuple[StoredModel, ...]:
    """Every model in the store, by name and then by age, oldest first."""
    found = [_stored(model) for model in _bentoml()[0].list()]
    return tuple(sorted(found, key=lambda model: (model.name, model.created_at)))


def inspect(tag: str) -> StoredModel:
    """What the store knows of NAME:VERSION. Raises LoadRefused."""
    return _stored(_get(*_split(tag)))


def _bentoml() -> tuple[Any, Any]:
    """BentoML's store and its exceptions."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # it reports usage to its makers unless told before the import
    try:
        return import_module("bentoml.models"), import_module("bentoml.exceptions")
    except ImportError:
        raise LoadRefused("bento:", "BentoML is not installed", "pip install 'turnout[bento]'") from None


def _get(name: str, version: str) -> Any:
    models, exceptions = _bentoml()
    try:
        return models.get(f"{name}:{version}")
    except exceptions.NotFound:
        raise LoadRefused(
            f"bento:{name}:{version}", "is not in the store", "turnout models list shows what is"
        ) from None
    except exceptions.BentoMLException as error:
        raise LoadRefused(f"bento:{name}:{version}", _line(error)) from None


def _split(tag: str) -> tuple[str, str]:
    name, colon, version = tag.partition(":")
    if not colon or version == "latest":
        raise LoadRefused(
            f"bento:{tag[:80]}",
            "does not name a version, so what it means may change under the same revision",
            "write bento:NAME:VERSION; turnout models list shows them",
        )
    return _word("name", name), _word("version", version)


def _word(side: str, word: str) -> str:
    lowered = word.lower()
    if not _WORD.fullmatch(lowered):
        raise LoadRefused(f"{side} {quoted(word)}", "is not one BentoML takes", "use up to 63 of a-z 0-9 . _ -")
    return lowered


def _metadata(loaded: LoadedModel) -> dict[str, Any]:
    """As the store takes it: basic types only, and no None."""
    facts = loaded.facts
    return {
        "sha256": loaded.digest,
        "size_bytes": loaded.size_bytes,
        "opset": dict(facts.opsets).get("", 0),
        "ir_version": facts.ir_version,
        "producer": facts.producer,
        "inputs": [_written(spec) for spec in loaded.session.signature.inputs],
        "outputs": [_written(spec) for spec in loaded.session.signature.outputs],
    }


def _written(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _stored(model: Any) -> StoredModel:
    metadata = model.info.metadata
    return StoredModel(
        name=model.tag.name,
        version=model.tag.version,
        digest=metadata.get("sha256", ""),
        size_bytes=metadata.get("size_bytes", 0),
        opset=metadata.get("opset", 0),
        ir_version=metadata.get("ir_version", 0),
        producer=metadata.get("producer", ""),
        created_at=model.info.creation_time.isoformat(),
        signature=Signature(_specs(metadata.get("inputs", ())), _specs(metadata.get("outputs", ()))),
    )


def _specs(written: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(each["name"], each["datatype"], tuple(each["shape"])) for each in written)


def _copy(path: Path, facts: GraphFacts, directory: Path) -> str:
    """Copy a model and its weights into `directory` and return the digest of what was copied."""
    with freeze(path, limit_bytes=MODEL_LIMIT_BYTES) as model:
        _write(model, directory / _FILE)
        with frozen_externals(path.name, path.resolve().parent, facts) as externals:
            for location, file in externals.items():
                if location == _FILE:
                    raise LoadRefused(path.name, f"keeps its weights in {_FILE}", "give the weights another name")
                (directory / location).parent.mkdir(parents=True, exist_ok=True)
                _write(file, directory / location)
            return digest_of(model, externals)


def _write(file: FrozenFile, target: Path) -> None:
    with target.open("wb") as opened:
        opened.write(file.view)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:240]
