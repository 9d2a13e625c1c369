"""Active calls and one call: rows, sentences and reasons, without any server."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from made_traffic import NOW_NAMES, Try, call_rows, make_call, make_live

from dashboards.kit import formats
from dashboards.kit.live import LiveStore, LiveView
from dashboards.topics.call.decision import decided, why
from dashboards.topics.call.hunt import leg_row
from dashboards.topics.call.page import body, headline, parties, read_decision
from dashboards.topics.calls.page import live_row
from schemas.events import encode_event, explained
from schemas.topics import ACTIVE_CALLS

NOW_MS = 1_795_000_000_000
TRIES = [Try(12, "CONGESTION", 34, 503, pdd_ms=None), Try(11, talk_ms=61_000)]


def _view(*numbers: int, **values: Any) -> LiveView:
    store = LiveStore()
    for number in numbers:
        live = make_live(number, NOW_MS - number * 1_000, **values)
        store.put(ACTIVE_CALLS.name, live.key, live.value, NOW_MS)
    store.set_complete()
    return store.view()


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
