"""Who hosts arms elsewhere: a Ray cluster that is there, one of this machine alone, or nobody."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from msgspec import Struct
from msgspec.structs import replace

from gateway.control.cluster import Cluster, ClusterPlace
from gateway.handover import Launch
from runners.ray.local import LocalRay, LocalRayFailed
from runners.ray.settings import Dial

LOCAL_START_LIMIT_S = 120.0
LOOK_S = 0.1


class RemoteHosts(Struct, frozen=True):
    """A cluster that somebody else keeps. `address` is its head's, `environment` what its drivers need beside ours."""

    address: str
    dial: Dial
    environment: Mapping[str, str] = {}


class LocalHosts(Struct, frozen=True):
    """A cluster of one node that begins and ends with the gateway; all of this machine's CPUs unless told."""

    cpus_n: int | None = None


Hosts = RemoteHosts | LocalHosts


@asynccontextmanager
async def open_hosts(hosts: Hosts | None, launch: Launch) -> AsyncIterator[tuple[Launch, Cluster | None]]:
    """The cluster with an agent that is kept alive, and how its replicas are reached. Raises LocalRayFailed."""
    if hosts is None:
        yield launch, None
        return
    folder = launch.state / "ray"
    async with _reached(hosts) as there:
        cluster = Cluster(ClusterPlace(there.address, folder, there.environment))
        keeping = asyncio.create_task(cluster.keep())
        try:
            yield replace(launch, dial=there.dial, membership=cluster.membership), cluster
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping


@asynccontextmanager
async def _reached(hosts: Hosts) -> AsyncIterator[RemoteHosts]:
    if isinstance(hosts, RemoteHosts):
        yield hosts
        return
    local = LocalRay(cpus_n=hosts.cpus_n)
    try:
        local.begin()
        try:
            async with asyncio.timeout(LOCAL_START_LIMIT_S):
                while not local.is_up():  # noqa: ASYNC110 - another process says it, in a file
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise LocalRayFailed(f"a local Ray did not start within {LOCAL_START_LIMIT_S:g} s") from None
        yield RemoteHosts(local.address, Dial(local.secret), local.environment)
    finally:
        await asyncio.to_thread(local.stop)
