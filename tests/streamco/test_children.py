"""Children: each is told every setting, no secret by its environment or arguments, and of secrets those it needs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.postgres_roles import ROLES
from streamco import postgres_access, rooms, stack
from streamco.children import environment_of, forget_secrets, secrets_of, settings_with
from streamco.run import PROCESSES
from streamco.secret_store import NAMES, NEEDED, kind_of, needed, with_secrets
from streamco.settings import SECRET_SETTINGS, Settings, SettingsError, read_settings

EVERYTHING = {
    "STREAMCO_NODES": "sim1,ast1",
    "STREAMCO_SIMULATED_NODES": "sim1",
    "STREAMCO_ASTERISK_NODES": "ast1",
    "STREAMCO_TRICKLE_CPS": "1.5",
    "STREAMCO_SIMULATOR_INCIDENTS": "vendor-down@30s",
    "STREAMCO_LOOKUP_TOKENS": '{"NPAC": "s3cret of a token"}',
    "STREAMCO_CONTROL_WEBHOOK": "https://hooks.example/s3cret",
}
ROOMS: dict[str, Callable[[Settings], Any]] = {
    "router": rooms.router,
    "node-agent": lambda settings: rooms.agent(settings, "ast1"),
    **{f"streams {role}": lambda settings, role=role: rooms.streams(settings, role) for role in rooms.STREAM_ROLES},
    "auditor": rooms.auditor,
    "dashboards": rooms.dashboards,
    "simulator": rooms.simulator,
    "asterisk": lambda settings: rooms.asterisk(settings, "ast1"),
    "trickle": rooms.trickle,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return with_secrets(read_settings({**EVERYTHING, "STREAMCO_HOME": str(tmp_path)}))


def texts(settings: Settings) -> dict[str, str]:
    """Every secret there is, by its setting."""
    found: dict[str, str] = json.loads(secrets_of(settings))
    return found


def test_every_kind_of_process_has_a_row() -> None:
    kinds = {kind for kind in PROCESSES if kind != "streams"} | {f"streams {role}" for role in rooms.STREAM_ROLES}
    assert NEEDED.keys() == kinds | {"migrate"}
    assert ROOMS.keys() == kinds
    assert frozenset().union(*NEEDED.values()) <= SECRET_SETTINGS
    assert {kind_of("streams", "billing-3"), kind_of("router", "2@7")} <= kinds


@pytest.mark.parametrize("kind", sorted(ROOMS))
def test_a_process_works_with_the_secrets_that_it_needs_and_names_one_that_is_missing(
    settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment_of(settings, {}).items():
        monkeypatch.setenv(name, value)
    given = json.loads(secrets_of(settings, kind))
    assert given.keys() == texts(settings).keys() & NEEDED[kind]
    # As it is with every secret, so it is with its own: it uses no other.
    assert ROOMS[kind](settings_with(json.dumps(given).encode(), kind)) == ROOMS[kind](settings)
    for name in given.keys() & set(NAMES):
        lacking = {other: value for other, value in given.items() if other != name}
        with pytest.raises(SettingsError, match=f"STREAMCO_{name.upper()}: this process needs it and was not given it"):
            ROOMS[kind](settings_with(json.dumps(lacking).encode(), kind))


def test_readers_of_a_clickhouse_without_a_login_that_reads_need_the_other_one(tmp_path: Path) -> None:
    server = {"STREAMCO_CLICKHOUSE_URL": "http://ch:8123", "STREAMCO_CLICKHOUSE_PASSWORD": "long enough"}
    reader = {"STREAMCO_CLICKHOUSE_READER_USER": "reader", "STREAMCO_CLICKHOUSE_READER_PASSWORD": "long as well"}
    for more, name in (({}, "clickhouse_password"), (reader, "clickhouse_reader_password")):
        settings = with_secrets(read_settings({**server, **more, "STREAMCO_HOME": str(tmp_path)}))
        names = needed(settings, "dashboards")
        assert {one for one in names if one.startswith("clickhouse")} == {name}
        assert needed(settings, "streams cdrs") == NEEDED["streams cdrs"]
    without = {**server, "STREAMCO_CLICKHOUSE_READER_USER": "reader", "STREAMCO_HOME": str(tmp_path)}
    with pytest.raises(SettingsError, match="STREAMCO_CLICKHOUSE_READER_PASSWORD: must be set with"):
        with_secrets(read_settings(without), "dashboards")
    with_secrets(read_settings(without), "streams cdrs")


@pytest.mark.parametrize("kind", sorted(ROOMS))
def test_a_process_started_by_hand_has_the_same_secrets_and_no_other(tmp_path: Path, kind: str) -> None:
    told = with_secrets(read_settings({**EVERYTHING, "STREAMCO_HOME": str(tmp_path)}), kind)
    every = with_secrets(read_settings({**EVERYTHING, "STREAMCO_HOME": str(tmp_path)}))
    assert json.loads(secrets_of(told)) == json.loads(secrets_of(every, kind))
    assert ROOMS[kind](told) == ROOMS[kind](every)


def test_migrations_of_a_postgresql_elsewhere_need_no_secret_of_the_home(tmp_path: Path, settings: Settings) -> None:
    elsewhere = {"STREAMCO_POSTGRES_DSN": "postgresql://owner:s3cret@db.example/calls"}
    names = NEEDED["migrate"] & texts(settings).keys() - {"postgres_password", "postgres_owner_password"}
    given = {f"STREAMCO_{name.upper()}": texts(settings)[name] for name in names}
    told = with_secrets(read_settings({**given, **elsewhere, "STREAMCO_HOME": str(tmp_path / "c")}), "migrate")
    assert list((tmp_path / "c").iterdir()) == []
    assert postgres_access.maker(told) == postgres_access.owner(told)
    assert set(postgres_access.room_passwords(told)) == set(ROLES)


def test_one_that_is_told_every_secret_it_needs_makes_none(tmp_path: Path, settings: Settings) -> None:
    home = tmp_path / "container"
    own = {f"STREAMCO_{name.upper()}": value for name, value in json.loads(secrets_of(settings, "dashboards")).items()}
    told = with_secrets(read_settings({**own, "STREAMCO_HOME": str(home)}), "dashboards")
    assert told.dashboards_secret_key == settings.dashboards_secret_key
    assert list(home.iterdir()) == []


def test_an_unknown_kind_is_an_error(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="process 'ruoter': must be one of router, node-agent"):
        with_secrets(settings, "ruoter")


def test_a_child_reads_the_same_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    child = environment_of(settings, {"PATH": "/bin", "AWS_SECRET": "not ours", "STREAMCO_TEST_POSTGRES_DSN": "x"})
    assert "AWS_SECRET" not in child
    for name, value in child.items():
        monkeypatch.setenv(name, value)
    assert settings_with(secrets_of(settings)) == settings


def test_no_component_has_a_secret_in_its_environment_or_arguments(settings: Settings) -> None:
    every = [*stack.stores(settings), *stack.processes(settings), *stack.traffic(settings, simulate=True)]
    assert {"postgres", "kafka", "clickhouse", "router", "asterisk-ast1", "simulator"} <= {one.name for one in every}
    for component in every:
        shown = json.dumps([component.argv, dict(component.environment), repr(component)])
        for name, secret in texts(settings).items():
            assert secret not in shown, (component.name, name)


@pytest.mark.parametrize("given", [b"", b"{", b"[]", b'{"router_port": "14573"}', b'{"unknown": "x"}'])
def test_what_is_no_object_of_secrets_is_refused_without_showing_it(given: bytes) -> None:
    with pytest.raises(SettingsError, match="the secrets on standard input"):
        settings_with(given)


def test_secrets_are_forgotten_with_the_paths_of_their_files() -> None:
    environment = {"PATH": "/bin", "STREAMCO_AMI_SECRET": "x", "STREAMCO_POSTGRES_DSN_FILE": "y", "STREAMCO_NODES": "z"}
    forget_secrets(environment)
    assert environment == {"PATH": "/bin", "STREAMCO_NODES": "z"}
