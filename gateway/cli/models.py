"""`turnout models`: what is in the model store, and what a model turns out to be when it is opened."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.printing import Output, OutputOption, show, table

if TYPE_CHECKING:
    from runners.core.runner import ModelRef
    from runners.core.tensor import Signature, TensorSpec
    from runners.registry.bento import StoredModel

_NOTHING: tuple[object, ...] = ("", [], {}, None)

app = typer.Typer(name="models", help="Look into models and the model store.", no_args_is_help=True)


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help="An ONNX file; weights beside it are taken along.")],
    name: Annotated[str, typer.Option("--name", help="Its name in the store, lower-cased.")],
    version: Annotated[str, typer.Option("--version", help="By default the first 12 digits of its SHA-256.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Put an ONNX file into BentoML's model store, where `bento:NAME:VERSION` finds it."""
    with _refusals():
        from runners.registry.bento import import_file

        stored = import_file(file, name, version)
    show(output, _stored(stored), lambda: print(f"imported {stored.reference}  sha256 {stored.digest}"))


@app.command("list")
def list_models(output: OutputOption = Output.TABLE) -> None:
    """List the models in BentoML's model store."""
    with _refusals():
        from runners.registry.bento import list_models as all_models

        found = all_models()
    rows = [
        (model.reference, model.digest[:12] or "not ours", str(model.opset or ""), model.created_at[:19])
        for model in found
    ]
    show(
        output,
        [_stored(model) for model in found],
        lambda: table(("reference", "sha256", "opset", "created"), rows),
    )


@app.command("inspect")
def inspect_model(
    reference: Annotated[str, typer.Argument(help="file:PATH, bento:NAME:VERSION or constant:PATH")],
    provider: Annotated[
        str, typer.Option("--provider", help="Where to open it: cpu, cuda, tensorrt, openvino.")
    ] = "cpu",
    output: OutputOption = Output.TABLE,
) -> None:
    """Open a model as a gateway would, and print what it is and how it will be run."""
    with _refusals():
        from runners.core.runner import ModelRef, ProviderChoice

        facts = asyncio.run(_opened(ModelRef(reference, Path.cwd(), provider=ProviderChoice(provider))))
    show(
        output,
        facts,
        lambda: table(("", ""), [(key, _text(value)) for key, value in facts.items() if value not in _NOTHING]),
    )


async def _opened(model: "ModelRef") -> dict[str, Any]:
    """What there is to say of an opened model, in the order it is printed."""
    if model.reference.startswith("constant:"):
        from runners.constant import Constant

        constant = await Constant().open(model)
        await constant.close()
        return {"reference": model.reference, **_described(constant.description), "run": "on the event loop"}
    from runners.embedded import Embedded

    endpoint = await Embedded().open(model)
    await endpoint.close()
    facts, placement, rows = endpoint.facts, endpoint.placement, endpoint.rows
    return {
        "reference": model.reference,
        **_described(endpoint.description),
        "opset": {domain or "ai.onnx": version for domain, version in facts.opsets},
        "ir_version": facts.ir_version,
        "producer": facts.producer,
        "nodes": facts.nodes_n,
        "external_data": sorted({tensor.location for tensor in facts.external}),
        "run": "on the event loop" if placement.on_loop else f"in a thread of its own: {placement.why}",
        "warm_up_ms": round(placement.warm_up_ms, 4) if isfinite(placement.warm_up_ms) else None,
        "batched": not rows.why,
        "batching": _batching(rows.why, rows.rows_n, on_loop=placement.on_loop),
        "rows_ms": {"1": round(rows.one_ms, 4), str(rows.rows_n): round(rows.rows_ms, 4)} if rows.rows_ms else {},
    }


def _batching(why: str, rows_n: int, *, on_loop: bool) -> str:
    if why:
        return f"every call by itself: {why}"
    where = "in one turn of the event loop" if on_loop else "while it is busy"
    return f"up to {rows_n} rows of calls that come {where} are run together"


def _described(description: Any) -> dict[str, Any]:
    return {
        "version": description.version,
        "sha256": description.digest,
        "platform": description.platform,
        "provider": description.provider,
        "degraded": description.degraded,
        **_signature(description.signature),
    }


def _stored(model: "StoredModel") -> dict[str, Any]:
    return {
        "reference": model.reference,
        "sha256": model.digest,
        "size_bytes": model.size_bytes,
        "opset": model.opset,
        "ir_version": model.ir_version,
        "producer": model.producer,
        "created_at": model.created_at,
        **_signature(model.signature),
    }


def _signature(signature: "Signature") -> dict[str, Any]:
    def written(spec: "TensorSpec") -> dict[str, Any]:
        return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}

    return {"inputs": [written(spec) for spec in signature.inputs], "outputs": [written(s) for s in signature.outputs]}


def _text(value: Any) -> str:
    match value:
        case [{"name": _}, *_]:
            return "\n".join(f"{each['name']}  {each['datatype']}  {each['shape']}" for each in value)
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{key} {number}" for key, number in value.items())
        case list():
            return ", ".join(value)
        case _:
            return str(value)


@contextmanager
def _refusals() -> Iterator[None]:
    """One line on stderr and exit code 2 for what was refused."""
    from runners.core.errors import LoadRefused

    try:
        yield
    except LoadRefused as refused:
        print(f"turnout: {refused}", file=sys.stderr)
        raise typer.Exit(2) from None
