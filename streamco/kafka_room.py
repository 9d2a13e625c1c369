"""How Kafka is reached, and as whom: the embedded broker, or one of the user's."""

from pydantic import SecretStr

from runtime.connections import Kafka
from schemas.kafka_access import ACCESS, MECHANISM, OWNER, password_setting, user_of
from streamco.embedded.server import Progress, ServerError
from streamco.embedded.settings import LOOPBACK, KafkaServer
from streamco.secret_store import required
from streamco.settings import Settings


def kafka_server_settings(settings: Settings) -> KafkaServer:
    """The embedded Kafka."""
    return KafkaServer(
        directory=settings.home / "kafka",
        password=_password(settings, OWNER),
        port=settings.kafka_port,
        controller_port=settings.kafka_controller_port,
        heap_megabytes=settings.kafka_heap_megabytes,
    )


def kafka(settings: Settings, who: str) -> Kafka:
    """How Kafka is reached by a kind of process (schemas/kafka_access.py), or by the owner."""
    if settings.kafka_bootstrap is None and who == OWNER:
        return kafka_server_settings(settings).connection(settings.kafka_partitions)
    login: dict[str, object] = {}
    if settings.kafka_user is not None:
        login = {"user": settings.kafka_user, "password": required(settings.kafka_password, "kafka_password")}
    elif settings.kafka_has_our_users:
        login = {"user": user_of(who), "password": _password(settings, who)}
    return Kafka.model_validate(
        {
            "bootstrap": settings.kafka_bootstrap or f"{LOOPBACK}:{settings.kafka_port}",
            "partitions": settings.kafka_partitions,
            "tls": settings.kafka_tls,
            "ca_file": settings.kafka_ca_file,
            "mechanism": (settings.kafka_mechanism or MECHANISM) if login else None,
            **login,
        }
    )


def kafka_passwords(settings: Settings) -> dict[str, SecretStr]:
    """The password of each kind of process."""
    return {who: _password(settings, who) for who in ACCESS}


def prepare_kafka(settings: Settings, progress: Progress) -> None:
    """Topics, and the users with their rights where they are ours to make. Safe to run at every start.

    Raises TopicError.
    """
    from runtime.kafka_access import give_access
    from runtime.topics import make_topics

    owner = kafka(settings, OWNER)
    if made := make_topics(owner):
        progress(f"made topics: {', '.join(made)}")
    if settings.kafka_has_our_users:
        give_access(owner, kafka_passwords(settings), settings.kafka_mechanism or MECHANISM)


def check_kafka(settings: Settings) -> None:
    """Ask after a Kafka that runs elsewhere. Raises ServerError."""
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        KafkaAdminClient(**kafka(settings, OWNER).client(), bootstrap_timeout_ms=3_000).close()
    except (KafkaError, OSError) as error:
        raise ServerError(f"STREAMCO_KAFKA_BOOTSTRAP: {error}") from error


def _password(settings: Settings, who: str) -> SecretStr:
    name = password_setting(who)
    return required(getattr(settings, name), name)
