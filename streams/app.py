"""The Faust application of one role, with the settings that were verified to lose and double nothing.

Faust's own defaults acknowledge what an agent failed on, commit past gaps, and drop what does not decode. Here an agent
that fails ends the process before any acknowledgement, the supervisor starts it again, and it reads the same messages.
"""

import ssl
import time
from pathlib import Path
from typing import Any, Final

import faust
from mode import CrashingSupervisor

from runtime.connections import Kafka
from schemas.topics import Topic
from streams.folds.reading import Origin
from streams.settings import StreamsSettings

# Static membership with a short session: back at work some four seconds after a kill -9, measured.
SESSION_SECONDS: Final = 6.0
HEARTBEAT_SECONDS: Final = 1.0
REQUEST_SECONDS: Final = 30.0  # must be at least the session's, or the worker exits
PRODUCER_BATCH_BYTES: Final = 1 << 20  # the default of 16 kB holds three frames
MAX_MESSAGE_BYTES: Final = 4 << 20


def make_app(settings: StreamsSettings) -> faust.App:
    """The app of `settings.role`; its consumer group is `streamco-ROLE`."""
    group = f"streamco-{settings.role}"
    data_directory = Path(settings.data_directory)
    data_directory.mkdir(parents=True, exist_ok=True)
    return faust.App(
        group,
        version=1,
        broker=[f"kafka://{address}" for address in settings.kafka.bootstrap.split(",")],
        broker_credentials=credentials(settings.kafka),
        store="memory://",
        datadir=str(data_directory),
        key_serializer="raw",
        value_serializer="raw",
        agent_supervisor=CrashingSupervisor,
        stream_wait_empty=False,  # else SIGTERM hangs
        stream_buffer_maxsize=4096,
        producer_linger=0.05,
        producer_acks=-1,
        producer_max_batch_size=PRODUCER_BATCH_BYTES,
        producer_max_request_size=MAX_MESSAGE_BYTES,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"{group}-{settings.instance}",
        consumer_max_fetch_size=MAX_MESSAGE_BYTES,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=HEARTBEAT_SECONDS,
        broker_request_timeout=REQUEST_SECONDS,
        broker_commit_interval=settings.commit_seconds,
        broker_commit_every=10_000,
        broker_max_poll_records=500,
        topic_partitions=settings.kafka.partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        autodiscover=False,
    )


def credentials(kafka: Kafka) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """The login and TLS of a connection as Faust has them. Raises OSError where the file of the CA cannot be read."""
    context = ssl.create_default_context(cafile=kafka.ca_file) if kafka.tls else None
    if kafka.mechanism is not None and kafka.password is not None:
        return faust.SASLCredentials(
            username=kafka.user,
            password=kafka.password.get_secret_value(),
            mechanism=kafka.mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def source(app: faust.App, topic: Topic) -> Any:
    """A topic as raw bytes: decoding is our own pure code."""
    return app.topic(topic.name, key_type=bytes, value_type=bytes)


def origin_of(event: Any) -> Origin:
    """Where a Faust event's message stands."""
    return Origin(event.message.topic, event.message.partition, event.message.offset)


def now_ms() -> int:
    """Unix milliseconds: the one clock of the agents."""
    return time.time_ns() // 1_000_000
