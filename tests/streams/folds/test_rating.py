"""Rating of whole messages: every closed leg gives one rated leg, all that is nothing of the kind a dead letter."""

import base64
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.events import AnyEvent, CallEnded, LegEnded, decode_event, encode_event
from schemas.facts import UNIDENTIFIED_ACCOUNT_ID, Facts
from streams.folds.rating import rate_leg, rate_message
from streams.folds.reading import Origin

EXAMPLES = Path(events.__file__).parent / "examples"
ORIGIN = Origin("calls", 0, 7)
NOW_MS = 1_795_609_900_000
CALL = "ast1-1795609861-1795609900"


def example(name: str) -> AnyEvent:
    return decode_event((EXAMPLES / f"{name}.json").read_bytes())


LEG: Any = example("leg_ended")
END: Any = example("call_ended")
REFUSED: Any = example("call_ended.refused")
PASSED_OVER = [
    (EXAMPLES / f"{name}.json").read_bytes().strip() for name in ("leg_started", "leg_ringing", "leg_answered")
]
FOREIGN = [
    (EXAMPLES / f"{name}.json").read_bytes().strip()
    for name in ("call_routed", "node_heartbeat", "node_restarted", "rated_leg", "dead_letter")
]
_terms = st.fixed_dictionaries(
    {
        "account_id": st.sampled_from([0, 1001, 1002]),
        "price_e8": st.integers(0, 10**9),
        "connect_fee_micros": st.integers(0, 10**6),
        "minimum_seconds": st.integers(0, 90),
        "increment_seconds": st.integers(1, 90),
        "free_seconds": st.integers(0, 10),
        "rounding_decimals": st.integers(0, 6),
    }
)


@st.composite
def closed(draw: st.DrawFn) -> LegEnded | CallEnded:
    ended: LegEnded | CallEnded = draw(st.sampled_from([LEG, END, REFUSED]))
    answered = ended.facts is not None and draw(st.booleans())
    changes: dict[str, Any] = {
        "call_id": f"{CALL}.{draw(st.integers(1, 999))}",
        "answered_at_ms": ended.ended_at_ms if answered else None,
        "duration_ms": draw(st.integers(0, 400_000)) if answered else 0,
        "estimated": draw(st.booleans()),
    }
    if ended.facts is not None:
        changes["facts"] = msgspec.structs.replace(ended.facts, **draw(_terms))
    if isinstance(ended, LegEnded):
        changes["leg"] = draw(st.integers(1, 32))
    else:
        changes["legs"] = draw(st.integers(0, 32))
    return msgspec.structs.replace(ended, **changes)


def slow_bill(facts: Facts | None, ended: LegEnded | CallEnded) -> tuple[int, int]:
    """The notation in words, second by second, and money in fractions."""
    if facts is None or ended.answered_at_ms is None:
        return 0, 0
    talked = 0
    while talked * 1000 < ended.duration_ms:
        talked += 1
    if talked == 0 or talked <= facts.free_seconds:
        return 0, 0
    billed = facts.minimum_seconds
    while billed < talked:
        billed += facts.increment_seconds
    money = Fraction(facts.connect_fee_micros, 10**6) + Fraction(billed * facts.price_e8, 60 * 10**8)
    unit = Fraction(1, 10**facts.rounding_decimals)
    steps = money / unit + Fraction(1, 2)
    return billed, int((steps.numerator // steps.denominator) * unit * 10**6)


@given(closed())
def test_a_leg_is_billed_to_its_account_and_linked(ended: LegEnded | CallEnded) -> None:
    assert ended.facts is None or ended.facts.duration_rounding == "up"
    leg = rate_leg(ended)
    assert (leg.billed_seconds, leg.amount_micros) == slow_bill(ended.facts, ended)
    if isinstance(ended, CallEnded):
        assert leg.leg_id == f"{ended.call_id}/0"
        assert leg.side == "receivable"
        assert leg.linked_leg_id == (f"{ended.call_id}/{ended.legs}" if ended.legs else "")
    else:
        assert leg.leg_id == f"{ended.call_id}/{ended.leg}"
        assert leg.side == "payable"
        assert leg.linked_leg_id == f"{ended.call_id}/0"
    known = ended.facts.account_id if ended.facts else 0
    assert leg.account_id == (known or UNIDENTIFIED_ACCOUNT_ID)
    assert leg.ended is ended
    assert leg.revision == (0 if ended.estimated else 1)
    assert leg.event_id == f"{leg.leg_id}:rated_leg:{leg.revision}"
    assert decode_event(encode_event(leg)) == leg  # what rating makes can always be read


_items = st.one_of(
    closed().map(lambda ended: ("leg", encode_event(ended))),
    st.sampled_from(PASSED_OVER).map(lambda raw: ("live", raw)),
    st.sampled_from(FOREIGN).map(lambda raw: ("dead", raw)),
    st.integers().map(lambda number: ("dead", json.dumps({"type": "leg_ended", "v": number}).encode())),
)


@given(st.lists(_items, max_size=12))
def test_nothing_of_a_message_is_lost(items: list[tuple[str, bytes]]) -> None:
    rated = rate_message(b"[1,[" + b",".join(raw for _, raw in items) + b"]]", ORIGIN, NOW_MS)
    assert [encode_event(leg.ended) for leg in rated.legs] == [raw for kind, raw in items if kind == "leg"]
    assert {letter.origin: base64.b64decode(letter.raw_base64) for letter in rated.dead} == {
        f"calls/0/7/{index}": raw for index, (kind, raw) in enumerate(items) if kind == "dead"
    }


def test_an_event_of_another_topic_is_named() -> None:
    rated = rate_message(b"[1,[" + FOREIGN[0] + b"]]", ORIGIN, NOW_MS)
    assert rated.legs == []
    assert rated.dead[0].reason == "CallRouted: not an event of a call or leg"


def test_the_golden_leg_by_hand() -> None:
    leg = rate_leg(LEG)
    assert leg == example("rated_leg")
    assert rate_leg(END) == example("rated_leg.inbound")
    refused = rate_leg(REFUSED)
    assert (refused.account_id, refused.currency, refused.amount_micros, refused.linked_leg_id) == (1, "USD", 0, "")
