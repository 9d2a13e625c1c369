"""How old the live view is, in words."""

import pytest

from dashboards.kit.live import LiveStore
from dashboards.kit.shared import freshness
from schemas.live import NodeState
from schemas.topics import NODE_STATES

NOW_MS = 1_795_000_000_000


def _node(at_ms: int) -> bytes:
    return b'{"v":1,"node":"sim1","epoch":1,"at_ms":%d,"agent_id":"a","calls":0,"journal_waiting_bytes":0}' % at_ms


@pytest.mark.parametrize(
    ("at_ms", "away", "state", "text"),
    [
        (NOW_MS - 500, False, "normal", "live, 0.5 s behind"),
        (NOW_MS - 8_000, False, "amber", "live, 8.0 s behind"),
        (NOW_MS - 16_000, False, "red", "sim1 silent since"),
        (NOW_MS - 500, True, "red", "Kafka does not answer"),
        (None, False, "amber", "no node has been heard yet"),
    ],
)
def test_freshness(at_ms: int | None, away: bool, state: str, text: str) -> None:
    store = LiveStore()
    assert freshness(store.view(), NOW_MS).text == "reading the live calls …"
    store.set_complete()
    if at_ms is not None:
        store.put(NODE_STATES.name, b"sim1", _node(at_ms), NOW_MS)
    store.set_away(away, NOW_MS - 3_000)
    word = freshness(store.view(), NOW_MS)
    assert word.state == state
    assert text in word.text
    assert isinstance(store.view().nodes, tuple)
    assert all(isinstance(node, NodeState) for node in store.view().nodes)
