"""What the agent's tests share: settings of a node in a directory, journal lines, and a broker that can fail."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agent.outbox import Message
from agent.sender import KafkaAwayError
from agent.settings import AgentSettings
from runtime.connections import Kafka, Postgres
from schemas.events import decode_event
from schemas.frame import unpack_frame
from schemas.journal import encode_line

EPOCH = 1_795_609_861


class Killed(BaseException):
    """The process is gone at this point."""


class FakeBroker:
    """Keeps what was sent. `then`: what the next sends end with, and how many of their messages arrive."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.then: list[tuple[type[BaseException] | None, int]] = []

    def send(self, messages: Sequence[Message]) -> None:
        error, arriving = self.then.pop(0) if self.then else (None, len(messages))
        self.messages += messages[:arriving] if error is not None else messages
        if error is not None:
            raise error("the test says so")

    def close(self) -> None:
        pass

    def events(self, topic: str = "calls") -> list[Any]:
        return [
            decode_event(raw)
            for message in self.messages
            if message.topic == topic
            for raw in unpack_frame(message.value)
        ]


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


def make_settings(directory: Path, **changes: Any) -> AgentSettings:
    values = {
        "node": "sim1",
        "directory": directory,
        "kafka": Kafka(bootstrap="127.0.0.1:9", partitions=1),
        "postgres": Postgres(dsn=SecretStr("host=127.0.0.1 port=9")),
        "ami_secret": SecretStr("right-secret"),
        "beat": directory / "beat",
    }
    return AgentSettings(**(values | changes))  # type: ignore[arg-type]


def make_line(number: int, padding: int = 0) -> bytes:
    """A journal line like no other: its event id ends with the number."""
    call = f"sim1-{EPOCH}-{EPOCH + 39 + padding:010d}.{number}"
    return encode_line("ANSWER", "1795609900.140221", {"call": call, "leg": "1"})


def id_of(number: int, padding: int = 0) -> str:
    return f"sim1-{EPOCH}-{EPOCH + 39 + padding:010d}.{number}/1:leg_answered"


@pytest.fixture(scope="session")
def settings_of() -> Callable[..., AgentSettings]:
    return make_settings


@pytest.fixture(scope="session")
def line_of() -> Callable[..., bytes]:
    return make_line


@pytest.fixture(scope="session")
def event_id_of() -> Callable[..., str]:
    return id_of


@pytest.fixture(scope="session")
def broker_type() -> type[FakeBroker]:
    return FakeBroker


@pytest.fixture(scope="session")
def killed() -> type[Killed]:
    return Killed


@pytest.fixture(scope="session")
def away() -> type[KafkaAwayError]:
    return KafkaAwayError
