"""Candidates by columns, as a router writes them, and one by one, as people see them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.decision import CandidateColumns, candidates_of
from schemas.events import CallRouted, Candidate, EventError, SortKey, explained
from schemas.refusals import Verdict

EXAMPLES = Path(events.__file__).parent / "examples"
COLUMNS: dict[str, Any] = json.loads((EXAMPLES / "call_routed.columns.json").read_text())
NUMBER = "447700900123"
NOT_TAKEN = [one.value for one in Verdict if one is not Verdict.TAKEN]


def read(**changes: Any) -> CallRouted:
    """The example with other columns."""
    raw = json.dumps({**COLUMNS, "candidates": {**COLUMNS["candidates"], **changes}})
    event = events.decode_event(raw.encode())
    assert isinstance(event, CallRouted)
    return event


def test_both_forms_of_the_example_say_the_same_of_the_vendors() -> None:
    one_by_one = events.decode_event((EXAMPLES / "call_routed.json").read_bytes())
    assert isinstance(one_by_one, CallRouted)
    *candidates, last = explained(read()).candidates
    assert candidates == explained(one_by_one).candidates == one_by_one.candidates
    assert (last.vendor, last.verdict, last.code, last.price_e8, last.margin_e8) == (
        "v-none",
        "NO CODE",
        "",
        None,
        None,
    )


def test_the_codes_are_those_of_the_number_that_a_look_up_gave() -> None:
    event = msgspec.structs.replace(read(), routing_number="12015550000")
    assert explained(event).candidates[0].code == "120"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"vendors": ["v"]}, "4 vendor_company_ids of 1 vendors"),
        ({"keys": []}, "0 keys of 4 vendors"),
        ({"digits": [3, 3, 3]}, "3 digits of 4 vendors"),
        ({"costs_e8": [1, 2, 3, 4, 5]}, "5 costs_e8 of 4 vendors"),
        ({"taken": [1]}, "taken, callers_sent and callees_sent"),
        ({"callers_sent": []}, "taken, callers_sent and callees_sent"),
        ({"callees_sent": ["1", "2", "3"]}, "taken, callers_sent and callees_sent"),
        ({"taken": [1, 1]}, "each place once"),
        ({"taken": [1, 4]}, "of the 4 vendors"),
        ({"taken": [-1, 1]}, "candidates.taken"),
        ({"details": {"4": "x"}}, "of the 4 vendors"),
        ({"details": {"-1": "x"}}, "candidates.details"),
        ({"digits": [33, 3, 3, 0]}, "candidates.digits"),
        ({"currencies": ["USD", "USD", "USD", "us"]}, "currency"),
        ({"verdicts": ["x" * 65] * 4}, "candidates.verdicts"),
        ({"more": 1}, "more"),
    ],
)
def test_columns_that_do_not_fit_are_refused_with_their_name(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(EventError, match=rule):
        read(**changes)


@st.composite
def one_by_one(draw: st.DrawFn) -> list[Candidate]:
    """What a decision could come to, in no order."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        priced = draw(st.booleans())
        verdict = draw(st.sampled_from([*NOT_TAKEN, Verdict.TAKEN.value] if priced else NOT_TAKEN))
        cost_e8 = draw(st.integers(0, 5))
        found.append(
            Candidate(
                vendor_company_id=number,
                vendor_peer_id=100 + number,
                vendor=f"v{draw(st.integers(0, 99)):02}{number:02}",
                priority=draw(st.integers(0, 2)),
                code=NUMBER[: draw(st.integers(1, 12))] if priced else "",
                price_id=draw(st.integers(1, 9)) if priced else 0,
                currency="USD",
                price_e8=draw(st.integers(0, 9)) if priced else None,
                comparable_cost_e8=cost_e8 if priced else None,
                margin_e8=3 - cost_e8 if priced and verdict != Verdict.OTHER_CURRENCY else None,
                verdict=verdict,
                position=0,
                route_class=draw(st.sampled_from(["", "base"])),
                keys=[SortKey(metric="asr", value="1 %", sample=draw(st.integers(0, 9)))] if priced else [],
                detail=draw(st.sampled_from(["", "a rule"])),
            )
        )
    taken = [at for at, one in enumerate(found) if one.verdict == Verdict.TAKEN]
    for position, at in enumerate(draw(st.permutations(taken)), start=1):
        found[at] = msgspec.structs.replace(
            found[at], position=position, caller_sent=draw(st.sampled_from(["", "1"])), callee_sent=f"9{NUMBER}"
        )
    return found


def columns_of(candidates: list[Candidate]) -> CandidateColumns:
    taken = sorted((one.position, at) for at, one in enumerate(candidates) if one.position)
    return CandidateColumns(
        vendor_company_ids=[one.vendor_company_id for one in candidates],
        vendor_peer_ids=[one.vendor_peer_id for one in candidates],
        vendors=[one.vendor for one in candidates],
        priorities=[one.priority for one in candidates],
        currencies=[one.currency for one in candidates],
        route_classes=[one.route_class for one in candidates],
        keys=[one.keys for one in candidates],
        digits=[len(one.code) for one in candidates],
        price_ids=[one.price_id for one in candidates],
        prices_e8=[one.price_e8 or 0 for one in candidates],
        costs_e8=[one.comparable_cost_e8 or 0 for one in candidates],
        verdicts=[one.verdict for one in candidates],
        taken=[at for _, at in taken],
        callers_sent=[candidates[at].caller_sent for _, at in taken],
        callees_sent=[candidates[at].callee_sent for _, at in taken],
        income_e8=3,
        details={at: one.detail for at, one in enumerate(candidates) if one.detail},
    )


@given(one_by_one())
def test_columns_are_read_as_what_they_were_made_of(candidates: list[Candidate]) -> None:
    taken = sorted((one for one in candidates if one.position), key=lambda one: one.position)
    others = [one for one in candidates if not one.position]
    for key in ("vendor", "comparable_cost_e8", "priority"):  # sorts are stable: the last counts most
        others.sort(key=lambda one: _sortable(getattr(one, key)))
    written = msgspec.json.encode(columns_of(candidates))
    assert candidates_of(msgspec.json.decode(written, type=CandidateColumns), NUMBER) == taken + others


def _sortable(value: Any) -> tuple[bool, Any]:
    return value is None, value
