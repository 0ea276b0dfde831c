"""How arms are run, as verbs print it."""

from collections.abc import Sequence
from typing import Any

import typer

from gateway.cli.printing import table

HEADS = ("arm", "replica", "node", "state", "address", "provider", "outstanding", "waiting", "ejected", "why")


def print_arms(arms: Sequence[dict[str, Any]], *, is_whole: bool) -> None:
    """A line for every arm on Ray; of all, and each replica, when that is asked for."""
    for each in arms:
        if is_whole or each["application"]:
            typer.echo(f"  {each['arm']} {each['sentence']}")
    if is_whole:
        print_replicas(arms)


def print_replicas(arms: Sequence[dict[str, Any]]) -> None:
    """A table of them, nothing where there are none."""
    rows = [_row(arm["arm"], replica) for arm in arms for replica in arm["replicas"]]
    if rows:
        table(HEADS, rows)
    for arm in arms:
        if arm["untold"]:
            typer.echo(f"{arm['arm']}: {arm['untold']} replicas more")


def _row(arm: str, replica: dict[str, Any]) -> tuple[str, ...]:
    times_n = replica["ejections"]
    ejected = "now, " if replica["ejected"] else ""
    return (
        *(arm, replica["replica"], replica["node"], replica["state"], replica["address"], replica["provider"]),
        *(str(replica["outstanding"]), str(replica["waiting"])),
        f"{ejected}{times_n} times" if times_n else "never",
        replica["why"] or replica["degraded"],
    )
