"""A worker that hangs where nothing raises does not go unseen: it ends itself, or is ended, and the work is done."""

import signal
import time
from urllib.parse import urlsplit

import pytest
from fault_line import ServersLine
from feeder import call_messages
from made_legs import make_legs, produce
from tcp_proxy import TcpProxy

from schemas.topics import CALLS
from tests.faults.report import report

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.long]


def test_a_database_that_takes_the_query_and_never_answers(line: ServersLine) -> None:
    ended = make_legs(line.parties, 16, 60)
    url = urlsplit(line.dsn)
    assert url.hostname is not None
    assert url.port is not None
    with TcpProxy((url.hostname, url.port)) as proxy:
        line.reach["postgres"] = proxy.address
        line.start("streams-1", "billing", standstill_seconds=4)
        line.until(lambda: line.working("streams-1"))
        produce(line.kafka, CALLS, call_messages(ended[:40], line.kafka.partitions, 5))
        line.until(lambda: line.posted() == 40, alive=["streams-1"])
        assert line.metric("streams-1", "streamco_dead_letters_open_limit") == 10_000
        proxy.stall("down")
        begun = time.monotonic()
        produce(line.kafka, CALLS, call_messages(ended[40:], line.kafka.partitions, 5))
        line.until(lambda: not line.alive("streams-1"), seconds=40)
        assert line.returncode("streams-1") == 1
        assert time.monotonic() - begun > 4
        assert line.said("streams-1", "stands still at")
        assert not line.beat("streams-1")["ok"]
        proxy.go_on("down")
        for name, role in {"streams-1": "billing", "streams-2": "cdrs"}.items():
            line.start(name, role)
        line.until(lambda: line.posted() == len(ended) == line.written())
    audited = line.audit_of(ended)
    assert audited.ok, audited.differences
    line.end()
    report("hung PostgreSQL: the worker ends itself", 1, len(ended), line.repeated("streams-1"), "equal")


def test_an_idle_worker_is_left_alone(line: ServersLine) -> None:
    ended = make_legs(line.parties, 17, 10)
    line.start("streams-1", "billing", standstill_seconds=1)
    line.until(lambda: line.working("streams-1"))
    produce(line.kafka, CALLS, call_messages(ended, line.kafka.partitions, 5))
    line.until(lambda: line.posted() == len(ended), alive=["streams-1"])
    time.sleep(13)  # two looks and more
    assert line.alive("streams-1")
    assert line.working("streams-1")
    assert line.metric("streams-1", 'streamco_stream_waiting_messages{topic="calls"}') == 0
    line.end()


def test_a_stopped_worker_is_ended_and_started_again(line: ServersLine) -> None:
    ended = make_legs(line.parties, 18, 60)
    for name, role in {"streams-1": "billing", "streams-2": "cdrs"}.items():
        line.keep(name, role)
    line.until(lambda: line.working("streams-1", "streams-2"))
    before = line.pid("streams-1")
    line.signal("streams-1", signal.SIGSTOP)
    produce(line.kafka, CALLS, call_messages(ended, line.kafka.partitions, 5))
    line.until(lambda: line.posted() == len(ended) == line.written())
    assert line.pid("streams-1") != before
    assert line.restarts() == 1
    audited = line.audit_of(ended)
    assert audited.ok, audited.differences
    line.end()
    report("stopped worker: its keeper starts it again", 1, len(ended), 0, "equal")
