"""docker-compose.yml and its Dockerfile, checked without running them: versions, ports, secrets, settings."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamco.embedded import kafka, postgres
from streamco.rooms import STREAM_ROLES
from streamco.run import PROCESSES
from streamco.secret_store import NAMES, kind_of, needed
from streamco.settings import SECRET_SETTINGS, Settings, read_settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KNOWN = {f"STREAMCO_{name.upper()}" for name in Settings.model_fields}
KNOWN |= {f"STREAMCO_{name.upper()}_FILE" for name in SECRET_SETTINGS}


def test_every_component_is_there() -> None:
    streams = {f"streams-{number + 1}" for number in range(len(STREAM_ROLES))}
    ours = {"router", "auditor", "dashboards", "node-agent-ast1", "asterisk-ast1", *streams}
    assert set(SERVICES) == {"postgres", "kafka", "clickhouse", "migrate"} | ours


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_but_asterisk_is_reached_beyond_loopback(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:"), port
    if not name.startswith("asterisk-"):
        assert SERVICES[name].get("network_mode") is None
        assert SERVICES[name]["networks"] == ["inside"]


def test_asterisk_sees_the_address_that_a_call_comes_from_and_is_reached_by_the_others() -> None:
    """Behind a published port every call would come from Docker's gateway, and nobody could be told apart."""
    service = SERVICES["asterisk-ast1"]
    assert service["network_mode"] == "host"
    assert not {"networks", "ports"} & service.keys()
    environment = service["environment"]
    assert "//127.0.0.1:15432/" in environment["STREAMCO_POSTGRES_ADDRESS"]
    assert "127.0.0.1:15432:5432" in SERVICES["postgres"]["ports"]
    assert "127.0.0.1:14573:14573" in SERVICES["router"]["ports"]  # where a node asks by default
    (network,) = COMPOSE["networks"]["inside"]["ipam"]["config"]
    agents = SERVICES["node-agent-ast1"]["environment"]
    assert environment["STREAMCO_AMI_HOST"] == agents["STREAMCO_AMI_HOST"] == network["gateway"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_variable_is_a_known_setting_and_no_secret_has_a_default(name: str) -> None:
    environment: dict[str, str] = SERVICES[name].get("environment", {})
    assert {key for key in environment if key.startswith("STREAMCO_")} <= KNOWN
    for key, value in environment.items():
        if re.search(r"PASSWORD|SECRET|DSN", key) and not key.endswith("_FILE"):
            assert re.search(r"\$\{STREAMCO_[A-Z_]+:\?", value), f"{key} has a default: {value}"
    for variable in re.findall(r"\$\{(\w+)", str(environment)):
        assert variable in KNOWN


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"postgres", "kafka", "clickhouse"}))
def test_each_container_has_the_secrets_that_its_process_needs_as_files(name: str) -> None:
    service = SERVICES[name]
    command = service["command"]
    kind = "migrate" if name == "migrate" else kind_of(*command[3:])
    given = set(service.get("secrets", ()))
    ours = {"postgres_password", "postgres_owner_password"}  # of the PostgreSQL that we start
    ours |= {secret for secret in NAMES if secret.startswith("kafka_")}  # the Kafka of the containers has no logins
    settings = read_settings({"STREAMCO_CLICKHOUSE_URL": service["environment"]["STREAMCO_CLICKHOUSE_URL"]})
    assert given == needed(settings, kind) & set(NAMES) - ours
    assert given <= COMPOSE["secrets"].keys()
    environment: dict[str, str] = service.get("environment", {})
    shown = {
        key for key in environment if key.removeprefix("STREAMCO_").removesuffix("_FILE").lower() in SECRET_SETTINGS
    }
    files = {f"STREAMCO_{secret.upper()}_FILE": f"/run/secrets/{secret}" for secret in given}
    # `migrate` ends when it is done: the owner's DSN is made of the password there.
    assert shown == files.keys() | ({"STREAMCO_POSTGRES_DSN"} if name == "migrate" else set())
    assert files.items() <= environment.items()


def test_the_example_of_secrets_is_complete_and_empty() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    wanted |= {secret["environment"] for secret in COMPOSE["secrets"].values()}
    example = (ROOT / "docs" / "compose.env.example").read_text()
    lines = [line.partition("=") for line in example.splitlines() if line and not line.startswith("#")]
    assert {name for name, _, _ in lines} == wanted
    assert not any(value for _, _, value in lines)


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_every_service_has_a_health_check_and_starts_again(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_what_is_run_exists() -> None:
    for name, service in SERVICES.items():
        command = service.get("command", [])
        if command[:3] == ["python", "-m", "streamco.run"]:
            assert command[3] in PROCESSES, name


def test_major_versions_are_those_of_the_tests() -> None:
    import chdb

    images = {name: SERVICES[name]["image"].rpartition(":")[2] for name in ("postgres", "kafka", "clickhouse")}
    assert images["postgres"] == str(postgres.MAJOR)
    assert images["kafka"] == kafka.VERSION
    assert str(chdb.engine_version).startswith(f"{images['clickhouse']}.")


def test_data_is_on_volumes_that_are_declared() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])


def test_the_images_run_as_no_root_from_the_lock() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    assert [stage.splitlines()[0].split(" AS ")[1] for stage in stages] == ["streamco", "asterisk"]
    for stage in stages:
        assert "--require-hashes -r requirements.lock" in stage
        assert re.search(r"^USER streamco$", stage, re.MULTILINE)
