"""`turnout validate`: every mistake at once, and in return the facts that hold for every request."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.loading import compile_routes, read_configuration, refusals
from gateway.cli.printing import Output, OutputOption, show
from gateway.config.compiled import CompiledArm, CompiledRoute
from gateway.config.contents import model_file
from gateway.config.directory import Configuration
from gateway.config.layers import free_ranges, range_of, range_words
from gateway.config.traffic import Traffic, hosted_words, traffic_of
from strategies.core.plan import WHOLE_PPM
from strategies.core.spec import percent


def validate(
    config: Annotated[Path, typer.Argument(help="The config directory.")] = Path("configs"),
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a config directory; of models only what their files declare. Exit status 0: it can be served; 2: not."""
    from gateway.config.signatures import check_signatures

    configuration = read_configuration(config)
    with refusals():
        check_signatures(configuration)
    routes = compile_routes(configuration, {})
    show(output, [_plain(route) for route in routes], lambda: _print(config, configuration, routes))


def describe(route: CompiledRoute) -> list[str]:
    """What is true of every request to a route, a fact a line."""
    traffic = traffic_of(route)
    return [
        f"{traffic.route}: {traffic.strategy}",
        *((f"  notice    {route.notice}",) if route.notice else ()),
        "  answers   1 arm for every request",
        *(f"  together  {label} for {_part(traffic, label)}: {traffic.merges}" for label in traffic.together),
        *_enrolment(traffic),
        f"  units     {_shares(traffic.shares_ppm)}; {percent(sum(traffic.shares_ppm.values()))} in all",
        f"  fallback  {' → '.join(traffic.fallback)}; {_held(route)}",
        f"  shadows   {_shares(traffic.shadow_ppm) or 'none'}",
        f"  calls     {traffic.calls_ppm / WHOLE_PPM:.4g} for a request that needs no fallback",
        *(f"  twin      {each.arm.name}: {_loaded(each)}" for each in route.arms if each.model.is_twin),
        *(f"  unequal   {name}: {'; '.join(words)}" for name, words in traffic.unlike.items()),
        *(f"  unreached {name} gets no request" for name in traffic.unreached),
    ]


def _part(traffic: Traffic, label: str) -> str:
    return f"{percent(traffic.shares_ppm[label])} of units"


def _print(config: Path, configuration: Configuration, routes: tuple[CompiledRoute, ...]) -> None:
    for route in routes:
        typer.echo("\n".join(describe(route)))
    for layer in configuration.layers.layers:
        typer.echo(f"layer {layer}: {', '.join(_members(layer, configuration))}")
    typer.echo(f"{config}: {len(routes)} route{'s' if len(routes) > 1 else ''}, no problem")


def _enrolment(traffic: Traffic) -> Iterator[str]:
    if traffic.held_out_ppm:
        yield f"  held out  {percent(traffic.held_out_ppm)} of all units: they get the baseline, on every route"
    if traffic.layer:
        yield f"  takes     {range_words(traffic.slots_ppm)} of layer {traffic.layer}; other units get the baseline"


def _members(layer: str, configuration: Configuration) -> Iterator[str]:
    """Who has which part of a layer, and what is left of it."""
    members = [route for route in configuration.routes if route.layer == layer]
    yield from (f"{route.route} {route.slots}" for route in sorted(members, key=range_of))
    free = ", ".join(map(range_words, free_ranges(members)))
    yield f"free {free}" if free else "nothing free"


def _plain(route: CompiledRoute) -> dict[str, object]:
    traffic = traffic_of(route)
    return {
        "route": traffic.route,
        "strategy": traffic.strategy,
        "notice": route.notice,
        "answers": traffic.answers,
        **traffic.enrolment(),
        "shares_ppm": dict(traffic.shares_ppm),
        "merges": traffic.merges,
        "shadow_ppm": dict(traffic.shadow_ppm),
        "calls_ppm": traffic.calls_ppm,
        "fallback": list(traffic.fallback),
        "held_bytes": _held_bytes(route),
        "twin": next((each.arm.name for each in route.arms if each.model.is_twin), ""),
        "unlike": {name: list(words) for name, words in traffic.unlike.items()},
        "unreached": list(traffic.unreached),
    }


def _loaded(twin: CompiledArm) -> str:
    """What a twin costs, as far as it is known before it is opened."""
    file = model_file(twin.model)
    size = f" ({file.stat().st_size / 1024:,.1f} KiB)" if file else ""
    where = f"on Ray, {hosted_words(twin.model.hosting)}" if twin.model.hosting else "in every serving process"
    return f"the baseline's model{size} once more, {where}, for as many units as the candidate has"


def _held(route: CompiledRoute) -> str:
    """Where the chain ends; the size is its model file's, without what the runtime adds."""
    size = _held_bytes(route)
    return f"ends in {route.fallback[-1]}, held here" + (f" ({size / 1024:,.1f} KiB)" if size is not None else "")


def _held_bytes(route: CompiledRoute) -> int | None:
    last = next(each for each in route.arms if each.arm.name == route.fallback[-1])
    file = model_file(last.model)
    return file.stat().st_size if file else None


def _shares(ppm_by_arm: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {percent(ppm)}" for name, ppm in ppm_by_arm.items())
