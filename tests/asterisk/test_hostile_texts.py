"""Numbers and callers that no telephone sends, through a real Asterisk: each call is its own customer's."""

from pathlib import Path

import pytest
from real_calls import (
    FORGED_CALLER,
    FORGED_NUMBER,
    HOSTILE_CALLERS,
    HOSTILE_NUMBERS,
    UNCARRIED_NUMBERS,
    Seen,
)
from real_line import RICH, Line

from streams.folds.rating import rate_leg

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
Calls = dict[str, Seen]
CUSTOMER_SECOND, VENDOR_2_MINIMUM = 1_000, 13_500  # micros (test_calls.py)


def check_bad_number(calls: Calls, name: str, customer: str) -> None:
    """Refused by 484, without a leg, and booked at zero under the customer of that other call."""
    seen, known = calls[name], calls[customer].call.ended.facts
    ended = seen.call.ended
    assert seen.placed.code == 0, (seen.placed.received, seen.placed.said())
    assert (seen.code, ended.reason, ended.cause, ended.legs) == (484, "BAD NUMBER", 28, 0)
    assert ended.remote_address.startswith(f"{RICH}:")
    assert ended.facts is not None
    assert known is not None
    assert (ended.facts.account_id, ended.facts.customer_peer_id) == (known.account_id, known.customer_peer_id)
    assert ended.facts.callee == ""
    assert rate_leg(ended).amount_micros == 0


@pytest.mark.parametrize("number", range(len(HOSTILE_NUMBERS)))
def test_nothing_dialled_becomes_a_dial_string(real_calls: Calls, number: int) -> None:
    check_bad_number(real_calls, f"hostile number {number}", "answered")
    assert real_calls[f"hostile number {number}"].call.ended.callee_dialled == HOSTILE_NUMBERS[number]
    assert not Path("/tmp/x").exists()  # noqa: S108 - what a number would have touched


@pytest.mark.parametrize("number", range(len(UNCARRIED_NUMBERS)))
def test_what_no_agi_line_can_carry_is_a_bad_number_of_its_customer(real_calls: Calls, number: int) -> None:
    check_bad_number(real_calls, f"uncarried number {number}", "answered")
    kept = list(UNCARRIED_NUMBERS.values())[number]
    assert real_calls[f"uncarried number {number}"].call.ended.callee_dialled == kept


def test_a_customer_is_known_by_his_prefix_before_a_line_end(real_calls: Calls) -> None:
    check_bad_number(real_calls, "uncarried, prefixed", "tech prefix")


def test_a_forged_agi_header_changes_neither_who_pays_nor_what_is_called(real_calls: Calls) -> None:
    check_bad_number(real_calls, "forged", "answered")
    ended = real_calls["forged"].call.ended
    assert (ended.caller_dialled, ended.callee_dialled) == (FORGED_CALLER, FORGED_NUMBER)
    assert ended.endpoint == "c-sipp-customer-1"


@pytest.mark.parametrize("number", range(len(HOSTILE_CALLERS)))
def test_a_hostile_caller_id_is_nobodys_and_the_call_goes_on(real_calls: Calls, number: int) -> None:
    seen = real_calls[f"hostile caller {number}"]
    assert seen.placed.code == 0, seen.placed.received
    assert seen.call.ended.caller_dialled == list(HOSTILE_CALLERS.values())[number]
    assert (seen.call.ended.release_side, seen.call.ended.legs) == ("caller", 1)
    assert seen.call.ended.facts is not None
    assert seen.call.ended.facts.caller == ""
    assert [rate_leg(leg).amount_micros for leg in (seen.call.ended, *seen.call.legs)] == [
        CUSTOMER_SECOND, VENDOR_2_MINIMUM,
    ]  # fmt: skip


def test_the_journal_holds_no_control_character_but_its_line_ends(real_line: Line, real_calls: Calls) -> None:
    assert real_calls
    journal = real_line.journal.read_bytes()
    assert journal.isascii()
    assert {byte for byte in journal if byte < 32 or byte == 127} == {ord("\n")}
