"""The live view: the store, and the thread that follows a real Kafka."""

import time
from collections.abc import Callable

import msgspec
import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaConnectionError
from made_traffic import make_live

from dashboards.kit.live import MAX_CALLS, LiveReader, LiveStore, newest_ms
from runtime.connections import Kafka
from runtime.topics import TopicError, make_topics
from schemas.live import NodeState
from schemas.topics import ACTIVE_CALLS, NODE_STATES, TOPICS
from streamco.embedded.temporary_users import as_user

NOW_MS = 1_795_000_000_000


def _put(store: LiveStore, number: int, started_ms: int = NOW_MS, now_ms: int = NOW_MS) -> bytes:
    live = make_live(number, started_ms)
    store.put(ACTIVE_CALLS.name, live.key, live.value, now_ms)
    return live.key


def _node(at_ms: int) -> bytes:
    state: bytes = msgspec.json.encode(
        NodeState(node="sim1", epoch=1, at_ms=at_ms, agent_id="a", calls=3, journal_waiting_bytes=0)
    )
    return state


def test_a_call_appears_and_a_tombstone_takes_it_away() -> None:
    store = LiveStore()
    key = _put(store, 1)
    _put(store, 2)
    assert {call.call_id.encode() for call in store.view().calls} >= {key}
    store.put(ACTIVE_CALLS.name, key, None, NOW_MS)
    assert len(store.view().calls) == 1
    store.put(ACTIVE_CALLS.name, b"never seen", None, NOW_MS)
    assert len(store.view().calls) == 1


def test_lag_is_that_of_the_newest_moment() -> None:
    store = LiveStore()
    store.put(NODE_STATES.name, b"sim1", _node(NOW_MS), NOW_MS + 700)
    _put(store, 1, started_ms=NOW_MS - 60_000, now_ms=NOW_MS + 800)
    view = store.view()
    assert (view.heard_at_ms, view.lag_ms) == (NOW_MS, 700)


def test_nonsense_is_counted_and_left_out() -> None:
    store = LiveStore()
    store.put(ACTIVE_CALLS.name, b"x", b"{not json", NOW_MS)
    store.put(ACTIVE_CALLS.name, b"x", b'{"v":2}', NOW_MS)
    store.put(NODE_STATES.name, b"x", b"\xff\xfe", NOW_MS)
    assert store.view().undecodable == 3
    assert store.view().calls == ()


def test_away_keeps_the_first_moment() -> None:
    store = LiveStore()
    store.set_away(True, 5)
    store.set_away(True, 9)
    assert store.view().away_since_ms == 5
    store.set_away(False, 10)
    assert store.view().away_since_ms is None


def test_what_does_not_fit_is_counted() -> None:
    store = LiveStore()
    live = make_live(1, NOW_MS)
    for number in range(MAX_CALLS + 3):
        store.put(ACTIVE_CALLS.name, str(number).encode(), live.value, NOW_MS)
    assert (len(store.view().calls), store.view().dropped) == (MAX_CALLS, 3)
    store.clear()
    assert (len(store.view().calls), store.view().dropped) == (0, 0)


def test_newest_moment() -> None:
    assert newest_ms(make_live(1, NOW_MS, answered_ms=NOW_MS + 9_000).call) == NOW_MS + 9_000
    assert newest_ms(make_live(1, NOW_MS, ended_ms=NOW_MS + 10_000).call) == NOW_MS + 10_000


def _wait(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.servers
def test_the_reader_follows_and_reads_anew_when_the_topics_are_new(
    kafka: Kafka, delete_topics: Callable[[], None]
) -> None:
    producer = KafkaProducer(**kafka.client())
    first, second = make_live(1, NOW_MS), make_live(2, NOW_MS)
    for live in (first, second):
        producer.send(ACTIVE_CALLS.name, key=live.key, value=live.value).get(10)
    producer.send(NODE_STATES.name, key=b"sim1", value=_node(NOW_MS)).get(10)
    store = LiveStore()
    reader = LiveReader(as_user(kafka, "dashboards"), store, lambda: NOW_MS + 400)
    reader.start()
    try:
        _wait(lambda: store.view().complete)
        assert {call.call_id for call in store.view().calls} == {first.call.call_id, second.call.call_id}
        assert [node.node for node in store.view().nodes] == ["sim1"]
        assert store.view().away_since_ms is None
        producer.send(ACTIVE_CALLS.name, key=first.key, value=None).get(10)
        _wait(lambda: len(store.view().calls) == 1)
        delete_topics()
        assert make_topics(kafka)
        assert len(TOPICS) > 2
        third = make_live(3, NOW_MS)
        producer.send(ACTIVE_CALLS.name, key=third.key, value=third.value).get(10)
        _wait(lambda: [call.call_id for call in store.view().calls] == [third.call.call_id], 40)
    finally:
        reader.stop()
        producer.close()


@pytest.mark.parametrize("kind", [KafkaConnectionError, TopicError, ValueError])
def test_a_broker_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    def nobody(*_: object) -> None:
        raise kind("nobody answers")

    monkeypatch.setattr("dashboards.kit.live.CompactedReader", nobody)
    store = LiveStore()
    reader = LiveReader(Kafka(bootstrap="127.0.0.1:1"), store, lambda: 77)
    reader.start()
    try:
        _wait(lambda: store.view().away_since_ms == 77)
        assert not store.view().complete
    finally:
        reader.stop()
