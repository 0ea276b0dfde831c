"""`turnout token`: who may use the operator's side."""

from datetime import UTC, datetime
from time import time
from typing import Annotated, Literal

import typer

from gateway.cli.kept import DEFAULT_STATE, Author, StateFolder, opened_state, whoever_asks
from gateway.cli.loading import fail
from strategies.core.spec import duration_problems, duration_s

app = typer.Typer(help="Tokens for the operator's side.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who will hold it; it becomes the author of what they do.")],
    role: Annotated[
        Literal["infer", "observe", "operate", "approve"], typer.Option(help="infer, observe, operate or approve.")
    ] = "observe",
    expires: Annotated[str, typer.Option(help="After how long it ends: 90d, 12h…")] = "90d",
    author: Author = "",
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Print a new secret, once. A name has at most two valid tokens, so that one can replace the other."""
    from gateway.state.tokens import TokenRole, Tokens

    for problem in duration_problems(("--expires",), expires):
        fail(f"--expires: {problem.what}; {problem.cure}")
    with opened_state(state) as engine:
        token, secret = Tokens(engine).create(
            name, TokenRole(role), lifetime_s=duration_s(expires), author=whoever_asks(author), now=time()
        )
    typer.echo(f"token {token.id} of '{name}', role {role}, until {_moment(token.expires_at)}", err=True)
    typer.echo(secret)


@app.command("revoke")
def revoke(
    token: Annotated[str, typer.Argument(help="Its id, as `turnout token list` shows it.")],
    author: Author = "",
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """End a token at once."""
    from gateway.state.tokens import Tokens

    with opened_state(state) as engine:
        revoked = Tokens(engine).revoke(token, author=whoever_asks(author), now=time())
    typer.echo(f"token {revoked.id} of '{revoked.name}' is revoked")


@app.command("list")
def list_tokens(state: StateFolder = DEFAULT_STATE) -> None:
    """Print all tokens there were, without their secrets, which nobody has."""
    from gateway.state.tokens import Tokens

    now = time()
    with opened_state(state) as engine:
        for token in Tokens(engine).all():
            end = f"revoked {_moment(token.revoked_at)}" if token.revoked_at else f"until {_moment(token.expires_at)}"
            ended = "" if token.is_valid(now) or token.revoked_at else ", expired"
            typer.echo(f"{token.id}  {token.role:<8} {token.name}  {end}{ended}")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "minutes")
