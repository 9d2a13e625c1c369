"""What we rely on of libraries that are seldom released (docs/decisions/0019): a version that differs fails here."""

import asyncio
import inspect
from importlib.metadata import version
from typing import Any

import faust
import pytest
from faust.transport.drivers import aiokafka as driver
from mode import CrashingSupervisor
from mode.supervisors import SupervisorStrategy
from panoramisk import fast_agi
from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message
from panoramisk.utils import parse_agi_result

LOGIN = b"Response: Success\r\nActionID: %s\r\nMessage: Authentication accepted\r\n\r\n"


def test_the_two_that_fit_only_each_other_are_pinned() -> None:
    assert (version("faust-streaming"), version("aiokafka")) == ("0.15.3", "0.14.0")


def test_an_agent_that_fails_ends_the_worker() -> None:
    """A supervisor of Faust's restarts it, and its event counts as done: this one stays out of the way."""
    assert issubclass(CrashingSupervisor, SupervisorStrategy)
    own, others = (one._contribute_to_service for one in (CrashingSupervisor, SupervisorStrategy))
    assert own is not others


@pytest.mark.parametrize(
    "setting",
    [
        "agent_supervisor", "stream_wait_empty", "stream_buffer_maxsize", "producer_linger", "producer_acks",
        "consumer_group_instance_id", "consumer_auto_offset_reset", "broker_session_timeout", "broker_commit_every",
        "broker_max_poll_records", "topic_disable_leader", "topic_allow_declare",
    ],
)  # fmt: skip
def test_faust_knows_the_settings_that_keep_events(setting: str) -> None:
    assert hasattr(faust.App("pins", broker="kafka://127.0.0.1:9", web_enabled=False).conf, setting)


def test_fausts_driver_takes_logins() -> None:
    assert callable(driver.credentials_to_aiokafka_auth)


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("200 result=1 (x)", {"status_code": 200, "result": ("1", "x")}),
        ("200 result=-1", {"error": "AGIAppError"}),
        ("HANGUP", {"error": "AGIResultHangup"}),
        ("510 Invalid or unknown command", {"error": "AGIInvalidCommand"}),
    ],
)
def test_agi_answers_are_read(line: str, holds: dict[str, Any]) -> None:
    assert holds.items() <= parse_agi_result(line).items()


def test_a_fastagi_request_is_made_of_application_and_headers() -> None:
    assert list(inspect.signature(fast_agi.Request.__init__).parameters)[1:3] == ["app", "headers"]
    assert {"add_route", "del_route"} <= set(dir(fast_agi.Application))


class _Transport:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None: ...


class _Owner:
    def __init__(self) -> None:
        self.events: list[Message] = []

    def dispatch(self, event: Message) -> None:
        self.events.append(event)


async def test_amis_protocol_answers_actions_and_gives_events() -> None:
    protocol, transport, owner = AMIProtocol(), _Transport(), _Owner()
    protocol.connection_made(transport)
    protocol.factory = owner
    answer: asyncio.Future[Any] = protocol.send({"Action": "Ping"}, as_list=None)
    assert transport.written.startswith(b"Action: Ping\r\nActionID: ")
    action_id = transport.written.split(b"ActionID: ")[1].split(b"\r\n")[0]
    protocol.data_received(b"Asterisk Call Manager/11.0.0\r\nEvent: Hangup\r\nChannel: x\r\n\r\n" + LOGIN[:20] % ())
    protocol.data_received(LOGIN[20:] % action_id)
    assert answer.done()
    assert answer.result().success
    assert [one["Channel"] for one in owner.events] == ["x"]
    assert issubclass(Action, object)
