"""The manifests: what Kubernetes would take, and what agrees with the gateway that they run."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.documents import ListenDoc, SettingsDoc
from gateway.control.crew import LAST_WORDS_S
from strategies.core.spec import duration_s
from tests.deploy.conftest import REPOSITORY, TOOLS, documents_in

DEPLOY = REPOSITORY / "deploy"
GATEWAYS = sorted(DEPLOY.glob("*/gateway.yaml"))
KUBERNETES = ("1.32", "1.37")  # the oldest and the newest that the manifests are held to
CONFIG_MAP_LIMIT = 1 << 20


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", GATEWAYS, ids=lambda path: path.parent.name)
def test_kubernetes_own_schemas_take_every_word(path: Path, version: str) -> None:
    """A field that is misspelt, misplaced or long gone is found here, not by a cluster."""
    command = [TOOLS / "kubernetes-validate", "--strict", "-k", version, path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", GATEWAYS, ids=lambda path: path.parent.name)
def test_a_gateway_is_nobody_special_and_cannot_write_its_root(path: Path) -> None:
    """The strictest of Kubernetes' pod security standards takes the pod."""
    pod, container = pod_of(path), container_of(path)
    rights = container["securityContext"]
    assert (True, 10001) == (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"])
    assert (True, False, ["ALL"]) == (
        rights["readOnlyRootFilesystem"],
        rights["allowPrivilegeEscalation"],
        rights["capabilities"]["drop"],
    )
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert f"USER {pod['securityContext']['runAsUser']}:" in (REPOSITORY / "Dockerfile").read_text()


@pytest.mark.parametrize("path", GATEWAYS, ids=lambda path: path.parent.name)
def test_ports_are_those_the_gateway_takes(path: Path) -> None:
    """The operator's port is not among them: it listens on loopback alone."""
    listen = ListenDoc()
    named = {port["name"]: port["containerPort"] for port in container_of(path)["ports"]}
    assert {"http": listen.http, "grpc": listen.grpc, "metrics": listen.metrics} == named


@pytest.mark.parametrize("path", GATEWAYS, ids=lambda path: path.parent.name)
def test_a_pod_is_given_the_time_to_drain(path: Path) -> None:
    """Nobody is killed while requests are under way or events on their way to the disk."""
    pod = pod_of(path)
    pause_s = container_of(path)["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed_s = pause_s + duration_s(SettingsDoc().drain) + LAST_WORDS_S
    assert pod["terminationGracePeriodSeconds"] >= needed_s


@pytest.mark.parametrize("path", GATEWAYS, ids=lambda path: path.parent.name)
def test_every_mount_has_its_volume_and_every_volume_its_mount(path: Path) -> None:
    """Nothing is mounted that is not there, nothing is there in vain."""
    mounts = {mount["name"] for mount in container_of(path)["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod_of(path)["volumes"]}


@pytest.mark.parametrize("path", GATEWAYS, ids=lambda path: path.parent.name)
def test_the_commands_at_the_top_make_all_that_the_pod_asks_for(path: Path) -> None:
    """Whoever pastes them needs nothing else: every config map and secret is made, with the keys that are read."""
    made = {name: set(files) for _, name, files in told_by(path)}
    for kind, name, key in asked_by(path):
        assert name in made, f"nobody makes the {kind} {name}"
        assert not key or key in made[name], f"the {kind} {name} has no key {key}"


@pytest.mark.parametrize("path", GATEWAYS, ids=lambda path: path.parent.name)
def test_what_the_config_maps_hold_is_a_configuration(path: Path, tmp_path: Path) -> None:
    """The folder that a kubelet would lay out is served: links, flat keys and all."""
    held = {name: files for kind, name, files in told_by(path) if kind == "configmap"}
    volumes = {each["name"]: each["configMap"]["name"] for each in pod_of(path)["volumes"] if "configMap" in each}
    for mount in container_of(path)["volumeMounts"]:
        if mount["name"] in volumes:
            lay_out(held[volumes[mount["name"]]], tmp_path / mount["mountPath"].lstrip("/"), mount.get("subPath"))
    command = [REPOSITORY / ".venv/bin/turnout", "validate", tmp_path / "etc/turnout"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def told_by(path: Path) -> Iterator[tuple[str, str, dict[str, bytes]]]:
    """What the commands in a manifest's head make: kind, name, and content by key."""
    for line in re.findall(r"^#\s+kubectl create (.*)$", path.read_text(), re.MULTILINE):
        kind, *words = shlex.split(line)
        if kind == "secret":
            words.pop(0)
        name, files = words.pop(0), {}
        for word in words:
            option, _, rest = word.partition("=")
            key, _, source = rest.rpartition("=") if option == "--from-file" else rest.partition("=")
            if option == "--from-literal" or not (REPOSITORY / source).exists():
                files[key] = source.encode()
            elif (REPOSITORY / source).is_dir():
                files |= {each.name: each.read_bytes() for each in (REPOSITORY / source).iterdir() if each.is_file()}
            else:
                files[key or Path(source).name] = (REPOSITORY / source).read_bytes()
        assert sum(map(len, files.values())) < CONFIG_MAP_LIMIT
        yield kind, name, files


def asked_by(path: Path) -> Iterator[tuple[str, str, str]]:
    """The config maps and secrets that a pod names, with the key where it names one."""
    for volume in pod_of(path)["volumes"]:
        if "configMap" in volume:
            yield "config map", volume["configMap"]["name"], ""
    for variable in container_of(path).get("env", ()):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference and not reference.get("optional"):
            yield "secret", reference["name"], reference["key"]


def lay_out(files: dict[str, bytes], place: Path, sub_path: str | None) -> None:
    """Files as a kubelet mounts a config map: links to a folder that a link leads to; a sub-path is the bare file."""
    if sub_path:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(files[sub_path])
        return
    version = place / "..2026_11_26"
    version.mkdir(parents=True)
    (place / "..data").symlink_to(version.name)
    for name, content in files.items():
        (version / name).write_bytes(content)
        (place / name).symlink_to(Path("..data") / name)


def pod_of(path: Path) -> Any:
    return next(each for each in documents_in(path) if each["kind"] == "Deployment")["spec"]["template"]["spec"]


def container_of(path: Path) -> Any:
    return pod_of(path)["containers"][0]
