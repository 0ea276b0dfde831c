"""Arms: the alternatives that stand behind one public model name."""

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """What an operator trusts an arm with."""

    BASELINE = "baseline"  # trusted, compared to, fallen back on; a route has exactly one
    CANDIDATE = "candidate"  # under examination
    RESERVE = "reserve"  # never under examination: the dumb model, the last one, or a copy that the gateway adds


TWIN_SUFFIX = "@twin"  # of the name of a second copy of the baseline


class Arm(Struct, frozen=True):
    """One alternative within a route. `index` is its place in the route's list of arms."""

    index: int
    name: str
    role: Role
    model: str
    version: str = ""


class Arms:
    """The arms of one route, by name and in the order they were written."""

    def __init__(self, arms: tuple[Arm, ...], fallback: tuple[str, ...] = ()) -> None:
        self.all = arms
        self._by_name = {arm.name: arm for arm in arms}
        self.fallback = tuple(self._by_name[name] for name in fallback if name in self._by_name)

    def __getitem__(self, name: str) -> Arm:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Arm]:
        return iter(self.all)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @property
    def baseline(self) -> Arm:
        """The one arm with the role of baseline; that there is exactly one is checked before."""
        return next(arm for arm in self.all if arm.role is Role.BASELINE)

    @property
    def twin(self) -> Arm:
        """The baseline's second copy, where there is one."""
        return self._by_name[self.baseline.name + TWIN_SUFFIX]

    def chain_after(self, arm: Arm) -> tuple[Arm, ...]:
        """The fallbacks that can step in for `arm`, in order: the route's own, less the arm itself."""
        return tuple(other for other in self.fallback if other.index != arm.index)


def with_copy(arms: Arms, of: Arm, suffix: str, *, is_fallback: bool) -> Arms:
    """The same arms, and after them a copy of one under a name of its own; the last of the fallbacks, if so wanted."""
    copy = Arm(len(arms.all), of.name + suffix, Role.RESERVE, of.model, of.version)
    fallback = *(arm.name for arm in arms.fallback), *((copy.name,) if is_fallback else ())
    return Arms((*arms.all, copy), fallback)


def with_twin(arms: Arms) -> Arms:
    """The same arms, and a second copy of the baseline."""
    return with_copy(arms, arms.baseline, TWIN_SUFFIX, is_fallback=False)
