"""What the whole audit reads of calls without an end: every admitted call has a closed inbound leg, or is up.

The decisions of ClickHouse are held against its CDRs there; what is left is looked for in the other stores. Heartbeats
and holds are read first, with the ledger; journals last: a call that ended in between is in its journal.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from runtime.clickhouse import connect
from runtime.connections import ClickHouse
from sinks.audit.continuous.calls import NO_END, Heard, OpenCall, Patience, judge
from sinks.audit.continuous.fold import Difference

_CALL_ID: Final = re.compile(rb"[a-z][a-z0-9]{0,15}-[0-9]{10}-[0-9]{10}\.[0-9]{1,9}")
_UNCLOSED: Final = """
    SELECT call_id, node, toUnixTimestamp64Milli(min(routed_at)) FROM decisions
    WHERE reason = '' AND call_id NOT IN (SELECT call_id FROM legs WHERE leg = 0)
    GROUP BY call_id, node
"""
# Nobody but a vendor answers a caller. What is an estimate may know of one leg alone.
_ONE_SIDED: Final = """
    SELECT call_id FROM legs FINAL WHERE leg = 0 AND answered AND NOT estimated
    AND call_id NOT IN (SELECT call_id FROM legs FINAL WHERE leg > 0 AND answered)
    ORDER BY call_id
"""
ONE_SIDED: Final = "answered for the customer, and by no vendor"
PATIENCE: Final = Patience(young_ms=30_000, settle_ms=0, silent_ms=60_000)


@dataclass(frozen=True)
class Open:
    """Holds, and heartbeats by node, as the database had them at `at_ms` by its own clock."""

    holds: Sequence[OpenCall] = ()
    heard: Mapping[str, Heard] = field(default_factory=dict)
    at_ms: int = 0


class CallsUp(msgspec.Struct, frozen=True, omit_defaults=True):
    """Calls without an end: `up` by a heartbeat, too `young` for one; `not_verified`: their node is silent."""

    up: int = 0
    young: int = 0
    not_verified: int = 0


class CdrCalls(NamedTuple):
    """What ClickHouse says of whole calls: admitted without a CDR of their inbound leg; answered on one side only."""

    admitted: list[OpenCall]
    one_sided: list[str]


def read_cdr_calls(clickhouse: ClickHouse) -> CdrCalls:
    """Both, as they are now. Raises what clickhouse-connect raises."""
    client = connect(clickhouse, answer_seconds=300)
    try:
        unclosed = client.query(_UNCLOSED).result_rows
        one_sided = client.query(_ONE_SIDED).result_rows
    finally:
        client.close()
    return CdrCalls(
        [OpenCall(NO_END, call_id, node, routed_ms) for call_id, node, routed_ms in unclosed],
        [call_id for (call_id,) in one_sided],
    )


def calls_named(texts: Iterable[bytes]) -> frozenset[str]:
    """The ids of calls in these texts."""
    return frozenset(match.decode() for text in texts for match in _CALL_ID.findall(text))


def judge_open(
    admitted: Iterable[OpenCall], opened: Open, closed: Collection[str], patience: Patience
) -> tuple[CallsUp, list[Difference]]:
    """Admitted calls and holds, but for the calls that are `closed` or a dead letter's. Pure."""
    calls = [call for call in (*admitted, *opened.holds) if call.call_id not in closed]
    judged = judge(calls, opened.heard, opened.at_ms, patience)
    counts = judged.counts
    return CallsUp(counts.get("up", 0), counts.get("young", 0), counts.get("silent", 0)), judged.differences
