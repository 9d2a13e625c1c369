"""How Kafka is reached: each kind of process as a user of its own, with the embedded broker and with one elsewhere."""

import json
from pathlib import Path

import pytest

from runtime.connections import Kafka
from schemas.kafka_access import ACCESS, OWNER, password_setting
from streamco import rooms
from streamco.kafka_room import kafka_passwords, kafka_server_settings
from streamco.rooms import STREAM_ROLES
from streamco.secret_store import with_secrets
from streamco.settings import Settings, SettingsError, read_settings

ELSEWHERE = {"STREAMCO_KAFKA_BOOTSTRAP": "one:9092,two:9092"}
ONE_USER = {"STREAMCO_KAFKA_USER": "voip", "STREAMCO_KAFKA_PASSWORD": "of the one user"}
SCRAM = {"STREAMCO_KAFKA_MECHANISM": "SCRAM-SHA-256"}


def settings_of(tmp_path: Path, **environment: str) -> Settings:
    return with_secrets(read_settings({"STREAMCO_HOME": str(tmp_path), **environment}))


def logins(settings: Settings) -> dict[str, tuple[str | None, str | None, str | None]]:
    """By kind of process: mechanism, user and password."""
    made = {who: rooms.kafka(settings, who) for who in (OWNER, *ACCESS)}
    return {
        who: (one.mechanism, one.user, None if one.password is None else one.password.get_secret_value())
        for who, one in made.items()
    }


