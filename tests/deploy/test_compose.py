"""The compose file: what it names is there."""

from typing import Any

from tests.deploy.conftest import REPOSITORY, documents_in

COMPOSE = REPOSITORY / "deploy/compose.yaml"


def service(name: str) -> Any:
    return documents_in(COMPOSE)[0]["services"][name]


def test_what_is_built_and_mounted_is_in_the_repository() -> None:
    """A clone is enough."""
    gateway = service("gateway")
    assert (COMPOSE.parent / gateway["build"]["context"] / "Dockerfile").is_file()
    assert (REPOSITORY / "requirements" / f"{gateway['build']['args']['LOCK']}.txt").is_file()
    assert (COMPOSE.parent / gateway["volumes"][0].split(":")[0] / "turnout.yaml").is_file()


def test_nothing_is_reached_from_outside_this_machine() -> None:
    """A laptop in a café serves its owner alone."""
    published = [port for name in ("gateway", "database") for port in service(name).get("ports", ())]
    assert published
    assert [] == [port for port in published if not port.startswith("127.0.0.1:")]


def test_every_named_volume_is_declared() -> None:
    whole = documents_in(COMPOSE)[0]
    used = {
        volume.split(":")[0]
        for each in whole["services"].values()
        for volume in each["volumes"]
        if volume[0] not in "./"
    }
    assert used == set(whole["volumes"])


def test_the_password_is_in_no_file() -> None:
    """Whoever forgets to set it is told so by compose."""
    assert COMPOSE.read_text().count("TURNOUT_DATABASE_PASSWORD:?") == 2
