"""The main job, shown in under a minute: real models, real rows, every strategy, an operator, and faults that are real.

Everything printed is checked against what the clients saw, what the assignment rule says and what the gateway wrote
down; the exit status is 1 if any of it is untrue.
"""

import json
import tempfile
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

from claims import Claims
from clients import Answer, GrpcClient, HttpClient
from flips import Operator, Traffic, check_flips, show_flips
from interleaving import show_interleaving
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rollback import show_rollback, watch_rollback
from routes import CANARY_SALT, CHANGES, ITSELF, LIVE, RAMP, SEARCH, STEPS, write_routes
from server import Gateway

ROWS = json.loads((Path(__file__).parents[1] / "digits" / "rows.json").read_text())
UNITS_N = len(ROWS)
HANGING_N = 16  # each waits out most of its deadline
OUTPUTS = {"shadow": ("label",)}  # digits are compared there; no two models give the same probabilities
BAR = 30  # characters of a whole
COLOURS = {"linear": "blue", "network": "green", "prior": "yellow"}
INKS = {"linear": "█", "network": "▒", "prior": "░"}  # for who sees no colours


def main() -> None:
    console = Console(highlight=False, width=100)
    claims = Claims()
    with tempfile.TemporaryDirectory() as folder:
        config, state = Path(folder, "config"), Path(folder, "state")
        write_routes(config)
        with Gateway(config, state, STEPS) as gateway:
            console.print(f"turnout serves {len(CHANGES) + 2} routes, ready after {gateway.start_s:.1f} s\n")
            seen = send_all(gateway, console)
            seen[LIVE] = work_at(gateway, config, console, claims)
            posts_n = show_interleaving(gateway, ROWS, console, claims)
            rollback = watch_rollback(gateway, ROWS, console, claims)
            seen[ITSELF] = [("", answer, 0.0) for answer in rollback.seen]
        claims.equal("exit status after SIGTERM", 0, gateway.exit_status)
        events = gateway.events()
    console.print()
    show_strategies(console, seen, claims)
    show_canary(console, seen, claims)
    show_shadow(console, events, claims)
    show_faults(console, seen, claims)
    show_record(console, seen, events, claims)
    claims.equal("events: one per post of clicks", posts_n, sum(event["event"] == "feedback" for event in events))
    show_rollback(rollback, console)
    claims.conclude()
    console.print(f"\nAll of this was checked: {claims.checked_n} claims, none untrue.")


Seen = dict[str, list[tuple[str, Answer, float]]]  # route -> (unit, answer, seconds), in the order sent


def send_all(gateway: Gateway, console: Console) -> Seen:
    """Send every held-out row to every route, HTTP and gRPC by turns."""
    clients = HttpClient(gateway.ports["http"]), GrpcClient(gateway.ports["grpc"])
    routes = [route for route in CHANGES if route != LIVE]
    seen: Seen = {route: [] for route in routes}
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("sending real rows", total=sum(len(rows_for(route)) for route in routes))
        for route in routes:
            for number, row in enumerate(rows_for(route)):
                unit = f"customer-{number}"
                started_at = time.perf_counter()
                answer = clients[number % 2].infer(route, row["pixels"], unit, OUTPUTS.get(route, ()))
                seen[route].append((unit, answer, time.perf_counter() - started_at))
                progress.advance(bar)
    return seen


def work_at(gateway: Gateway, config: Path, console: Console, claims: Claims) -> list[tuple[str, Answer, float]]:
    """Have an operator change a route while two clients ask it, and show who answered."""
    console.print("[bold]an operator at work[/bold], while two clients ask without a pause")
    operator = Operator(gateway, console)
    with Traffic(gateway, ROWS) as traffic:
        for arms in show_flips(traffic, operator, config, claims):
            console.print(f"    {picture(arms)}")
        history = json.loads(operator.asks("history", "-o", "json"))
    check_flips(traffic.seen, traffic.failures, history, claims)
    console.print(f"  {len(traffic.seen)} answers, none lost, each by the arm that its revision gives its unit")
    return [(unit, answer, 0.0) for unit, answer in traffic.seen]


def rows_for(route: str) -> list[dict]:
    return ROWS[:HANGING_N] if route == "hangs" else ROWS


def show_strategies(console: Console, seen: Seen, claims: Claims) -> None:
    console.print("[bold]baseline[/bold] and [bold]A/B[/bold]: every unit is answered by the arm the rule gives it")
    for route, candidate_share in (("baseline", 0.0), ("ab", 0.5)):
        told = [answer.arm for _, answer, _ in seen[route]]
        expected = [arm_by_rule(f"{route}/0", unit, candidate_share) for unit, _, _ in seen[route]]
        claims.equal(f"{route}: arms by the rule", expected, told)
        console.print(f"  {route:8}  {picture(told)}  {right_share(route, seen)} right")