def test_with_the_embedded_broker_each_is_a_user_of_its_own(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    found = logins(settings)
    assert len({password for _, _, password in found.values()}) == len(ACCESS) + 1
    assert {who: user for who, (_, user, _) in found.items()} == {who: f"streamco-{who}" for who in found}
    assert found.pop(OWNER)[0] == "PLAIN"
    assert {mechanism for mechanism, _, _ in found.values()} == {"SCRAM-SHA-512"}
    assert settings.kafka_has_our_users
    assert kafka_passwords(settings).keys() == ACCESS.keys()
    assert kafka_server_settings(settings).connection(settings.kafka_partitions) == rooms.kafka(settings, OWNER)


def test_each_process_is_told_its_own_login(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    users = [
        rooms.router(settings).kafka.user,
        rooms.agent(settings, "ast1").kafka.user,
        *(rooms.streams(settings, role).kafka.user for role in STREAM_ROLES),
        rooms.auditor(settings).kafka.user,
        rooms.dashboards(settings).kafka.user,
        rooms.audit(settings).kafka.user,
    ]
    assert users == [f"streamco-{who}" for who in ACCESS]


def test_a_process_needs_no_secret_but_its_own(tmp_path: Path) -> None:
    """Of what it is not given it makes nothing."""
    settings = settings_of(tmp_path)
    for who in ACCESS:
        others = {password_setting(one): None for one in (OWNER, *ACCESS) if one != who}
        assert rooms.kafka(settings.model_copy(update=others), who) == rooms.kafka(settings, who)
    with pytest.raises(SettingsError, match="STREAMCO_KAFKA_ROUTER_PASSWORD: this process needs it"):
        rooms.kafka(settings.model_copy(update={"kafka_router_password": None}), "router")


def test_elsewhere_without_a_mechanism_nobody_logs_in(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, **ELSEWHERE)
    assert rooms.kafka(settings, "router") == Kafka(bootstrap="one:9092,two:9092")
    assert not settings.kafka_has_our_users


def test_elsewhere_as_one_user(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, **ELSEWHERE, **ONE_USER, **SCRAM)
    assert set(logins(settings).values()) == {("SCRAM-SHA-256", "voip", "of the one user")}
    assert not settings.kafka_has_our_users


def test_a_process_that_does_not_use_kafka_needs_no_password_of_it(tmp_path: Path) -> None:
    """The user's name is in its environment, the password is not among the secrets that it is given."""
    user = {"STREAMCO_KAFKA_USER": "voip"}
    settings = with_secrets(read_settings({"STREAMCO_HOME": str(tmp_path), **ELSEWHERE, **user, **SCRAM}), "trickle")
    assert settings.kafka_password is None
    with pytest.raises(SettingsError, match="STREAMCO_KAFKA_PASSWORD: this process needs it"):
        rooms.kafka(settings, "router")


def test_elsewhere_without_logins_no_secret_is_made_for_them(tmp_path: Path) -> None:
    settings = with_secrets(read_settings({"STREAMCO_HOME": str(tmp_path), **ELSEWHERE}), "streams quality")
    assert settings.kafka_quality_password is None
    assert list(tmp_path.iterdir()) == []


def test_elsewhere_as_users_of_their_own_over_tls(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        **ELSEWHERE,
        **SCRAM,
        STREAMCO_KAFKA_TLS="true",
        STREAMCO_KAFKA_CA_FILE="/etc/ca.pem",
        STREAMCO_KAFKA_OWNER_PASSWORD="what its owner gave us",
    )
    assert settings.kafka_has_our_users
    found = logins(settings)
    assert found[OWNER] == ("SCRAM-SHA-256", "streamco-owner", "what its owner gave us")
    assert found["router"][:2] == ("SCRAM-SHA-256", "streamco-router")
    kafka = rooms.kafka(settings, "router")
    assert (kafka.tls, kafka.ca_file) == (True, Path("/etc/ca.pem"))


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (SCRAM, "STREAMCO_KAFKA_MECHANISM: must be set only with STREAMCO_KAFKA_BOOTSTRAP"),
        ({"STREAMCO_KAFKA_TLS": "true"}, "STREAMCO_KAFKA_TLS: must be set only with STREAMCO_KAFKA_BOOTSTRAP"),
        (ONE_USER, "STREAMCO_KAFKA_USER: must be set only with STREAMCO_KAFKA_BOOTSTRAP"),
        ({**ELSEWHERE, **ONE_USER}, "STREAMCO_KAFKA_MECHANISM: must be set with STREAMCO_KAFKA_USER"),
        (
            {**ELSEWHERE, **SCRAM, "STREAMCO_KAFKA_PASSWORD": "of the one user"},
            "STREAMCO_KAFKA_USER: must be set with STREAMCO_KAFKA_PASSWORD",
        ),
        (
            {**ELSEWHERE, "STREAMCO_KAFKA_CA_FILE": "/etc/ca.pem"},
            "STREAMCO_KAFKA_CA_FILE '/etc/ca.pem': must be an absolute path, with STREAMCO_KAFKA_TLS",
        ),
        (
            {**ELSEWHERE, "STREAMCO_KAFKA_TLS": "true", "STREAMCO_KAFKA_CA_FILE": "ca.pem"},
            "STREAMCO_KAFKA_CA_FILE 'ca.pem': must be an absolute path, with STREAMCO_KAFKA_TLS",
        ),
        ({**ELSEWHERE, "STREAMCO_KAFKA_MECHANISM": "GSSAPI"}, "STREAMCO_KAFKA_MECHANISM 'GSSAPI': "),
        ({**ELSEWHERE, **SCRAM, **ONE_USER, "STREAMCO_KAFKA_USER": "a,b"}, "STREAMCO_KAFKA_USER 'a,b': must be of"),
    ],
)
def test_a_login_that_is_not_whole_is_named(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)
    assert said in str(caught.value)
    assert "of the one user" not in str(caught.value)


def test_an_older_home_gets_the_secrets_that_it_lacks(tmp_path: Path) -> None:
    kept = {"postgres_password": "p" * 20, "clickhouse_password": "c" * 20, "ami_secret": "a" * 20}
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps(kept))
    file.chmod(0o600)
    settings = settings_of(tmp_path)
    assert settings.postgres_password is not None
    assert settings.postgres_password.get_secret_value() == "p" * 20
    assert all(len(password or "") >= 32 for _, _, password in logins(settings).values())
    assert json.loads(file.read_text()).keys() >= {password_setting(who) for who in (OWNER, *ACCESS)}
    assert file.stat().st_mode & 0o777 == 0o600
