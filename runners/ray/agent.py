"""The agent: the one process of a gateway that is a Ray driver. It may end at any time, and another goes on.

    gateway ── Want ──► agent ── deploys, deletes ──► Ray Serve
            ◄─ Seen ──        ◄── who is there ────── the clerk

Ray ends its driver a minute after the cluster's head has gone. That is why it is apart, and why nothing that answers
requests imports ray. Each turn compares what is wanted with what is there and does what is missing, from nothing.
"""

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

import msgspec

from runners.core.errors import LoadRefused
from runners.ray.clerk import NAMESPACE, open_clerk
from runners.ray.detour import Detours
from runners.ray.logs import Reading
from runners.ray.lookout import Lookout
from runners.ray.members import APPLICATION, Member, Membership, State
from runners.ray.parcel import Parcel, chunks, pack
from runners.ray.wanted import App, AppSeen, Said, Seen, Tail, Tailed, Wake, Want, line, plain, read_order

LOG = logging.getLogger("turnout.agent")
TURN_S = 0.25
ANSWER_S = 5.0  # what a call to the clerk may take before the turn is given up
TURN_LIMIT_S = 40.0  # below the minute within which a cluster that is back shall be used
CONNECT_LIMIT_S = 120.0  # Serve's controller may have to be started
BRING_LIMIT_S = 600.0  # a large file over a slow network
WHY_N = 800  # of a reason; what matters stands at its end
POLICY = "runners.ray.scaling:replicas_for"
UNWANTED_S = 10.0  # longer than a gateway takes to tell others what it needs
AGAIN_S = 30.0  # before an application that failed is deployed anew
DETOURS_VARIABLE = "TURNOUT_HOP_DETOURS"  # the secret's file, where replicas shall be reached by Serve's handles, too
ENVIRONMENT = {  # read by Ray when it is imported, and by what it starts
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class Agent:
    """Holds the driver. All methods run in one thread and may block for seconds."""

    def __init__(self, address: str, channel: socket.socket) -> None:
        self._address = address
        self._channel = channel
        self._unread = b""
        self._want = Want()
        self._packed: dict[str, tuple[Parcel, dict[str, Path]]] = {}
        self._failed_at: dict[str, float] = {}
        self._unwanted_at: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._reading: dict[int, Reading] = {}
        self._clerk: Any = None
        self._detours: Detours | None = None
        self._lookout = Lookout(address)

    def run(self) -> None:
        """Until the gateway hangs up. Raises whatever means that the cluster cannot be reached any more."""
        while why := self._lookout.unreached():
            self.tell_trouble(why)
            if not self._hear():
                return
        self._lookout.allow(CONNECT_LIMIT_S)
        self._lookout.watch(self.tell_trouble)
        self._connect()
        while self._hear():
            self._lookout.allow(TURN_LIMIT_S)
            self._say(self._turn())
            self._tell_logs()

    def tell_trouble(self, why: str) -> None:
        """Why this agent cannot begin, or go on."""
        self._say(Seen(Membership(time_ns(), ()), trouble=why[:1000]))

    def _connect(self) -> None:
        import ray  # noqa: PLC0415 - only with the environment above
        from ray import serve  # noqa: PLC0415

        ray.init(
            address=self._address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
        logging.getLogger("ray.serve").setLevel(logging.WARNING)  # importing it has set another
        serve.start(proxy_location="Disabled")
        self._clerk = open_clerk()
        secret = os.environ.get(DETOURS_VARIABLE)
        if secret:
            folder = Path(tempfile.mkdtemp(prefix="turnout-detour-"))
            self._detours = Detours(Path(secret), folder, serve.get_app_handle)

    def _turn(self) -> Seen:
        import ray  # noqa: PLC0415
        from ray import serve  # noqa: PLC0415

        there = {name: app for name, app in serve.status().applications.items() if name.startswith(APPLICATION)}
        self._bring_files()
        for app in self._want.apps:
            if self._is_due(app.name, there.get(app.name)):
                self._deploy(app)
        for name in self._long_unwanted(there):
            if there[name].status != "DELETING":
                serve.delete(name, _blocking=False)
        members = tuple(ray.get(self._clerk.members.remote(), timeout=ANSWER_S))
        seen = [AppSeen(name, str(app.status.value), _why(app)) for name, app in there.items()]
        seen += [AppSeen(name, "REFUSED", why) for name, why in self._refused.items()]
        return Seen(Membership(time_ns(), members + self._around(members)), tuple(seen))

    def _around(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """Detours, where they are wanted, to the applications that have replicas."""
        if self._detours is None:
            return ()
        return self._detours.members({m.arm_key: m.arm_key for m in members if m.state is State.READY})

    def _long_unwanted(self, there: Iterable[str]) -> list[str]:
        """Applications that nobody has named for a while: what another gateway has just begun it will name soon."""
        wanted, now = {app.name for app in self._want.apps} | set(self._want.keep), monotonic()
        self._unwanted_at = {name: self._unwanted_at.get(name, now) for name in there if name not in wanted}
        return [name for name, at in self._unwanted_at.items() if now - at > UNWANTED_S]

    def _is_due(self, name: str, app: Any) -> bool:
        if name in self._refused:
            return False
        if app is None:
            return True
        return app.status == "DEPLOY_FAILED" and monotonic() - self._failed_at.setdefault(name, monotonic()) > AGAIN_S

    def _bring_files(self) -> None:
        """What the clerk lacks of the models wanted: at first, and after it was made anew."""
        import ray  # noqa: PLC0415

        for app in self._want.apps:
            if app.name not in self._packed and app.name not in self._refused:
                try:
                    self._packed[app.name] = pack(app.model)
                except (LoadRefused, OSError) as error:
                    self._refused[app.name] = str(error)
        places = {file.digest: p[file.name] for parcel, p in self._packed.values() for file in parcel.files}
        for digest in ray.get(self._clerk.lacks.remote(list(places)), timeout=ANSWER_S):
            self._lookout.allow(BRING_LIMIT_S)
            ray.get(self._clerk.bring.remote(digest, list(chunks(places[digest]))))
        self._lookout.allow(TURN_LIMIT_S)

    def _deploy(self, app: App) -> None:
        from ray import serve  # noqa: PLC0415

        self._failed_at.pop(app.name, None)
        parcel, _ = self._packed[app.name]
        target = _deployment(parcel).bind(msgspec.msgpack.encode(parcel, enc_hook=plain))
        run = serve.RunTarget(target, name=app.name, route_prefix=None)
        serve.run_many([run], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)

    def _wake(self, name: str) -> None:
        """A handle's call has Serve start a replica where there is none; the answer is nobody's."""
        from ray import serve  # noqa: PLC0415

        serve.get_app_handle(name).remote()

    def _hear(self) -> bool:
        """Take what the gateway says, for as long as a turn lasts; False once it has hung up."""
        self._channel.settimeout(TURN_S)
        try:
            while piece := self._channel.recv(1 << 20):
                self._unread += piece
                *lines, self._unread = self._unread.split(b"\n")
                for text in lines:
                    self._take(text)
                if lines:
                    return True
        except TimeoutError:
            return True
        return False

    def _take(self, text: bytes) -> None:
        match read_order(text):
            case Want() as want:
                self._want = want
                names = {app.name for app in want.apps}
                self._packed = {name: kept for name, kept in self._packed.items() if name in names}
                self._refused = {name: why for name, why in self._refused.items() if name in names}
            case Wake(name):
                self._wake(name)
            case Tail(number, name, lines_n):
                self._reading[number] = Reading(name, lines_n)

    def _tell_logs(self) -> None:
        """Whose reading has come to something."""
        for number, reading in list(self._reading.items()):
            if (found := reading.result()) is not None:
                del self._reading[number]
                self._say(Tailed(number, *found))

    def _say(self, said: Said) -> None:
        self._channel.settimeout(ANSWER_S)
        self._channel.sendall(line(said))


def _deployment(parcel: Parcel) -> Any:
    """How Serve is to run the replicas of an arm."""
    from ray import serve  # noqa: PLC0415
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy  # noqa: PLC0415

    from runners.ray.replica import DRAIN_S, Replica  # noqa: PLC0415

    hosting = parcel.model.hosting
    assert hosting is not None
    options: dict[str, Any] = {"num_cpus": hosting.num_cpus, "num_gpus": hosting.num_gpus}
    if hosting.memory_bytes:
        options["memory"] = hosting.memory_bytes
    if hosting.accelerator_type:
        options["accelerator_type"] = hosting.accelerator_type
    size: dict[str, Any] = {"num_replicas": hosting.replicas}
    if hosting.most:
        size = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=hosting.replicas,
                initial_replicas=max(1, hosting.replicas),
                max_replicas=hosting.most,
                target_ongoing_requests=hosting.target,
                look_back_period_s=4.0,
                metrics_interval_s=1.0,
                upscale_delay_s=2.0,
                downscale_delay_s=10.0,
                policy=AutoscalingPolicy(policy_function=POLICY),  # type: ignore[no-untyped-call]
            )
        }
    return serve.deployment(
        Replica,
        name="replica",
        ray_actor_options=options,
        max_ongoing_requests=1000,
        health_check_period_s=1.0,
        health_check_timeout_s=3.0,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=DRAIN_S + 5.0,
        max_surge_percent=100,
        **size,
    )


def _why(app: Any) -> str:
    """What Serve says is the matter, without the traceback's first lines."""
    said: Iterable[str] = (app.message, *(deployment.message for deployment in app.deployments.values()))
    text = " ".join(" ".join(said).split())
    return text if len(text) <= WHY_N else f"… {text[-WHY_N:].partition(' ')[2]}"


def main(descriptor: int, address: str) -> None:
    """The agent's process: ends with 0 when the gateway hangs up, with 1 when the cluster cannot be reached."""
    os.environ.update({name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()})
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    agent = Agent(address, socket.socket(fileno=descriptor))
    try:
        agent.run()
    except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the gateway is told and starts another
        LOG.warning("%s: %s", type(error).__name__, error)
        try:
            agent.tell_trouble(" ".join(str(error).split()) or type(error).__name__)
        finally:
            os._exit(1)  # Ray's own way of ending may wait for a cluster that has gone
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
