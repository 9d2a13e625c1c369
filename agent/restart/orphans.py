"""Calls that were admitted and went down with their Asterisk before any line of theirs: closed from hold or decision.

The router admitted them, and what tells of them is their hold or, where they have none, the decision that the auditor
found without an end. No line, so no leg: not answered, 0 s, NODE DIED, an estimate; its posting gives the hold back.
What has any line is closed from the journal (restart.py). Should a true end come after all, it corrects, as it does any
estimate. Nothing is kept of this: what is not posted is found again at the next look, and makes the same event.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg

from agent.journal.open_calls import ToldCalls
from agent.restart.estimates import TEMPORARY_FAILURE
from agent.restart.last_heartbeat import load_heartbeat
from schemas.events import CallEnded, CallRouted, EventError, decode_event
from schemas.facts import Facts
from schemas.ids import epoch_of, make_event_id, make_leg_id, started_seconds_of
from schemas.money import micros_from_decimal, price_e8_from_decimal
from schemas.refusals import Ending

MAX_AT_ONCE: Final = 500  # are closed
MAX_LOOKED_FOR: Final = 5_000  # in the journal, which tells of most: those without a line are the newest of them
READ_LIMIT_BYTES: Final = 2 << 30  # of journals in one look; with more, nothing is closed and the audit differs
_CHUNK_BYTES: Final = 1 << 20
HELD: Final = """
    SELECT call_id, admitted_at, peer_id, coalesce(peers.company_id, 0), holds.account_id, accounts.currency, price,
           holds.connect_fee, holds.minimum_seconds, holds.increment_seconds, holds.rounding_decimals
    FROM holds JOIN accounts USING (account_id) LEFT JOIN peers USING (peer_id)
    WHERE node = %s AND split_part(call_id, '-', 2)::bigint < %s AND call_id <> ALL (%s::text[])
    ORDER BY call_id DESC LIMIT %s
"""
DECIDED: Final = """
    SELECT call_id, decision FROM audit_open_calls
    WHERE node = %s AND decision <> '' AND split_part(call_id, '-', 2)::bigint < %s AND call_id <> ALL (%s::text[])
    ORDER BY call_id DESC LIMIT %s
"""


class Orphan(NamedTuple):
    """A call without a line: when it began (unix ms, by its node's clock), and what is known of its inbound leg."""

    call_id: str
    started_at_ms: int
    facts: Facts
    caller_dialled: str = ""
    callee_dialled: str = ""
    endpoint: str = ""
    remote_address: str = ""


def read_orphans(
    connection: psycopg.Connection[Any], node: str, before_epoch: int, known: Collection[str]
) -> list[Orphan]:
    """Calls of earlier epochs that are held, or were found without an end; without those `known`. Raises psycopg.Error.

    The decision knows more than the hold; the hold has the rate terms, and every version's has the call's start.
    """
    asked = (node, before_epoch, list(known), MAX_LOOKED_FOR)
    held = {row[0]: _of_hold(*row) for row in connection.execute(HELD, asked).fetchall()}
    decided = {}
    for call_id, decision in connection.execute(DECIDED, asked).fetchall():
        try:
            event = decode_event(decision.encode())
        except EventError:
            continue  # the audit goes on naming the call
        if isinstance(event, CallRouted) and event.call_id == call_id:
            decided[call_id] = _of_decision(event, held.get(call_id))
    return [*{**held, **decided}.values()]


def _of_hold(
    call_id: str, admitted_at: Any, peer_id: int, company_id: int, account_id: int, currency: str, price: Any,
    connect_fee: Any, minimum: int, increment: int, decimals: int,
) -> Orphan:  # fmt: skip
    facts = Facts(
        side="receivable", generation=0, customer_company_id=company_id, customer_peer_id=peer_id, vendor_company_id=0,
        vendor_peer_id=0, account_id=account_id, currency=currency, code="", price_id=0, destination_id=0,
        price_e8=price_e8_from_decimal(price), connect_fee_micros=micros_from_decimal(connect_fee),
        minimum_seconds=minimum, increment_seconds=increment, free_seconds=0, rounding_decimals=decimals,
        duration_rounding="up", caller="", callee="",
    )  # fmt: skip
    return Orphan(call_id, round(admitted_at.timestamp() * 1000), facts)


def _of_decision(event: CallRouted, held: Orphan | None) -> Orphan:
    """The rate terms that a decision does not have cost nothing: the call was not answered."""
    started_at_ms = event.call_started_at_ms
    if started_at_ms is None:
        started_at_ms = held.started_at_ms if held is not None else started_seconds_of(event.call_id) * 1000
    facts = Facts(
        side="receivable", generation=event.generation, customer_company_id=event.customer_company_id,
        customer_peer_id=event.customer_peer_id, vendor_company_id=0, vendor_peer_id=0, account_id=event.account_id,
        currency=event.currency, code=event.code, price_id=event.price_id, destination_id=event.destination_id,
        price_e8=event.price_e8 or 0, connect_fee_micros=held.facts.connect_fee_micros if held else 0,
        minimum_seconds=held.facts.minimum_seconds if held else 0,
        increment_seconds=held.facts.increment_seconds if held else 1, free_seconds=0,
        rounding_decimals=held.facts.rounding_decimals if held else 6, duration_rounding="up", caller=event.caller,
        callee=event.callee,
    )  # fmt: skip
    return Orphan(
        event.call_id, started_at_ms, facts, event.caller_dialled, event.callee_dialled, event.endpoint,
        event.remote_address,
    )  # fmt: skip


def told_calls(node: str, journal: Path, calls: Collection[str], since: float) -> frozenset[str] | None:
    """Those of the calls of which any whole line is in a file that was written to after `since` (unix seconds).

    None: not known, because there is more than may be read. Raises OSError.
    """
    files = [path for path in sorted(journal.glob("Master.csv*")) if path.stat().st_mtime >= since]
    if sum(path.stat().st_size for path in files) > READ_LIMIT_BYTES:
        return None
    reading = ToldCalls(node, calls)
    for path in files:
        for chunk in _chunks(path):
            reading.take(chunk)
        reading.end_file()
    return reading.told


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def close_orphans(orphans: Iterable[Orphan], directory: Path) -> list[CallEnded]:
    """Their ends: at the last heartbeat that listed the call, or when it began. Raises OSError, AgentError."""
    closed = []
    for orphan in orphans:
        last = load_heartbeat(directory, epoch_of(orphan.call_id))
        seen_at_ms = last.at_ms if last is not None and orphan.call_id in last.calls else 0
        closed.append(close_orphan(orphan, max(orphan.started_at_ms, seen_at_ms)))
    return closed


def close_orphan(orphan: Orphan, ended_at_ms: int) -> CallEnded:
    """The estimated end of a call of which nothing but its admission is known. Pure."""
    return CallEnded(
        event_id=make_event_id(make_leg_id(orphan.call_id, 0), "call_estimated"),
        call_id=orphan.call_id,
        call_started_at_ms=orphan.started_at_ms,
        started_at_ms=orphan.started_at_ms,
        answered_at_ms=None,
        ended_at_ms=ended_at_ms,
        duration_ms=0,
        asterisk_duration_ms=None,
        clock_disagreement=False,
        pdd_ms=None,
        dial_status="",
        cause=TEMPORARY_FAILURE,
        release_side="us",
        estimated=True,
        legs=0,
        reason=Ending.NODE_DIED,
        caller_dialled=orphan.caller_dialled,
        callee_dialled=orphan.callee_dialled,
        endpoint=orphan.endpoint,
        remote_address=orphan.remote_address,
        facts=orphan.facts,
        last_facts=None,
    )
