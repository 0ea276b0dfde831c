"""What a shadow account says: in words for people, as plain values for programs."""

from math import exp
from typing import Any

from gateway.comparing.account import ArmAccount, ShadowAccount
from strategies.evidence.rates import bounds

SURE_LOG_E = 4.605170185988091  # ln 100: one time in a hundred by chance, however often one looks


def tell_account(account: ShadowAccount, arm: str = "") -> list[dict[str, Any]]:
    """One entry per arm, or for `arm` alone; candidates stand beside each twin."""
    twins = account.twins()
    return [
        _tell_arm(account, each, () if each.is_twin else twins)
        for name, each in account.arms.items()
        if arm in ("", name)
    ]


def _tell_arm(account: ShadowAccount, arm: ArmAccount, twins: tuple[str, ...]) -> dict[str, Any]:
    beside = {twin: _tell_beside(account, arm.arm, twin) for twin in twins}
    tau, rbo, overlap = arm.orders
    return {
        "arm": arm.arm,
        "sentence": _sentence(arm, beside),
        "digest": arm.digest,
        "is_twin": arm.is_twin,
        "compared": arm.compared_n,
        "differ": _rate(arm.differ_n, arm.compared_n),
        "invalid": dict(arm.invalid),
        "failed": dict(arm.failed),
        "flips": _rate(arm.flips_n, arm.labels_n),
        "orders": {"compared": arm.lists_n, "tau": tau, "rbo": rbo, "overlap": overlap},
        "max_abs": arm.max_abs,
        "max_rel": arm.max_rel,
        "slower": _rate(arm.slower_n, arm.compared_n),
        "uncompared": arm.uncompared_n,
        "aside": arm.aside_n,
        "dropped": dict(arm.dropped),
        "beside": beside,
    }


def _rate(events_n: int, of_n: int) -> dict[str, Any]:
    """A share and the bounds that hold at all times, 99 of 100 times."""
    low, high = bounds(events_n, of_n, alpha=0.01)
    return {"n": events_n, "of": of_n, "share": events_n / of_n if of_n else 0.0, "low": low, "high": high}


def _tell_beside(account: ShadowAccount, candidate: str, twin: str) -> dict[str, Any]:
    traits = {}
    for trait in ("differs", "flips", "slower"):
        found = account.beside(candidate, twin, trait)
        traits[trait] = {
            "candidate_only": found.candidate_n,
            "twin_only": found.twin_n,
            "e_value": exp(min(found.log_e, 700.0)),
            "is_sure": found.log_e >= SURE_LOG_E,
        }
    return {"requests": account.paired_n(candidate, twin), **traits}


def _sentence(arm: ArmAccount, beside: dict[str, dict[str, Any]]) -> str:
    if not arm.compared_n:
        return "not compared with any answer yet"
    share = f"{arm.differ_n:,} of {arm.compared_n:,} answers differ ({arm.differ_n / arm.compared_n:.2%})"
    flips = f", {arm.flips_n:,} of {arm.labels_n:,} labels flip" if arm.labels_n else ""
    invalid = f", {sum(arm.invalid.values()):,} could not stand in ({', '.join(arm.invalid)})" if arm.invalid else ""
    return f"{share}{flips}{invalid}; {_against_noise(arm, beside)}"


def _against_noise(arm: ArmAccount, beside: dict[str, dict[str, Any]]) -> str:
    if arm.is_twin:
        return "it has the model that answers, so this is the noise floor"
    if not beside:
        return "without a twin nobody knows how much of that is noise"
    twin, found = max(beside.items(), key=lambda each: int(each[1]["requests"]))
    if not found["requests"]:
        return f"no request was compared with {twin} too"
    more = [word for word in ("differs", "flips", "slower") if found[word]["is_sure"]]
    words = {"differs": "differs", "flips": "flips labels", "slower": "is slower"}
    if not more:
        return f"beside {twin}, on {found['requests']:,} requests, nothing of that is proven to be more than noise"
    return f"more often than {twin}, on {found['requests']:,} requests, it {' and '.join(words[word] for word in more)}"
