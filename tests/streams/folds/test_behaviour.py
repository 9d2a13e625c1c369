"""What customers have done lately: an unanswered call is of its customer as long as an answered one is."""

from pathlib import Path
from typing import Any

import msgspec

from schemas import events
from schemas.events import CallEnded, RatedLeg, decode_event
from streams.folds.behaviour import Behaviour
from streams.folds.controls import E6, Measure, OriginationControl
from streams.folds.window import BUCKET_MS

EXAMPLES = Path(events.__file__).parent / "examples"
RATED: Any = decode_event((EXAMPLES / "rated_leg.json").read_bytes())
CALL: Any = decode_event((EXAMPLES / "call_ended.json").read_bytes())
NOW_MS = 1_795_700_000_000
WINDOW_MS = 60_000
CUSTOMER = 8


def billed(number: int, ended_at_ms: int, talk_ms: int, micros: int) -> RatedLeg:
    """The rated inbound leg of a call; unanswered without talk."""
    ended: CallEnded = msgspec.structs.replace(
        CALL, call_id=f"sim1-1795000000-1795608000.{number}", ended_at_ms=ended_at_ms, duration_ms=talk_ms,
        answered_at_ms=ended_at_ms - talk_ms if talk_ms else None, reason="",
        facts=msgspec.structs.replace(CALL.facts, customer_peer_id=CUSTOMER),
    )  # fmt: skip
    made: RatedLeg = msgspec.structs.replace(
        RATED, leg_id=f"{ended.call_id}/0", side="receivable", ended=ended, amount_micros=micros
    )
    return made


def measured(seen: Behaviour, measure: Measure, moment_ms: int) -> dict[int, int]:
    control = OriginationControl(
        control_id=4, name="spend", peer_id=0, measure=measure, threshold_e6=E6, timetable="", time_zone="UTC",
        timetable_e6=None, window_seconds=60, check_seconds=10, action="block", cap_concurrent=None,
        release_minutes=None, most_actions=10, notify=True,
    )  # fmt: skip
    return seen.measured(control, moment_ms)


def test_an_answered_call_then_an_unanswered_one_of_the_same_customer_expire() -> None:
    seen = Behaviour(WINDOW_MS, {})
    seen.take(billed(1, NOW_MS, 60_000, 1_296), NOW_MS)
    seen.take(billed(2, NOW_MS + 10_000, 0, 0), NOW_MS + 10_000)
    assert measured(seen, "spend", NOW_MS + 20_000) == {CUSTOMER: 1_296}
    assert measured(seen, "minutes", NOW_MS + 20_000) == {CUSTOMER: E6}
    # The answered call is too old, the unanswered one is not.
    seen.expire(NOW_MS + WINDOW_MS)
    assert measured(seen, "spend", NOW_MS + WINDOW_MS) == {CUSTOMER: 0}
    assert measured(seen, "minutes", NOW_MS + WINDOW_MS) == {CUSTOMER: 0}
    seen.expire(NOW_MS + WINDOW_MS + BUCKET_MS)
    assert measured(seen, "spend", NOW_MS + WINDOW_MS + BUCKET_MS) == {}
    assert (len(seen.bills), seen.bills.legs) == (0, 0)


def test_a_customer_whose_call_expired_beside_an_unanswered_one_is_counted_on() -> None:
    seen = Behaviour(WINDOW_MS, {})
    seen.take(billed(1, NOW_MS, 60_000, 1_296), NOW_MS)
    seen.take(billed(2, NOW_MS + 10_000, 0, 0), NOW_MS + 10_000)
    later = NOW_MS + WINDOW_MS
    seen.take(billed(3, later, 30_000, 2_000), later)
    assert measured(seen, "spend", later + 10_000) == {CUSTOMER: 2_000}
    for now_ms in range(later, later + 2 * WINDOW_MS, BUCKET_MS):
        seen.expire(now_ms)
    assert len(seen.bills) == 0
