"""Where servers are and as whom they are reached: nothing is shown of a password, no half login is taken."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from runtime.connections import Kafka

LOGIN = {"mechanism": "SCRAM-SHA-512", "user": "streamco-router", "password": SecretStr("of the router")}


def test_without_a_login_a_client_is_told_where_the_broker_is() -> None:
    kafka = Kafka(bootstrap="one:9092,two:9092")
    assert kafka.client() == {"bootstrap_servers": ["one:9092", "two:9092"], "security_protocol": "PLAINTEXT"}


def test_a_login_is_told_to_the_client_and_shown_to_nobody() -> None:
    kafka = Kafka(bootstrap="one:9092", **LOGIN)
    assert kafka.client() == {
        "bootstrap_servers": ["one:9092"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "streamco-router",
        "sasl_plain_password": "of the router",
    }
    assert "of the router" not in f"{kafka!r}{kafka.model_dump()}{kafka.model_dump_json()}"


def test_tls_with_and_without_a_login() -> None:
    kafka = Kafka(bootstrap="one:9093", tls=True, ca_file=Path("/etc/ca.pem"), **LOGIN)
    assert (kafka.client()["security_protocol"], kafka.client()["ssl_cafile"]) == ("SASL_SSL", "/etc/ca.pem")
    plain = Kafka(bootstrap="one:9093", tls=True).client()
    assert plain == {"bootstrap_servers": ["one:9093"], "security_protocol": "SSL"}


@pytest.mark.parametrize("missing", sorted(LOGIN))
def test_half_a_login_is_refused(missing: str) -> None:
    half = {name: value for name, value in LOGIN.items() if name != missing}
    with pytest.raises(ValidationError, match="mechanism, user and password: must be given together"):
        Kafka(bootstrap="one:9092", **half)


@pytest.mark.parametrize("user", ["a=b", "a,b", "a b", "", "a\n", "User:*"])
def test_a_user_that_scram_or_an_acl_would_read_otherwise_is_refused(user: str) -> None:
    with pytest.raises(ValidationError, match="String should match pattern"):
        Kafka(bootstrap="one:9092", **{**LOGIN, "user": user})
