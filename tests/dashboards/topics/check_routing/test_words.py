"""Decisions in words: every reason has its text, and the first line says where the call goes or why it does not."""

from typing import Any

import msgspec
import pytest
from made_traffic import Try, make_call

from dashboards.topics.check_routing.words import (
    REFUSED,
    WHY,
    answer_line,
    look_up_failed,
    look_up_line,
    looked_up_line,
    sent,
    sip_of,
    sold_line,
)
from router.check import Checked, LookedUp
from router.core.portability import FAILED
from schemas.refusals import Refusal, Verdict

NOW_MS = 1_795_000_000_000
DECISION = make_call(
    1, NOW_MS, [Try(11, "CONGESTION", 34, 503, pdd_ms=None), Try(12, "ANSWER", talk_ms=1_000)]
).decision
REFUSED_CALL = make_call(2, NOW_MS, [], reason="NO ROUTE").decision
# What the router or the dialplan says of itself, not of the question.
OWN_STATE = {
    Refusal.ROUTER_UNAVAILABLE, Refusal.DATABASE_UNAVAILABLE, Refusal.OVERLOAD, Refusal.NODE_SILENT,
    Refusal.NODE_DISK_FULL, Refusal.ROUTER_DISK_FULL,
}  # fmt: skip


def test_every_reason_has_its_words() -> None:
    assert set(WHY) == set(Verdict)
    assert set(REFUSED) == set(Refusal) - OWN_STATE
    assert len(set(WHY.values())) == len(WHY)
    assert len(set(REFUSED.values())) == len(REFUSED)


def test_the_first_line_names_the_routes_and_counts_the_others() -> None:
    taken = [one for one in DECISION.candidates if one.position]
    line = answer_line(DECISION)
    assert line.startswith(f"Goes to {taken[0].vendor} at 0.")
    assert f", then {taken[1].vendor} at 0." in line
    others = len(DECISION.candidates) - len(taken)
    assert f"{others} vendor{'s' if others > 1 else ''} not taken: {others} no profit." in line


def test_of_many_routes_three_are_named() -> None:
    many = [msgspec.structs.replace(DECISION.candidates[0], vendor=f"v{n}", position=n) for n in range(1, 9)]
    line = answer_line(msgspec.structs.replace(DECISION, candidates=many[::-1]))
    assert [f"v{n} at" in line for n in range(1, 5)] == [True, True, True, False]
    assert "then 5 more." in line


def test_a_refusal_says_what_the_caller_hears_and_why() -> None:
    line = answer_line(REFUSED_CALL)
    assert line.startswith("Refused, NO ROUTE (the caller hears 404): no vendor of the route class")


@pytest.mark.parametrize(("reason", "code"), [("NO ROUTE", 404), ("BLOCKED", 403), ("LIMIT", 503), ("of old", None)])
def test_what_a_caller_hears(reason: str, code: int | None) -> None:
    assert sip_of(reason) == code


def test_what_a_vendor_is_sent_is_told_where_it_is_not_what_is_billed() -> None:
    one = DECISION.candidates[0]
    same = msgspec.structs.replace(one, callee_sent=DECISION.callee, caller_sent=DECISION.caller)
    assert sent(DECISION, same) == sent(DECISION, msgspec.structs.replace(one, callee_sent="")) == ""
    other = msgspec.structs.replace(same, callee_sent="0171", caller_sent="")
    assert sent(DECISION, other) == "0171 from anonymous"


def test_the_callers_side() -> None:
    assert sold_line(DECISION).startswith(f"Sold at 0.050000 USD a minute (code {DECISION.code})")
    assert sold_line(msgspec.structs.replace(DECISION, price_e8=None)) == ""


def test_what_was_looked_up() -> None:
    assert looked_up_line(DECISION) == ""
    ported = {"routing_number": "12015550000", "lookup": "NPAC: found 12015550000"}
    found = msgspec.structs.replace(DECISION, **ported, attestation="B")
    expected = "Routed as 12015550000, NPAC: found 12015550000. Caller vouched for: B."
    assert looked_up_line(found) == expected
    assert sold_line(found).endswith(expected)
    assert looked_up_line(msgspec.structs.replace(DECISION, lookup="NPAC: no answer")) == "NPAC: no answer."


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, ""),
        ({"outcome": "not asked"}, "A call would first ask NPAC about 12125550100: not asked here."),
        ({"outcome": "given", "routing_number": "1201"}, "1201 was given in its place."),
        ({"outcome": "found", "routing_number": "1201", "micros": 81_400}, "12125550100, 81 ms: ported"),
        (
            {"outcome": "found", "routing_number": "1201", "cached": True},
            "kept from before: ported, or on another network",
        ),
        ({"outcome": "same"}, "not ported: routed by the number called."),
        ({"outcome": "unknown network"}, "of a network that has no code here: routed by the number called."),
        ({"outcome": "no answer"}, "no answer in its time; so it goes by the number called."),
        ({"outcome": "bad answer"}, "its answer cannot be read; so"),
        ({"outcome": "busy"}, "so it was not asked; so"),
        ({"outcome": "resting"}, "nobody asks for some seconds; so"),
    ],
)
def test_the_look_up_in_words(found: dict[str, Any] | None, words: str) -> None:
    looked_up = LookedUp(lookup="NPAC", number="12125550100", **found) if found else None
    checked = Checked(
        peer="acme", identified="acme", at_ms=0, source="live", snapshot_taken_at_ms=0, quality="read", limits="read",
        looked_up=looked_up, steps=(), decision=msgspec.structs.replace(DECISION, reason=""),
    )  # fmt: skip
    assert words in look_up_line(checked)
    assert bool(look_up_line(checked)) == bool(words)
    failed = found is not None and found["outcome"] in FAILED
    assert look_up_failed(checked) == failed
    refused = msgspec.structs.replace(DECISION, reason="LOOKUP FAILED")
    said = look_up_line(msgspec.structs.replace(checked, decision=refused))
    assert ("this look-up refuses then" in said) == failed
