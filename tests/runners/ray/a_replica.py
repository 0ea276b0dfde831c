"""A replica as a process: `a_replica.py MODEL.onnx NAME SECRET SOCKET [HOST]`, says where, ends with stdin."""

import json
import sys
from pathlib import Path

import msgspec

from runners.core.runner import ModelRef
from runners.embedded import Embedded
from runners.ray.serving import serve_hop
from runners.ray.settings import Listen


def main() -> None:
    model, name, secret, unix, *host = sys.argv[1:]
    reference = ModelRef(f"file:{Path(model).name}", Path(model).parent)
    hop = serve_hop(lambda: Embedded().open(reference), Listen(name, Path(secret), unix=unix, host=(host or [""])[0]))
    say({"address": msgspec.to_builtins(hop.address), "ray": "ray" in sys.modules})
    for line in sys.stdin:
        if line.strip() == "drain":
            say({"drained": hop.drain(60)})
    hop.close()


def say(what: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
