"""Whether the arms of a route could stand in for each other, as far as their files tell without being opened.

What opens the models asks again, and knows more: files leave sizes open, and some models are not here at all.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.config.acting import actions_of
from gateway.config.check import all_arms_of
from gateway.config.contents import model_file
from gateway.config.countable import output_problems
from gateway.config.directory import Configuration, place_of_route
from gateway.config.documents import ArmDoc, RouteDoc
from gateway.config.extends import extended
from gateway.config.likeness import difference_of
from gateway.config.mergeable import merge_problems
from gateway.config.problems import ConfigRefused
from runners import constant
from runners.core.errors import LoadRefused
from runners.core.frozen import freeze
from runners.core.runner import ModelRef
from runners.core.tensor import Signature, TensorSpec
from runners.onnx import declared as onnx
from runners.onnx.declared import Declared
from runners.onnx.graph import MODEL_LIMIT_BYTES
from strategies.core.arm import Role
from strategies.core.spec import Problem


def check_signatures(configuration: Configuration) -> None:
    """Hold every route's arms against its baseline; raises ConfigRefused with all that do not fit."""
    located = []
    for document in configuration.routes:
        text = extended(configuration.root, place_of_route(configuration, document.route), configuration.documents)
        located += [text.located(problem) for problem in signature_problems(document, configuration.root)]
    if located:
        raise ConfigRefused(located)


def signature_problems(document: RouteDoc, root: Path) -> list[Problem]:
    """Files that are no models or declare something else than the baseline's, and words for what it does not have."""
    found, problems = dict[str, Declared](), list[Problem]()
    for name, arm in document.arms.items():
        try:
            known = _declared(arm, root)
        except LoadRefused as refused:
            problems.append(Problem(("arms", name, "model"), f"{refused.what} {refused.why}", refused.cure))
        else:
            if known is not None:
                found[name] = known
    return [*problems, *_unlike(document, found), *_unmergeable(document, found), *_without_output(document, found)]


def _unmergeable(document: RouteDoc, found: Mapping[str, Declared]) -> Iterator[Problem]:
    arms = all_arms_of(document)
    known = found.get(arms.baseline.name)
    if known is None:
        return
    for plan in document.strategy.plans(arms, None):
        for problem in merge_problems(plan, known.signature, known.unranked):
            yield Problem(("strategy", *problem.path), problem.what, problem.cure)


def _without_output(document: RouteDoc, found: Mapping[str, Declared]) -> Iterator[Problem]:
    known = found.get(all_arms_of(document).baseline.name)
    return output_problems(actions_of(document), known.signature, known.unranked) if known else iter(())


def _unlike(document: RouteDoc, found: Mapping[str, Declared]) -> Iterator[Problem]:
    baseline = next((name for name, arm in document.arms.items() if arm.role is Role.BASELINE), "")
    if baseline not in found:
        return
    for name, known in found.items():
        unsure = known.unranked | found[baseline].unranked
        difference = difference_of(_sure(known, unsure), _sure(found[baseline], unsure))
        if difference:
            cure = f"arms of one route take and give what {baseline} does; export the model so, or give it a route"
            yield Problem(("arms", name, "model"), f"it cannot stand in for {baseline}: {difference}", cure)


def _declared(arm: ArmDoc, root: Path) -> Declared | None:
    """None where there is no file here that could be read."""
    file = model_file(ModelRef(arm.model, root))
    if file is None:
        return None
    if arm.model.startswith("constant:"):
        with freeze(file, limit_bytes=constant.FILE_LIMIT_BYTES) as frozen:
            return Declared(constant.declared_in(frozen))
    with freeze(file, limit_bytes=MODEL_LIMIT_BYTES) as frozen:
        return onnx.declared_in(frozen)


def _sure(known: Declared, unsure: frozenset[str]) -> Signature:
    """Without what one of two files leaves open."""

    def kept(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(spec for spec in specs if spec.name not in unsure)

    return Signature(kept(known.signature.inputs), kept(known.signature.outputs))
