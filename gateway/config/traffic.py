"""What a compiled route does to traffic, as values that can be printed, compared and asserted. Pure."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec import Struct

from gateway.config.compiled import CompiledArm, CompiledRoute
from runners.core.runner import Hosting
from strategies.core.arm import Role
from strategies.core.assignment import POINTS
from strategies.core.merge import Merge, Mode
from strategies.core.plan import WHOLE_PPM


class Traffic(Struct, frozen=True):
    """One route in numbers. Shares are of the units that take part; calls are of all requests, in ppm, expected.

    `held_out_ppm` is the share of all units that meets no experiment, `slots_ppm` the range of the route's `layer` that
    takes part, all of it where it is in none. Of an audience nobody knows how large it is; it is left out of account.
    Units whose answer is made of several arms' have a share under all their names, as in "old+new"; `together` says
    which those are, and `merges` how, in words.
    `unreached` are arms that get no request under any share of the strategy, shadow or fallback. `unlike` says what
    an arm of the test runs on that the baseline does not: latencies then compare engines, not models.
    """

    route: str
    strategy: str
    answers: int  # how many arms are called to answer one request
    shares_ppm: Mapping[str, int]
    shadow_ppm: Mapping[str, int]
    fallback: tuple[str, ...]
    unreached: tuple[str, ...]
    unlike: Mapping[str, tuple[str, ...]]
    held_out_ppm: int = 0
    layer: str = ""
    slots_ppm: tuple[int, int] = (0, WHOLE_PPM)
    together: Mapping[str, tuple[str, ...]] = {}
    merges: str = ""

    def share_of(self, arm: str) -> int:
        """The units that meet an arm, alone or with others, in ppm."""
        return sum(ppm for name, ppm in self.shares_ppm.items() if arm in self.together.get(name, (name,)))

    @property
    def partner_load_ppm(self) -> int:
        """Calls of partners for a million requests."""
        calls_ppm = sum(self.shares_ppm[name] * (len(arms) - 1) for name, arms in self.together.items())
        return round(calls_ppm * self.enrolled_ppm / WHOLE_PPM)

    @property
    def enrolled_ppm(self) -> int:
        """The share of all units that takes part."""
        return round(_enrolled_ppm(self.held_out_ppm, self.slots_ppm))

    def enrolment(self) -> dict[str, Any]:
        """Who takes part, for programs."""
        return {
            "held_out_ppm": self.held_out_ppm,
            "layer": self.layer,
            "slots_ppm": list(self.slots_ppm),
            "enrolled_ppm": self.enrolled_ppm,
        }

    @property
    def shadow_load_ppm(self) -> int:
        """Shadow calls for a million requests."""
        return sum(self.shadow_ppm.values())

    @property
    def calls_ppm(self) -> int:
        """Calls of models for a million requests that need no fallback."""
        return WHOLE_PPM + self.partner_load_ppm + self.shadow_load_ppm


def traffic_of(route: CompiledRoute) -> Traffic:
    """What the route's map, chain and shadows come to."""
    widths: dict[str, int] = {plan.label: 0 for plan in route.plans}
    for start, end, plan in route.decider.allocation.intervals():
        widths[plan.label] += end - start
    serving = {plan.label: tuple(arm.name for arm in plan.serve) for plan in route.plans}
    shares = {name: round(width * WHOLE_PPM / POINTS) for name, width in widths.items()}
    held_out_ppm = route.holdout.ppm if route.holdout else 0
    slots_ppm = route.slots.draw.range_ppm if route.slots else (0, WHOLE_PPM)
    enrolled_ppm = _enrolled_ppm(held_out_ppm, slots_ppm)
    met = {name: sum(shares[label] for label, arms in serving.items() if name in arms) for name in route.shadows}
    shadows = {  # an arm is never the shadow of itself
        name: round(ppm * (WHOLE_PPM - met[name] * enrolled_ppm / WHOLE_PPM) / WHOLE_PPM)
        for name, ppm in route.shadows.items()
    }
    reached = {name for arms in serving.values() for name in arms}
    reached |= {name for name, ppm in shadows.items() if ppm} | set(route.fallback)
    return Traffic(
        route=route.name,
        strategy=route.strategy,
        answers=max(len(plan.serve) for plan in route.plans),
        shares_ppm=shares,
        shadow_ppm=shadows,
        fallback=route.fallback,
        unreached=tuple(each.arm.name for each in route.arms if each.arm.name not in reached and not route.is_pinnable),
        unlike=dict(_unlike(route, shares.keys())),
        held_out_ppm=held_out_ppm,
        layer=route.slots.layer if route.slots else "",
        slots_ppm=slots_ppm,
        together={label: arms for label, arms in serving.items() if len(arms) > 1},
        merges=next((_merges(plan.merge) for plan in route.plans if plan.merge), ""),
    )


def _merges(merge: Merge) -> str:
    if merge.mode is Mode.BOTH:
        return f"all answers side by side, {merge.slots} slots"
    read = f"lists of {merge.ids}" if merge.ids else f"orders of {merge.items} by {merge.scores}"
    return f"{read}, the first {merge.k} places by {merge.method.replace('_', ' ')}"


def _enrolled_ppm(held_out_ppm: int, slots_ppm: tuple[int, int]) -> float:
    """The share of all units that takes part. Holdout and layer are drawn independently."""
    return (slots_ppm[1] - slots_ppm[0]) * (WHOLE_PPM - held_out_ppm) / WHOLE_PPM


def _unlike(route: CompiledRoute, compared: Collection[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    baseline = next(each for each in route.arms if each.arm.role is Role.BASELINE)
    here = _resources(baseline)
    for each in route.arms:
        there = _resources(each)
        words = tuple(f"{word} {there[word]}, not {here[word]}" for word in here if there[word] != here[word])
        if words and each.arm.name in compared:
            yield each.arm.name, words


def _resources(each: CompiledArm) -> dict[str, str]:
    model = each.model
    batching = model.batching
    return {
        "runner": each.runner,
        "provider": model.provider.name,
        "threads": str(model.threads),
        "batches of": f"{batching.max_rows} rows within {batching.max_wait_s * 1000:g} ms",
        "replicas": hosted_words(model.hosting),
        "server": model.server.url if model.server else "none",
    }


def hosted_words(hosting: Hosting | None) -> str:
    """What an arm is given on Ray."""
    if hosting is None:
        return "none on Ray"
    counted = f"{hosting.replicas} to {hosting.most}" if hosting.most else f"{hosting.replicas}"
    return f"{counted} of {hosting.num_cpus:g} CPUs and {hosting.num_gpus:g} GPUs"
