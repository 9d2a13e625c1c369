"""The Kafka frame: what goes in comes out, in order, and one bad event does not cost its neighbours."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.frame import (
    MAX_FRAME_BYTES,
    MAX_FRAME_EVENTS,
    FrameError,
    pack_frames,
    pack_partitions,
    partition_of,
    unpack_frame,
)

json_values = st.recursive(st.none() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=5)


@given(st.lists(json_values, max_size=1200))
def test_frames_keep_every_event_in_order(values: list[object]) -> None:
    raw = [msgspec.json.encode(value) for value in values]
    frames = pack_frames(raw)
    assert [bytes(event) for frame in frames for event in unpack_frame(frame)] == raw
    assert all(len(unpack_frame(frame)) <= MAX_FRAME_EVENTS for frame in frames)


@given(st.lists(st.tuples(st.text(max_size=3), json_values), max_size=200), st.integers(1, 16))
def test_events_of_a_key_stay_together_and_in_order(events: list[tuple[str, object]], partitions: int) -> None:
    keyed = [(key, msgspec.json.encode([key, at])) for at, (key, _) in enumerate(events)]
    found: dict[int, list[bytes]] = {}
    for partition, frame in pack_partitions(keyed, partitions):
        found.setdefault(partition, []).extend(map(bytes, unpack_frame(frame)))
    assert found == {
        partition: [raw for key, raw in keyed if partition_of(key, partitions) == partition]
        for partition in {partition_of(key, partitions) for key, _ in keyed}
    }


def test_large_events_are_spread_over_frames() -> None:
    event = b'"' + b"x" * (MAX_FRAME_BYTES // 3) + b'"'
    frames = pack_frames([event] * 7)
    assert all(len(frame) <= MAX_FRAME_BYTES + 100 for frame in frames)
    assert sum(len(unpack_frame(frame)) for frame in frames) == 7


@pytest.mark.parametrize(
    "message", [None, b"", b"\x00", b"{}", b"[1]", b"[2,[]]", b'["1",[]]', b"[1,{}]", b"[" * 50_000]
)
def test_what_is_no_frame_is_refused(message: bytes | None) -> None:
    with pytest.raises(FrameError):
        unpack_frame(message)


@given(st.text(), st.integers(1, 64))
def test_partition_is_stable_and_in_range(key: str, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(key, partitions)


def test_partition_of_a_known_call_never_moves() -> None:
    # Events already in Kafka were placed by this rule: a change of it would tear calls apart.
    assert partition_of("ast1-1795609861-1795609900.12", 8) == 1
