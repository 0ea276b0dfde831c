"""`python -m gateway` is the `turnout` command."""

from gateway.cli.app import main

if __name__ == "__main__":
    main()