def show_canary(console: Console, seen: Seen, claims: Claims) -> None:
    console.print("\n[bold]canary[/bold]: the share grows, and whoever met the network keeps meeting it")
    before: set[str] = set()
    for step, share in enumerate(RAMP, start=1):
        route = f"canary-{step}"
        arms = {unit: answer.arm for unit, answer, _ in seen[route]}
        met = {unit for unit, arm in arms.items() if arm == "network"}
        expected = {u for u in arms if arm_by_rule(f"{CANARY_SALT}/0", u, float(share.rstrip("%")) / 100) == "network"}
        claims.equal(f"canary {share}: units of the network", expected, met)
        claims.true(f"canary {share}: nobody went back", before <= met)
        console.print(f"  {share:>4}  {picture(list(arms.values()))}  {len(met) - len(before)} joined, none left")
        before = met


def show_shadow(console: Console, events: list[dict], claims: Claims) -> None:
    shadows = [event for event in events if (event["event"], event.get("route")) == ("shadow", "shadow")]
    outcomes = Counter[str]()
    for event in shadows:
        outcomes[event["outcome"]] += event["count"]
    claims.equal("shadow: called plus dropped", UNITS_N, sum(outcomes.values()))
    claims.true("shadow: some answers differ, most agree", 0 < outcomes["mismatch"] < UNITS_N)
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    console.print(f"\n[bold]shadow[/bold]: linear answers {UNITS_N}, the network is asked beside it: {told}")


def show_faults(console: Console, seen: Seen, claims: Claims) -> None:
    causes = {"raises": "error", "hangs": "timeout", "nan": "invalid_output"}
    table = Table("candidate", "its units", "answered by", "cause told", "slowest answer", "deadline", box=None)
    for route, cause in causes.items():
        hit = [(a, s) for unit, a, s in seen[route] if arm_by_rule(f"{route}/0", unit, 0.5) == "network"]
        deadline_s = 0.4 if route == "hangs" else 2.0
        claims.true(f"{route}: everybody was answered", all(a.digit is not None for _, a, _ in seen[route]))
        claims.equal(f"{route}: who stepped in", {("linear", cause)}, {(a.arm, a.fallback) for a, _ in hit})
        slowest_s = max(s for _, s in hit)
        table.add_row(route, str(len(hit)), "linear", cause, f"{slowest_s * 1e3:.0f} ms", f"{deadline_s * 1e3:.0f} ms")
    console.print("\n[bold]fallback[/bold]: half of the units meet a candidate that fails")
    console.print(table)


def show_record(console: Console, seen: Seen, events: list[dict], claims: Claims) -> None:
    requests = [event for event in events if event["event"] == "request" and event["route"] != SEARCH]
    sent_n = sum(map(len, seen.values()))
    told = Counter((route, a.event, a.arm, a.fallback) for route, all_seen in seen.items() for _, a, _ in all_seen)
    wrote = Counter((e["route"], e["request_id"], e["answered_arm"], e["fallback_cause"]) for e in requests)
    claims.equal("events: one per request, saying what the client was told", told, wrote)
    claims.true("events: no unit in plain text", "customer-" not in json.dumps(events))
    console.print(f"\n[bold]record[/bold]: {sent_n} requests, {len(requests)} wide events, equal in arm and cause")


def arm_by_rule(salt: str, unit: str, share: float) -> str:
    """The published rule, written again here: the first 8 bytes of SHA-256(salt 0x1F unit), below share x 2^64."""
    point = int.from_bytes(sha256(salt.encode() + b"\x1f" + unit.encode()).digest()[:8])
    return "network" if point < int(share * 100) * 2**64 // 100 else "linear"


def right_share(route: str, seen: Seen) -> str:
    pairs = zip(seen[route], rows_for(route), strict=True)
    right = sum(answer.digit == row["label"] for (_, answer, _), row in pairs)
    return f"{right / len(seen[route]):.1%}"


def picture(arms: list[str]) -> str:
    """The shares as one bar, a colour an arm, the baseline first."""
    counts = sorted(Counter(arms).items())
    bar = "".join(f"[{COLOURS[arm]}]{INKS[arm] * round(BAR * count / len(arms))}[/]" for arm, count in counts)
    return bar + "".join(f" [{COLOURS[arm]}]{arm} {count / len(arms):.0%}[/]" for arm, count in counts)


if __name__ == "__main__":
    main()
