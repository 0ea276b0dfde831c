"""A worker's first steps: it is told everything by the control process, over the descriptor named on its command line.

Started fresh, never forked: a process with threads, an ONNX session or a gRPC core in it cannot be forked safely.
"""

import signal
import sys


def main(link_fd: int) -> None:
    """Serve until told to stop, and end the process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is a loop to hear it, an interrupt ends this quietly
    import uvloop  # noqa: PLC0415 - what is heavy comes after the line above

    sys.exit(uvloop.run(_serve(link_fd)))


async def _serve(link_fd: int) -> int:
    import mmap  # noqa: PLC0415
    import os  # noqa: PLC0415
    import socket  # noqa: PLC0415

    from gateway.handover import unpack  # noqa: PLC0415
    from gateway.link import Failed, Start, open_worker_end  # noqa: PLC0415
    from gateway.logs import begin_log  # noqa: PLC0415
    from gateway.main import Doors, StartRefused, run  # noqa: PLC0415
    from runners.core.marks import BYTES_N, Marks  # noqa: PLC0415

    link = await open_worker_end(socket.socket(fileno=link_fd))
    start = await link.receive()
    if not isinstance(start, Start):
        return 1  # the control process has gone before it could say what to serve
    launch = unpack(start.launch)
    begin_log(start.slot if launch.workers_n > 1 else None)
    doors = Doors(socket.socket(fileno=start.http_fd), socket.socket(fileno=start.grpc_fd))
    marks = Marks(mmap.mmap(start.marks_fd, BYTES_N))
    os.close(start.marks_fd)
    try:
        await run(launch, start.slot, doors, link, marks)
    except StartRefused as refused:
        link.send(Failed(str(refused)))
        await link.flush()
        return 1
    return 0
