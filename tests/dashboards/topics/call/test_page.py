"""Active calls and one call: rows, sentences and reasons, without any server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_traffic import CUSTOMERS, DESTINATIONS, NOW_NAMES, Try, call_rows, make_call, make_live

from dashboards.kit import formats
from dashboards.kit.live import LiveStore, LiveView
from dashboards.kit.shared import freshness
from dashboards.topics.call.decision import decided, why
from dashboards.topics.call.hunt import leg_row
from dashboards.topics.call.page import body, headline, parties, read_decision
from dashboards.topics.calls.page import current_leg, live_row, rows, summary
from schemas.events import encode_event, explained
from schemas.live import NodeState
from schemas.topics import ACTIVE_CALLS, NODE_STATES

NOW_MS = 1_795_000_000_000
TRIES = [Try(12, "CONGESTION", 34, 503, pdd_ms=None), Try(11, talk_ms=61_000)]


def _view(*numbers: int, **values: Any) -> LiveView:
    store = LiveStore()
    for number in numbers:
        live = make_live(number, NOW_MS - number * 1_000, **values)
        store.put(ACTIVE_CALLS.name, live.key, live.value, NOW_MS)
    store.set_complete()
    return store.view()


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


def test_a_call_in_one_sentence() -> None:
    answered = headline(call_rows(make_call(1, NOW_MS, TRIES)), None)
    assert answered.state == "normal"
    assert answered.text.startswith(
        "Alba Telecom → Bangladesh Mobile: 1:01 by Danube Carrier, after 2 legs; the caller"
    )
    assert f"margin {formats.money(30_500, 'USD', 6)}" in answered.text
    failed = headline(call_rows(make_call(1, NOW_MS, TRIES[:1])), None)
    assert failed.text.endswith("not answered after 1 leg (cause 34, no circuit available)")
    refused = headline(call_rows(make_call(1, NOW_MS, [], reason="NO BALANCE")), None)
    assert (refused.state, refused.text) == ("amber", "Alba Telecom → Bangladesh Mobile: refused, NO BALANCE")


def test_a_call_that_goes_on_and_one_whose_end_has_not_come() -> None:
    live = live_row(make_live(1, NOW_MS - 70_000, answered_ms=NOW_MS - 60_000).call, NOW_NAMES, NOW_MS)
    outbound = call_rows(make_call(1, NOW_MS, TRIES))[1:2]
    assert headline(outbound, live).text == (
        "Alba Telecom → Bangladesh Mobile: talking for 1:00, leg 1 by Danube Carrier"
    )
    assert headline(outbound, None).state == "amber"


def test_who_called_whom() -> None:
    call = make_call(1, NOW_MS, TRIES)
    text = "35929990001 → +8801712345 · from c-alba (127.1.0.1) · node sim1"
    assert parties(call_rows(call), None) == parties([], call.decision) == text
    assert parties([], None) == ""


def test_a_leg_as_a_row() -> None:
    inbound, failed, answered = (leg_row(row) for row in call_rows(make_call(1, NOW_MS, TRIES)))
    assert (inbound["amount"], answered["amount"], failed["amount"]) == ("0.050833", "−0.020333", "0.000000")
    assert (failed["talk"], failed["pdd"], answered["talk"]) == (formats.UNKNOWN, formats.UNKNOWN, "1:01")
    assert "SIP 503" in failed["outcome"]


def test_every_candidate_has_its_reason() -> None:
    call = make_call(1, NOW_MS, TRIES)
    legs = call_rows(call)
    said = {one.vendor: why(one, legs) for one in call.decision.candidates}
    assert said["danube"] == "answered, 1:01 of talk"
    assert said["estuary"] == "failed: no circuit available (34, SIP 503)"
    assert said["fjord"] == "costs more than the profit rule allows"
    assert why(call.decision.candidates[0], legs[:2]) == "in the hunt, not reached"
    assert why(call.decision.candidates[0], []) == "in the hunt"


def test_a_decision_in_words() -> None:
    taken = decided(make_call(1, NOW_MS, TRIES).decision)
    assert "340 µs on configuration 7" in taken
    assert "longest call 4:00:00" in taken
    assert "Refused: NO BALANCE." in decided(make_call(1, NOW_MS, [], reason="NO BALANCE").decision)


def test_what_is_no_decision_is_none() -> None:
    decision = make_call(1, NOW_MS, TRIES).decision
    assert read_decision(encode_event(decision).decode()) == explained(decision)
    assert read_decision(encode_event(make_call(1, NOW_MS, TRIES).legs[0]).decode()) is None
    for text in (None, "", "{", '{"type":"call_routed","v":9}'):
        assert read_decision(text) is None


def test_a_page_of_nothing_says_so() -> None:
    assert "Nothing is known" in str(body("sim1-1795000000-1795000000.9", [], None, None))
    assert "No decision of a router" in str(body("x", call_rows(make_call(1, NOW_MS, TRIES)), None, None))


@given(st.lists(st.sampled_from(["CONGESTION", "BUSY", "NOANSWER", "CANCEL", "ANSWER"]), max_size=4))
def test_any_hunt_can_be_shown(statuses: list[str]) -> None:
    tries = [Try(11, status, 17, None, pdd_ms=None) for status in statuses]
    call = make_call(1, NOW_MS, tries, reason="" if tries else "LIMIT")
    text = str(body(call.call_id, call_rows(call), call.decision, None))
    assert "NaN" not in text
    assert "None" not in headline(call_rows(call), None).text
