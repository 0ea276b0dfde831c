"""What operators write: shares and durations as text, kept as integers and seconds."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

from msgspec import Struct

from strategies.core.arm import Arms, Role
from strategies.core.plan import WHOLE_PPM

Share = str | int | float  # "5%", "0.05" or 0.05; a whole number other than 0 and 1 would be ambiguous and is refused
Duration = str  # "250ms", "30s", "10m", "1h", "2d"

_UNITS_S = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}


class Problem(Struct, frozen=True):
    """One thing an operator got wrong. `path` leads to it within the document, `cure` says how to mend it."""

    path: tuple[str | int, ...]
    what: str
    cure: str = ""


def share_ppm(share: Share) -> int:
    """Parts per million, exactly: "0.29" is 290000, never 289999. Raises ValueError with the cure."""
    text = str(share).strip()
    try:
        number = Decimal(text.removesuffix("%").strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ValueError(f"'{text}' is no share; write it like 5% or 0.05")
    fraction = number / 100 if text.endswith("%") else number
    if not 0 <= fraction <= 1:
        raise ValueError(f"share {text} is outside 0% to 100%; write five percent as 5% or 0.05")
    ppm = fraction * WHOLE_PPM
    if ppm != int(ppm):
        raise ValueError(f"share {text} is finer than one part per million")
    return int(ppm)


def range_ppm(written: str) -> tuple[int, int]:
    """The two ends of a range in parts per million, the second not part of it. Raises ValueError with the cure."""
    start, dash, end = written.partition("-")
    if not dash or not start.strip() or not end.strip():
        raise ValueError(f"'{written}' is no range; write it like 0%-20%")
    found = share_ppm(start), share_ppm(end)
    if found[0] >= found[1]:
        raise ValueError(f"nothing lies in {written}; write the lower end first, as in 0%-20%")
    return found


def percent(ppm: float) -> str:
    """A share as people read it: 5%, 0.1%."""
    return f"{ppm / 10_000:.7g}%"


def duration_s(duration: Duration) -> float:
    """Seconds. Raises ValueError with the cure."""
    text = duration.strip()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :]
    if unit not in _UNITS_S or not number.replace(".", "", 1).isdecimal():
        raise ValueError(f"'{text}' is no duration; write it like 250ms, 30s, 10m, 1h or 2d")
    return float(Decimal(number) * _UNITS_S[unit])


def share_problems(path: tuple[str | int, ...], share: Share) -> list[Problem]:
    try:
        share_ppm(share)
    except ValueError as error:
        what, _, cure = str(error).partition("; ")
        return [Problem(path, what, cure)]
    return []


def range_problems(path: tuple[str | int, ...], written: str) -> list[Problem]:
    try:
        range_ppm(written)
    except ValueError as error:
        what, _, cure = str(error).partition("; ")
        return [Problem(path, what, cure)]
    return []


def duration_problems(path: tuple[str | int, ...], duration: Duration) -> list[Problem]:
    try:
        duration_s(duration)
    except ValueError as error:
        what, _, cure = str(error).partition("; ")
        return [Problem(path, what, cure)]
    return []


def known_candidate(path: tuple[str | int, ...], name: str, arms: Arms) -> list[Problem]:
    """The arm exists, and is there to be examined."""
    if name not in arms:
        return [Problem(path, f"no arm is called '{name}'", f"the arms are {_listed(arms.names)}")]
    if arms[name].role is not Role.CANDIDATE:
        return [Problem(path, f"arm '{name}' is the route's {arms[name].role}", "name an arm with role: candidate")]
    return []


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none yet"
