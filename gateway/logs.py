"""The log for people, on standard error: one line a turn, the same in every process of a gateway."""

import logging
import os
import sys


def begin_log(slot: int | None = None) -> None:
    """Set this process's log up. `slot` tells the lines of several workers apart."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it writes a line for every stranger whose handshake fails
    who = "" if slot is None else f"[worker {slot}] "
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s %(name)s: {who}%(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it announces what we announce
    logging.getLogger("alembic").setLevel(logging.WARNING)  # what it does to tables is our business
