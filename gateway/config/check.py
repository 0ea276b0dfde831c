"""What a route's document means beyond its words: every problem at once, none of it needs a model."""

from collections.abc import Iterator

from gateway.config.acting import action_problems
from gateway.config.documents import ArmDoc, DefaultsDoc, RouteDoc
from gateway.config.hosting import hosting_problems
from gateway.config.remote import REMOTE, remote_problems
from gateway.config.slicing import slice_problems
from strategies.core.arm import TWIN_SUFFIX, Arm, Arms, Role, with_twin
from strategies.core.decider import SHADOWS_LIMIT
from strategies.core.spec import Problem, duration_problems, duration_s, known_candidate, share_problems

SCHEMES = ("file", "bento", "constant", "remote")


def problems_of(document: RouteDoc) -> list[Problem]:
    """All that an operator got wrong in one route, with paths into the document."""
    found = [*_roles(document), *_references(document), *_facts(document), *_timing(document)]
    if any(arm.role is Role.BASELINE for arm in document.arms.values()):
        arms = arms_of(document)
        found += [
            Problem(("strategy", *problem.path), problem.what, problem.cure)
            for problem in document.strategy.problems(arms)
        ]
        found += _shadows(document, arms)
        found += action_problems(document)
        found += slice_problems(document)
        found += _twin(document)
    return found


def twin_of(document: RouteDoc) -> str:
    """The second copy of the baseline that a canary asks for; "" where none is asked for."""
    return baseline_of(document) + TWIN_SUFFIX if getattr(document.strategy, "twin", False) else ""


def baseline_of(document: RouteDoc) -> str:
    """The one baseline of a document without problems."""
    return next(name for name, arm in document.arms.items() if arm.role is Role.BASELINE)


def all_arms_of(document: RouteDoc) -> Arms:
    """The arms that its strategy knows: the document's own, and a twin where one is asked for."""
    return with_twin(arms_of(document)) if twin_of(document) else arms_of(document)


def arms_of(document: RouteDoc) -> Arms:
    """The document's arms, with its fallback chain; by default the baseline is the chain."""
    arms = tuple(
        Arm(index=index, name=name, role=arm.role, model=arm.model, version=arm.version or "")
        for index, (name, arm) in enumerate(document.arms.items())
    )
    return Arms(arms, fallback_of(document))


def fallback_of(document: RouteDoc) -> tuple[str, ...]:
    if document.fallback is not None:
        return document.fallback
    return tuple(name for name, arm in document.arms.items() if arm.role is Role.BASELINE)


def is_resident(arm: ArmDoc, defaults: DefaultsDoc) -> bool:
    """Whether the gateway process itself holds the arm, on the CPU."""
    return runner_of(arm, defaults) in ("embedded", "constant") and arm.provider.name == "cpu"


def runner_of(arm: ArmDoc, defaults: DefaultsDoc) -> str:
    """The runner's name: as written, else what the reference implies, else what the route does by default."""
    scheme = arm.model.partition(":")[0]
    implied = scheme if scheme in ("constant", REMOTE) else defaults.runner
    return arm.runner or implied or "embedded"


def _roles(document: RouteDoc) -> Iterator[Problem]:
    baselines = [name for name, arm in document.arms.items() if arm.role is Role.BASELINE]
    if len(baselines) != 1:
        written = ", ".join(baselines) or "none"
        yield Problem(
            ("arms",), f"a route has exactly one baseline, here it is {written}", "give one arm role: baseline"
        )
    for place, name in enumerate(document.fallback or ()):
        if name not in document.arms:
            cure = f"the arms are {', '.join(document.arms)}"
            yield Problem(("fallback", place), f"no arm is called '{name}'", cure)
        elif name in (document.fallback or ())[:place]:
            yield Problem(("fallback", place), f"arm '{name}' is in the chain already", "name each arm once")
    if document.fallback == ():
        yield Problem(
            ("fallback",), "an empty chain leaves nobody to step in", "leave it out to fall back on the baseline"
        )
    yield from _last_resort(document)


