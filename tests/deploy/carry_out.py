"""Carries the Dockerfile out and starts what it makes, as nobody in particular and on a root that cannot be written.

    unshare --mount --propagation private python tests/deploy/carry_out.py SCRATCH

Prints what was seen as one JSON object. What it mounts and the network it serves on end with it.
"""

import fcntl
import json
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
sys.path.insert(0, str(HERE))

from dockerfile import Build, Stage, inside, parse, run_inside  # noqa: E402

SOMEBODY = "54321:0"  # a user that no image knows, in the root group: what OpenShift gives a container
PATIENCE_S = 120.0


def main(scratch: Path) -> None:
    build = Build(REPOSITORY, scratch, {"LOCK": "all"})
    instructions = parse((REPOSITORY / "Dockerfile").read_text())
    build.carry_out(instructions, ("wheel", "cpu-environment", "runtime", "cpu"))
    stage = build.stages["cpu"]
    (stage.root / "root").chmod(0o755)  # this machine's Python may live there, and stands for the image's
    shutil.copytree(REPOSITORY / "configs", stage.root / "etc/turnout", dirs_exist_ok=True)
    installed = run_inside(stage, ["/opt/turnout/bin/pip", "list", "--format", "json"], {})
    for volume in ("var/lib/turnout", "tmp"):
        owner = (stage.root / volume).stat()
        rights = f"mode={owner.st_mode & 0o7777:o},uid={owner.st_uid},gid={owner.st_gid}"
        mount("-t", "tmpfs", "-o", rights, "tmpfs", stage.root / volume)
    mount("-o", "remount,ro", stage.root)
    seen = serve(stage)
    seen["installed"] = sorted(each["name"].lower() for each in json.loads(installed))
    seen["user"] = stage.user
    sys.stdout.write(json.dumps(seen))


def serve(stage: Stage) -> dict[str, object]:
    """Start the image's command in a network of its own, have its health checked, ask, and stop it."""
    own_network()
    server = subprocess.Popen(
        inside(stage, stage.command, SOMEBODY),
        env=stage.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        began_at = time.monotonic()
        while not is_healthy(stage):
            if server.poll() is not None or time.monotonic() - began_at > PATIENCE_S:
                server.kill()
                raise SystemExit(f"not healthy; it said:\n{server.communicate()[0]}")
            time.sleep(0.2)
        written = is_writable(stage)
        server.terminate()
        said, _ = server.communicate(timeout=60)
    finally:
        server.kill()
    return {"healthy": True, "status": server.returncode, "root_writable": written, "said": said}


def is_healthy(stage: Stage) -> bool:
    """What the image's own HEALTHCHECK says."""
    try:
        run_inside(stage, stage.health, {}, user=SOMEBODY)
    except subprocess.CalledProcessError:
        return False
    return True


def is_writable(stage: Stage) -> bool:
    try:
        run_inside(stage, ["/bin/sh", "-c", "touch /opt/turnout/here"], {})
    except subprocess.CalledProcessError:
        return False
    return True


def own_network() -> None:
    """Leave this machine's network for an empty one, so that the image may take the ports it names."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    clone_newnet = 0x40000000
    if libc.unshare(clone_newnet) != 0:
        raise OSError(ctypes.get_errno(), "no network of our own")
    set_flags, up = 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, set_flags, struct.pack("16sh", b"lo", up) + b"\0" * 14)


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
