"""What the journal's lines say of INVITEs, how vendors stand by them, and how the journal is followed."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ami.events import responder_of
from agent.ami.invites import Invite, Standings, read_invite
from agent.ami.invites_tail import InvitesTail
from router.server.reachability import SKIP_MS
from schemas.facts import Facts, encode_facts
from schemas.journal import encode_line
from sinks.reachability import Known, Report

VENDOR = 17
FACTS = encode_facts(
    Facts(
        side="payable", generation=1, customer_company_id=1, customer_peer_id=2, vendor_company_id=3,
        vendor_peer_id=VENDOR, account_id=5, currency="USD", code="44", price_id=6, destination_id=7, price_e8=8,
        connect_fee_micros=0, minimum_seconds=1, increment_seconds=1, free_seconds=0, rounding_decimals=6,
        duration_rounding="up", caller="", callee="447700900123",
    )
)  # fmt: skip


def line(lasted_ms: int = 2_000, ended_at: float = 1_796_001_764.0, **values: str) -> bytes:
    """The line of a leg that nothing was heard of, but for what `values` say."""
    silent = {
        "call": "ast1-1796001750-1796001762.3", "leg": "1", "begin": "1796001762.845", "cause": "18", "src": "us",
        "start": f"{ended_at - lasted_ms / 1000:.3f}", "end": f"{ended_at:.3f}", "status": "CHANUNAVAIL",
        "facts": FACTS,
    }  # fmt: skip
    return encode_line("LEG_RESULT", f"{ended_at:.6f}", silent | values)


@pytest.mark.parametrize(
    ("raw", "responded"),
    [
        (line(), False),
        (line(900), False),
        (line(899), None),  # its caller went at once, or no INVITE went out at all
        (line(0), None),
        (line(sip="SIP%20100%20Trying"), True),
        (line(10, sip="SIP%20503%20Service%20Unavailable"), True),
        (line(ring="1200"), True),
        (line(prog="1200"), True),
        (line(status="ANSWER"), True),
        (line(facts="nonsense"), None),
        (line(status="CANCEL", src="caller"), False),  # a caller who has waited in vain
        (line().replace(b"LEG_RESULT", b"LEG_START"), None),
        (line()[:80] + b"\n", None),
        (b"garbage\n", None),
    ],
)
def test_what_a_line_says(raw: bytes, responded: bool | None) -> None:
    expected = None if responded is None else Invite(VENDOR, responded, 1_796_001_764.0)
    assert read_invite(raw) == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_left(raw: bytes) -> None:
    assert read_invite(b'"USER_DEFINED","1","LEG_RESULT",' + raw) is None


SILENT, ANSWERED = Invite(VENDOR, False, 0.0), Invite(VENDOR, True, 0.0)


def test_three_in_a_row_are_reported_as_a_skip() -> None:
    standings = Standings()
    for at_ms in (0, 1_000, 2_000):
        standings.take(SILENT, at_ms)
    assert standings.reports(2_500, 5_000) == [Report(VENDOR, 3, 500, None, SKIP_MS - 500)]


def test_what_was_reported_is_not_reported_again_until_it_changes() -> None:
    standings = Standings()
    standings.take(SILENT, 0)
    reports = standings.reports(10, 5_000)
    assert reports == [Report(VENDOR, 1, 10, None, None)]
    assert standings.reports(20, 5_000) == [Report(VENDOR, 1, 20, None, None)]  # it has not arrived
    standings.reported(reports, 20)
    assert standings.reports(30, 5_000) == []
    standings.take(ANSWERED, 1_000)
    reports = standings.reports(1_000, 5_000)
    assert reports == [Report(VENDOR, 0, 1_000, 0, None)]
    standings.reported(reports, 1_000)
    standings.take(ANSWERED, 5_999)
    assert standings.reports(5_999, 5_000) == []
    standings.responded(VENDOR, 6_000)
    assert standings.reports(6_000, 5_000) == [Report(VENDOR, 0, 6_000, 0, None)]


def test_an_agent_goes_on_where_the_one_before_it_was() -> None:
    standings = Standings()
    standings.learn([Known(VENDOR, 2, None, None), Known(18, 4, 12_000, None)], 1_000)
    assert standings.reports(1_000, 5_000) == []
    standings.take(SILENT, 2_000)
    assert standings.reports(2_000, 5_000) == [Report(VENDOR, 3, 0, None, SKIP_MS)]
    standings.responded(18, 3_000)
    assert Report(18, 0, None, 0, None) in standings.reports(3_000, 5_000)
    standings.keep([VENDOR])
    assert len(standings) == 1


def test_the_journal_is_followed_from_its_end_on(tmp_path: Path) -> None:
    journal, now = tmp_path / "Master.csv", time.time()
    journal.write_bytes(line(ended_at=now) * 3 + line(ended_at=now)[:100])  # the last one is being written
    tail = InvitesTail(tmp_path)
    assert tail.read() == []
    with journal.open("ab") as file:
        file.write(line(ended_at=now)[100:] + line(ended_at=now, sip="SIP%20100%20Trying"))
    assert [invite.responded for invite in tail.read()] == [False, True]
    journal.rename(tmp_path / "Master.csv.1")
    journal.write_bytes(line(ended_at=now))
    assert [invite.responded for invite in tail.read()] == [False]
    (tmp_path / "Master.csv.1").unlink()
    assert tail.read() == []
    assert len(tail._state.files) == 1


def test_a_journal_that_begins_later_and_old_lines(tmp_path: Path) -> None:
    tail, now = InvitesTail(tmp_path / "none"), time.time()
    assert tail.read() == []
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "Master.csv").write_bytes(line(ended_at=now - 3_600) + line(ended_at=now))
    assert len(tail.read()) == 1


def test_a_vendors_channel_that_rings_has_answered_an_invite() -> None:
    ringing = {
        "event": "Newstate", "channelstate": "5", "channel": "PJSIP/v-sipp-vendor-2-00000003",
        "accountcode": "ast1-1796001750-1796001762.3/1",
    }  # fmt: skip
    assert responder_of("ast1", ringing) == "v-sipp-vendor-2"
    assert responder_of("ast1", ringing | {"channelstate": "6"}) == "v-sipp-vendor-2"
    assert responder_of("ast1", ringing | {"channelstate": "3"}) == ""
    assert responder_of("ast2", ringing) == ""
    assert responder_of("ast1", ringing | {"event": "Hangup"}) == ""
    customer = ringing | {"accountcode": "ast1-1796001750-1796001762.3"}
    assert responder_of("ast1", customer) == ""
