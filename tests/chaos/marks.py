"""What only `make chaos` runs: it kills, freezes, or takes minutes."""

import os

import pytest

only_in_chaos = pytest.mark.skipif("TURNOUT_CHAOS_DEATHS" not in os.environ, reason="make chaos runs it")
