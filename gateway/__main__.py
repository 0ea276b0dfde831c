"""`python -m gateway` is the `turnout` command."""

from gateway.cli.app import main

main()
