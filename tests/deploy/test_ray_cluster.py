"""The Ray cluster: what KubeRay would take, and what agrees with the gateways that use it."""

import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from gateway.config.directory import load_directory
from tests.deploy.conftest import REPOSITORY, TOOLS, documents_in

CLUSTER = REPOSITORY / "deploy/ray/cluster.yaml"
GATEWAY = REPOSITORY / "deploy/kubernetes/gateway.yaml"
NODE = REPOSITORY / "deploy/ray/node.yaml"
SCHEMA = Path(__file__).parent / "ray_cluster.schema.json"
KUBERNETES = ("1.32", "1.37")


def spec() -> Any:
    return documents_in(CLUSTER)[0]["spec"]


def templates() -> dict[str, Any]:
    """The pods' templates by the name of their group."""
    groups = {group["groupName"]: group["template"] for group in spec()["workerGroupSpecs"]}
    return {"head": spec()["headGroupSpec"]["template"], **groups}


def test_the_operators_own_schema_takes_every_word() -> None:
    """A field that KubeRay does not know is found here, not by an operator that drops it in silence."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [] == [error.message for error in validator.iter_errors(spec())]


def test_the_schema_would_find_a_misspelt_word() -> None:
    """An excerpt that took everything would prove nothing."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert list(validator.iter_errors(spec() | {"rayVersio": "2.60.0"}))
    assert list(validator.iter_errors(spec() | {"authOptions": {"mode": "tokens"}}))


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_kubernetes_own_schemas_take_the_pods_and_the_rest(kubernetes: str, tmp_path: Path) -> None:
    """KubeRay hands the templates through; what is wrong in them a cluster would say much later."""
    pods = [
        {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": name}}
        for name, template in templates().items()
    ]
    written = tmp_path / "pods.yaml"
    with written.open("w") as stream:
        YAML(typ="safe").dump_all([*pods, *documents_in(CLUSTER)[1:]], stream)
    command = [TOOLS / "kubernetes-validate", "--strict", "-k", kubernetes, written]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ray_is_the_one_that_the_image_holds() -> None:
    """The operator deploys what it reads; a driver of another version is refused."""
    assert spec()["rayVersion"] == version("ray")


def test_only_ray_and_the_gateways_reach_ray() -> None:
    """Whoever reaches Ray's ports runs code, token or not."""
    policy = documents_in(CLUSTER)[1]
    label = "app.kubernetes.io/name"
    assert {"turnout-ray"} == {template["metadata"]["labels"][label] for template in templates().values()}
    assert policy["spec"]["podSelector"] == {"matchLabels": {label: "turnout-ray"}}
    (rule,) = policy["spec"]["ingress"]
    named = [origin["podSelector"]["matchLabels"][label] for origin in rule["from"] if "podSelector" in origin]
    assert [label_of_gateways()] == [name for name in named if name != "turnout-ray"]
    assert all(origin.keys() & {"podSelector", "namespaceSelector"} for origin in rule["from"])


def test_ray_asks_for_a_token_and_the_gateways_have_it() -> None:
    """Both name the same secret."""
    assert spec()["authOptions"] == {"mode": "token", "secretName": "turnout-ray"}
    variables = {each["name"]: each for each in gateway()["containers"][0]["env"]}
    assert variables["RAY_AUTH_MODE"]["value"] == "token"
    assert variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "turnout-ray"


def test_every_node_may_write_only_what_is_given_to_it() -> None:
    """Nobody special, on a root that cannot be written, like the gateways."""
    for name, template in templates().items():
        pod, container = template["spec"], template["spec"]["containers"][0]
        assert (name, True) == (name, pod["securityContext"]["runAsNonRoot"])
        assert (name, True) == (name, container["securityContext"]["readOnlyRootFilesystem"])
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}


def test_no_node_tells_anybody_of_its_use() -> None:
    for name, template in templates().items():
        variables = {each["name"]: each.get("value") for each in template["spec"]["containers"][0]["env"]}
        assert (name, "0") == (name, variables["RAY_USAGE_STATS_ENABLED"])


def test_the_settings_beside_it_lead_to_it(tmp_path: Path) -> None:
    """turnout.yaml names the head's service, as the operator calls it, and the secret where both sides find it."""
    (tmp_path / "turnout.yaml").write_text((REPOSITORY / "deploy/ray/turnout.yaml").read_text())
    (tmp_path / "routes").symlink_to(REPOSITORY / "configs/routes")
    (tmp_path / "models").symlink_to(REPOSITORY / "configs/models")
    ray = load_directory(tmp_path).settings.ray
    assert ray is not None
    assert head() == ray.address
    mounted = {each["name"]: each["mountPath"] for each in gateway()["containers"][0]["volumeMounts"]}
    assert ray.secret_file == f"{mounted['hop']}/secret"
    for template in templates().values():
        variables = {each["name"]: each.get("value") for each in template["spec"]["containers"][0]["env"]}
        assert variables["TURNOUT_HOP_SECRET_FILE"] == ray.secret_file


def test_a_gateways_node_is_one_of_the_cluster_and_takes_no_model(tmp_path: Path) -> None:
    """The patch fits the deployment that it is for, and Kubernetes takes what comes of it."""
    deployment = next(each for each in documents_in(GATEWAY) if each["kind"] == "Deployment")
    pod, added = deployment["spec"]["template"]["spec"], documents_in(NODE)[0]["spec"]["template"]["spec"]
    pod["containers"] += added["containers"]
    pod["volumes"] += added["volumes"]
    (node,) = added["containers"]
    assert {f"--address={head()}", "--num-cpus=0", "--num-gpus=0"} <= set(node["command"])
    assert {each["name"] for each in node["volumeMounts"]} <= {each["name"] for each in pod["volumes"]}
    with (tmp_path / "patched.yaml").open("w") as stream:
        YAML(typ="safe").dump(deployment, stream)
    command = [TOOLS / "kubernetes-validate", "--strict", "-k", KUBERNETES[0], tmp_path / "patched.yaml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def head() -> str:
    """Where the operator makes the cluster's head listen."""
    return f"{documents_in(CLUSTER)[0]['metadata']['name']}-head-svc:6379"


def gateway() -> Any:
    return next(each for each in documents_in(GATEWAY) if each["kind"] == "Deployment")["spec"]["template"]["spec"]


def label_of_gateways() -> str:
    deployment = next(each for each in documents_in(GATEWAY) if each["kind"] == "Deployment")
    name: str = deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    return name
