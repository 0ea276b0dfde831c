"""`turnout completion`: what a shell needs to complete verbs, options and names."""

from typing import Annotated, Literal

import typer


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Whose words it is written in.")],
) -> None:
    """Print a script for the shell to read: `source <(turnout completion bash)`."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(prog_name="turnout", complete_var="_TURNOUT_COMPLETE", shell=shell)
    typer.echo(script)
