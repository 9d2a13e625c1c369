"""A node's state is its latest heartbeat, in whatever order heartbeats come."""

from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.events import NodeHeartbeat, decode_event
from streams.folds.nodes import apply_heartbeat

BEAT: Any = decode_event((Path(events.__file__).parent / "examples" / "node_heartbeat.json").read_bytes())


def beat(at_ms: int) -> NodeHeartbeat:
    """A heartbeat whose every word follows from its moment."""
    changes = {"at_ms": at_ms, "epoch": at_ms // 1000, "journal_waiting_bytes": at_ms * 2, "agent_id": f"agent-{at_ms}"}
    return msgspec.structs.replace(BEAT, **changes, calls=BEAT.calls[:1] * (at_ms % 7))


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
def test_the_latest_stands(moments: list[int]) -> None:
    state = reduce(lambda before, at_ms: apply_heartbeat(before, beat(at_ms)), moments, None)
    latest = beat(max(moments))
    assert state is not None
    assert (state.node, state.epoch, state.at_ms) == (latest.node, latest.epoch, latest.at_ms)
    assert (state.agent_id, state.calls) == (latest.agent_id, len(latest.calls))
    assert state.journal_waiting_bytes == latest.journal_waiting_bytes


def test_what_is_older_or_a_repeat_changes_nothing() -> None:
    state = apply_heartbeat(None, beat(5_000))
    assert apply_heartbeat(state, beat(4_999)) is state
    assert apply_heartbeat(state, beat(5_000)) is state
    assert apply_heartbeat(state, beat(5_001)) is not state