def _last_resort(document: RouteDoc) -> Iterator[Problem]:
    """The chain must end in a model that this process can hold, or in one of which it can hold a copy."""
    name = next(reversed(fallback_of(document)), "")
    arm = document.arms.get(name)
    if arm is not None and runner_of(arm, document.defaults) == REMOTE:
        cure = f"add an arm that is held here, role: reserve, and write fallback: [{name}, THAT_ARM]"
        what = f"the chain ends in '{name}', which is on another server and goes when that server does"
        yield Problem(("fallback",), what, cure)


def _references(document: RouteDoc) -> Iterator[Problem]:
    for name, arm in document.arms.items():
        scheme, _, rest = arm.model.partition(":")
        if scheme not in SCHEMES or not rest:
            cure = "write file:PATH, bento:NAME:VERSION, constant:PATH or remote:MODEL:VERSION"
            yield Problem(("arms", name, "model"), f"'{arm.model}' is no reference to a model", cure)
        runner = runner_of(arm, document.defaults)
        yield from remote_problems(name, arm, runner)
        yield from hosting_problems(name, arm, runner)
        for output, (low, high) in arm.outputs.ranges.items():
            if not low <= high:
                cure = "write the lower bound first"
                yield Problem(("arms", name, "outputs", "ranges", output), f"nothing lies in [{low}, {high}]", cure)


def _facts(document: RouteDoc) -> Iterator[Problem]:
    sources = {("unit",): document.unit} | {("attributes", name): doc for name, doc in document.attributes.items()}
    for path, source in sources.items():
        if (source.header is None) == (source.parameter is None):
            yield Problem(path, "a fact has one source", "write {header: NAME} or {parameter: NAME}")
    for place, rule in enumerate(document.audience):
        if rule.attribute not in document.attributes:
            cure = f"declare it, for example attributes: {{{rule.attribute}: {{header: x-{rule.attribute}}}}}"
            yield Problem(("audience", place, "attribute"), f"no attribute is called '{rule.attribute}'", cure)


def _timing(document: RouteDoc) -> Iterator[Problem]:
    wrong = duration_problems(("timeout",), document.timeout)
    yield from wrong
    if not wrong and not 0 < duration_s(document.timeout) <= 600:
        yield Problem(("timeout",), f"a timeout of {document.timeout} is out of range", "write between 1ms and 10m")
    for name, arm in document.arms.items():
        if not wrong and arm.batching.max_wait_ms / 1000 >= duration_s(document.timeout):
            what = f"calls would be held back for {arm.batching.max_wait_ms:g} ms, as long as the timeout of the route"
            yield Problem(("arms", name, "batching", "max_wait_ms"), what, "write a few milliseconds, or leave it out")


def _twin(document: RouteDoc) -> Iterator[Problem]:
    name = baseline_of(document)
    if twin_of(document) and runner_of(document.arms[name], document.defaults) == REMOTE:
        what = f"'{name}' is on another server, and its twin would be that same server"
        yield Problem(("strategy", "twin"), what, "leave it out, or hold the baseline here or on Ray")


def _shadows(document: RouteDoc, arms: Arms) -> Iterator[Problem]:
    if len(document.shadow) > SHADOWS_LIMIT:
        yield Problem(("shadow",), f"a route has at most {SHADOWS_LIMIT} shadows", "shadow fewer arms")
    seen: set[str] = set()
    for place, shadow in enumerate(document.shadow):
        yield from known_candidate(("shadow", place, "candidate"), shadow.candidate, arms)
        yield from share_problems(("shadow", place, "share"), shadow.share)
        if shadow.candidate in seen:
            yield Problem(("shadow", place, "candidate"), f"'{shadow.candidate}' is shadowed twice", "name it once")
        seen.add(shadow.candidate)
