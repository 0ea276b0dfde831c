"""What no server of a model that gains by batches can exceed: `session.run` in a loop, on one core, with full batches.

python benchmarks/plain_loop.py MODEL.onnx ROWS SECONDS        prints JSON: rows a second, processor time a row
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.batching import Pace, loop_plainly
from benchmarks.load import GRACE_S, LoadFailed
from benchmarks.servers import Station

ROWS = 64  # as many as the load can fill


def measure_loop(station: Station, seconds: int) -> Pace:
    """The loop in a process of its own, on the core that servers have. Raises LoadFailed."""
    command = [
        "taskset",
        "-c",
        str(station.cpu),
        sys.executable,
        __file__,
        str(station.workload.models["old"].resolve()),
    ]
    command += [str(ROWS), str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + GRACE_S)
        return Pace(**json.loads(done.stdout))
    except subprocess.CalledProcessError as error:
        raise LoadFailed(f"the plain loop ended with status {error.returncode}: {error.stderr}") from None
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"the plain loop did not end within {seconds + GRACE_S:g} s") from None


if __name__ == "__main__":
    model, rows, duration = sys.argv[1:]
    print(json.dumps(asdict(loop_plainly(Path(model), int(rows), float(duration)))))
