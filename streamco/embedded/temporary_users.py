"""Logins of Kafka for tests and benches: a process is the user that it is in the product, the test is the owner."""

from typing import Any, Final

from pydantic import SecretStr

from runtime.connections import Kafka
from runtime.kafka_access import give_access
from schemas.kafka_access import ACCESS, MECHANISM, user_of
from streamco.embedded.temporary import password

PASSWORDS: Final = {who: SecretStr(password()) for who in ACCESS}  # of every broker of this run


def make_users(owner: Kafka) -> None:
    """Give each kind of process its user and its rights, as `streamco up` does."""
    give_access(owner, PASSWORDS)


def as_user(owner: Kafka, who: str) -> Kafka:
    """The broker as a kind of process reaches it. (One that was given from outside may have no logins.)"""
    if owner.mechanism is None:
        return owner
    return owner.model_copy(update={"mechanism": MECHANISM, "user": user_of(who), "password": PASSWORDS[who]})


def values_of(kafka: Kafka) -> dict[str, Any]:
    """A connection as JSON for the settings of a process under test: with its password."""
    values = kafka.model_dump(mode="json")
    if kafka.password is not None:
        values["password"] = kafka.password.get_secret_value()
    return values


def environment_of(kafka: Kafka) -> dict[str, str]:
    """The settings of a command under test: a broker of the user's, reached by this login."""
    environment = {"STREAMCO_KAFKA_BOOTSTRAP": kafka.bootstrap}
    if kafka.mechanism is not None and kafka.user is not None and kafka.password is not None:
        environment["STREAMCO_KAFKA_MECHANISM"] = kafka.mechanism
        environment["STREAMCO_KAFKA_USER"] = kafka.user
        environment["STREAMCO_KAFKA_PASSWORD"] = kafka.password.get_secret_value()
    return environment
