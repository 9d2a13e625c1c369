"""Whose a dead letter is: by its bytes, readable or not; nobody's where they name nobody."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from crashed_calls import call_lines
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.events import DeadLetter
from sinks.dead_letters.peers import NOBODY, peer_of

EXAMPLES = Path(events.__file__).parent / "examples"


def letter(origin: str, raw: bytes) -> DeadLetter:
    return DeadLetter(
        event_id=origin, origin=origin, reason="no", raw_base64=base64.b64encode(raw).decode(), at_ms=1
    )  # fmt: skip


def example(name: str, **changes: Any) -> bytes:
    return json.dumps({**json.loads((EXAMPLES / f"{name}.json").read_text()), **changes}).encode()


def facts_of(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text())["facts"]


@pytest.mark.parametrize("name", ["leg_ended", "call_ended", "leg_started", "call_routed"])
def test_what_cannot_be_read_on_the_way_is_the_customers(name: str) -> None:
    told = json.loads(example(name))
    customer = told["customer_peer_id"] if name == "call_routed" else told["facts"]["customer_peer_id"]
    assert customer > 0
    for changes in ({}, {"v": 9}, {"duration_ms": -1}, {"type": "nothing"}):
        assert peer_of(letter("calls/0/0/0", example(name, **changes))) == customer


def test_what_the_ledger_refuses_is_the_accounts() -> None:
    for name, side, whose in (
        ("rated_leg", "payable", "vendor_peer_id"),
        ("rated_leg.inbound", "receivable", "customer_peer_id"),
    ):
        rated = json.loads(example(name))
        assert rated["side"] == side
        assert peer_of(letter("rated-legs/0/0/0", example(name))) == rated["ended"]["facts"][whose] > 0


def test_a_journals_line_is_its_customers_whole_or_torn() -> None:
    for line in call_lines(1, ["fails", "answers"]):
        customer = facts_of("call_ended")["customer_peer_id"]
        if b"facts=" in line:
            assert peer_of(letter("journal:sim1:Master.csv~0:7", line)) == customer
            assert peer_of(letter("journal:sim1:Master.csv~0:7", line.replace(b"CALL_END", b"CALL_ODD"))) == customer
        else:
            assert peer_of(letter("journal:sim1:Master.csv~0:7", line)) == NOBODY


@given(st.binary(max_size=60) | st.sampled_from([b"[]", b"null", b'{"facts":3}', b'{"facts":{"customer_peer_id":-4}}']))
def test_what_names_nobody_is_nobodys(raw: bytes) -> None:
    for origin in ("calls/0/0/0", "rated-legs/0/0/0", "calls/0/0/frame", "journal:sim1:Master.csv~0:7", "x"):
        assert peer_of(letter(origin, raw)) == NOBODY
    assert peer_of(letter("calls/0/0/frame", example("leg_ended"))) == NOBODY
    assert peer_of(DeadLetter(event_id="x", origin="calls/0/0/0", reason="no", raw_base64="%", at_ms=1)) == NOBODY
