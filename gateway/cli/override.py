"""`turnout override`: let somebody meet an arm for a while, whatever their unit."""

from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Annotated

import typer

from gateway.cli.loading import fail, override_secret, read_configuration
from gateway.overrides import sign
from strategies.core.spec import duration_problems, duration_s


def override(
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The route's public name.")],
    arm: Annotated[str, typer.Argument(metavar="ARM", help="The arm to be met.")],
    *,
    lasts: Annotated[str, typer.Option("--for", help="How long: 30m, 12h, 7d…")] = "1h",
    config: Annotated[Path, typer.Option(help="The config directory.")] = Path("configs"),
) -> None:
    """Print a token that forces ARM of ROUTE. It cannot be taken back before its time, but by another secret."""
    for problem in duration_problems(("--for",), lasts):
        fail(f"--for: {problem.what}; {problem.cure}")
    configuration = read_configuration(config)
    arms = {document.route: document.arms for document in configuration.routes}
    if route not in arms:
        fail(f"no route is called '{route}'; there is {', '.join(arms)}")
    if arm not in arms[route]:
        fail(f"route '{route}' has no arm '{arm}'; there is {', '.join(arms[route])}")
    secret = override_secret(configuration.settings, config)
    if not secret:
        fail(f"{config}/turnout.yaml names no override_token_file, so nobody may force an arm")
    expires_at = int(time() + duration_s(lasts))
    until = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    typer.echo(f"send x-turnout-arm: {arm}, and this as x-turnout-override-token, until {until} UTC", err=True)
    typer.echo(sign(secret, route, arm, expires_at))
