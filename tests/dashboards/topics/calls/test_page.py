"""Rows of the active calls, and the line above them."""

from made_traffic import CUSTOMERS, DESTINATIONS, NOW_NAMES, make_live

from dashboards.kit.live import LiveStore
from dashboards.kit.shared import freshness
from dashboards.topics.calls.page import current_leg, live_row, rows, summary
from schemas.topics import ACTIVE_CALLS, NODE_STATES

NOW_MS = 1_795_000_000_000


def test_a_live_call_runs_up_cost_and_margin_by_the_rating() -> None:
    row = live_row(make_live(1, NOW_MS - 70_000, answered_ms=NOW_MS - 60_000).call, NOW_NAMES, NOW_MS)
    assert (row["state"], row["duration"], row["cost"], row["margin"]) == ("talking", 60, 0.02, 0.03)
    assert (row["customer"], row["vendor"], row["destination"]) == (
        CUSTOMERS[1],
        "Danube Carrier",
        DESTINATIONS[1][0],
    )


def test_before_the_answer_there_is_no_money() -> None:
    row = live_row(make_live(1, NOW_MS - 5_000, ringing=True).call, NOW_NAMES, NOW_MS)
    assert (row["state"], row["duration"], row["cost"], row["margin"]) == ("ringing", 5, None, None)
    assert live_row(make_live(1, NOW_MS - 5_000).call, NOW_NAMES, NOW_MS)["state"] == "setting up"


def test_the_leg_shown_is_the_one_talked_on_else_the_last() -> None:
    assert current_leg(make_live(1, NOW_MS, hunted=(12, 13, 11)).call).leg == 3
    assert current_leg(make_live(1, NOW_MS, hunted=(12, 11), answered_ms=NOW_MS).call).leg == 2


def test_ended_calls_are_not_shown_and_the_longest_stand_first() -> None:
    store = LiveStore()
    for live in (
        make_live(1, NOW_MS - 9_000),
        make_live(2, NOW_MS - 20_000, answered_ms=NOW_MS - 15_000),
        make_live(3, NOW_MS - 90_000, answered_ms=NOW_MS - 80_000),
        make_live(4, NOW_MS - 90_000, answered_ms=NOW_MS - 80_000, ended_ms=NOW_MS - 1_000),
    ):
        store.put(ACTIVE_CALLS.name, live.key, live.value, NOW_MS)
    shown = rows(store.view(), NOW_NAMES, NOW_MS)
    assert [row["id"].rsplit(".")[1] for row in shown] == ["3", "2", "1"]
    assert summary(shown, store.view()).text == "3 calls: 2 talking, 0 ringing, 1 setting up"
    assert summary([], store.view()).text == "No call is up now."


def test_calls_of_a_silent_node_stand_still_and_say_so() -> None:
    store = LiveStore()
    talking = make_live(1, NOW_MS - 70_000, answered_ms=NOW_MS - 60_000)
    ringing = make_live(2, NOW_MS - 40_000, ringing=True)
    for live in (talking, ringing):
        store.put(ACTIVE_CALLS.name, live.key, live.value, NOW_MS)
    store.put(NODE_STATES.name, b"sim1", _node(NOW_MS - 14_000), NOW_MS)
    store.set_complete()
    assert [row["state"] for row in rows(store.view(), NOW_NAMES, NOW_MS)] == ["talking", "ringing"]
    store.put(NODE_STATES.name, b"sim1", _node(NOW_MS - 30_000), NOW_MS)
    shown = rows(store.view(), NOW_NAMES, NOW_MS)
    assert [(row["state"], row["duration"]) for row in shown] == [("last: talking", 30), ("last: ringing", 10)]
    assert shown[0]["cost"] == 0.01  # the money stands still too
    assert "2 last known on a node that is silent" in summary(shown, store.view()).text
    assert "calls there are shown as last known" in freshness(store.view(), NOW_MS).text


def _node(at_ms: int) -> bytes:
    return b'{"v":1,"node":"sim1","epoch":1,"at_ms":%d,"agent_id":"a","calls":0,"journal_waiting_bytes":0}' % at_ms
