"""CDRs and decisions: rated legs and call_routed events become rows in ClickHouse.

A row may be written again after a crash or a rebalance; `legs` is a ReplacingMergeTree whose sorting key ends in the
leg's id, so a repeat replaces itself. Columns travel as Arrow: decimals are built from integers, never through a float.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy
import pyarrow
from clickhouse_connect.driver.client import Client

from schemas.events import CallEnded, CallRouted, LegEnded, RatedLeg, encode_event
from schemas.facts import Facts
from schemas.ids import node_of, split_leg_id
from sinks.dimensions import Dimensions

_MONEY: Final = pyarrow.decimal128(18, 6)
_PRICE: Final = pyarrow.decimal128(18, 8)
_TIME: Final = pyarrow.timestamp("ms", "UTC")
# A back-fill brings legs of many days in one batch, and a day is a partition: by default an insert of over 100 fails.
_INSERT: Final = {"max_partitions_per_insert_block": 0}
# Of the inbound legs that began from `first` to `last` (Unix ms): the primary key leaves a few hours to be looked at.
ESTIMATED_CALLS: Final = """
    SELECT DISTINCT leg_id FROM legs
    WHERE start_time >= fromUnixTimestamp64Milli({first:Int64}, 'UTC')
      AND start_time <= fromUnixTimestamp64Milli({last:Int64}, 'UTC') AND leg = 0 AND estimated
"""
REPLACED: Final = """
    SELECT leg_id FROM legs
    WHERE start_time >= fromUnixTimestamp64Milli({first:Int64}, 'UTC')
      AND start_time <= fromUnixTimestamp64Milli({last:Int64}, 'UTC') AND leg_id IN {legs:Array(String)}
    GROUP BY leg_id HAVING countIf(NOT estimated) > 0 AND uniqExact(vendor_peer_id, start_time) > 1
"""
DROP: Final = """
    DELETE FROM legs
    WHERE start_time >= fromUnixTimestamp64Milli({first:Int64}, 'UTC')
      AND start_time <= fromUnixTimestamp64Milli({last:Int64}, 'UTC') AND leg_id IN {legs:Array(String)} AND estimated
"""


class _Row(NamedTuple):
    """A rated leg with the facts that name its parties."""

    leg: RatedLeg
    ended: LegEnded | CallEnded
    customer: Facts | None  # customer's ids
    vendor: Facts | None  # vendor's ids: of the leg, or of the last hunted leg of an inbound one
    inbound: CallEnded | None

    @classmethod
    def of(cls, leg: RatedLeg) -> "_Row":
        ended = leg.ended
        if isinstance(ended, CallEnded):
            return cls(leg, ended, ended.facts, ended.last_facts, ended)
        return cls(leg, ended, ended.facts, ended.facts, None)

    @property
    def customer_company_id(self) -> int:
        return self.customer.customer_company_id if self.customer else 0

    @property
    def customer_peer_id(self) -> int:
        return self.customer.customer_peer_id if self.customer else 0

    @property
    def vendor_company_id(self) -> int:
        return self.vendor.vendor_company_id if self.vendor else 0

    @property
    def vendor_peer_id(self) -> int:
        return self.vendor.vendor_peer_id if self.vendor else 0


_Make = Callable[[_Row, Dimensions], Any]
_COLUMNS: Final[Mapping[str, tuple[pyarrow.DataType, _Make]]] = {
    "start_time": (_TIME, lambda row, _: row.ended.started_at_ms),
    "call_start_time": (_TIME, lambda row, _: row.ended.call_started_at_ms),
    "answer_time": (_TIME, lambda row, _: row.ended.answered_at_ms),
    "end_time": (_TIME, lambda row, _: row.ended.ended_at_ms),
    "call_id": (pyarrow.string(), lambda row, _: row.ended.call_id),
    "leg": (pyarrow.uint8(), lambda row, _: split_leg_id(row.leg.leg_id)[1]),
    "leg_id": (pyarrow.string(), lambda row, _: row.leg.leg_id),
    "linked_leg_id": (pyarrow.string(), lambda row, _: row.leg.linked_leg_id),
    "revision": (pyarrow.uint16(), lambda row, _: row.leg.revision),
    "node": (pyarrow.string(), lambda row, _: node_of(row.ended.call_id)),
    "side": (pyarrow.string(), lambda row, _: row.leg.side),
    "customer_company_id": (pyarrow.uint32(), lambda row, _: row.customer_company_id),
    "customer": (pyarrow.string(), lambda row, names: names.companies.get(row.customer_company_id, "")),
    "customer_peer_id": (pyarrow.uint32(), lambda row, _: row.customer_peer_id),
    "originator": (pyarrow.string(), lambda row, names: names.peers.get(row.customer_peer_id, "")),
    "vendor_company_id": (pyarrow.uint32(), lambda row, _: row.vendor_company_id),
    "vendor": (pyarrow.string(), lambda row, names: names.companies.get(row.vendor_company_id, "")),
    "vendor_peer_id": (pyarrow.uint32(), lambda row, _: row.vendor_peer_id),
    "terminator": (pyarrow.string(), lambda row, names: names.peers.get(row.vendor_peer_id, "")),
    "account_id": (pyarrow.uint32(), lambda row, _: row.leg.account_id),
    "caller": (pyarrow.string(), lambda row, _: row.ended.facts.caller if row.ended.facts else ""),
    "callee": (pyarrow.string(), lambda row, _: row.ended.facts.callee if row.ended.facts else ""),
    "caller_dialled": (pyarrow.string(), lambda row, _: row.inbound.caller_dialled if row.inbound else ""),
    "callee_dialled": (pyarrow.string(), lambda row, _: row.inbound.callee_dialled if row.inbound else ""),
    "destination_id": (pyarrow.uint32(), lambda row, _: row.ended.facts.destination_id if row.ended.facts else 0),
    "destination": (pyarrow.string(), lambda row, names: _destination(row, names)[0]),
    "country": (pyarrow.string(), lambda row, names: _destination(row, names)[1]),
    "code": (pyarrow.string(), lambda row, _: row.ended.facts.code if row.ended.facts else ""),
    "price_id": (pyarrow.uint64(), lambda row, _: row.ended.facts.price_id if row.ended.facts else 0),
    "price": (_PRICE, lambda row, _: row.ended.facts.price_e8 if row.ended.facts else 0),
    "connect_fee": (_MONEY, lambda row, _: row.ended.facts.connect_fee_micros if row.ended.facts else 0),
    "currency": (pyarrow.string(), lambda row, _: row.leg.currency),
    "answered": (pyarrow.bool_(), lambda row, _: row.ended.answered_at_ms is not None),
    "duration_ms": (pyarrow.uint32(), lambda row, _: row.ended.duration_ms),
    "billed_seconds": (pyarrow.uint32(), lambda row, _: row.leg.billed_seconds),
    "amount": (_MONEY, lambda row, _: row.leg.amount_micros),
    "pdd_ms": (pyarrow.uint32(), lambda row, _: row.ended.pdd_ms),
    "cause": (pyarrow.uint8(), lambda row, _: row.ended.cause),
    "sip_code": (pyarrow.uint16(), lambda row, _: (row.ended.sip_code or 0) if isinstance(row.ended, LegEnded) else 0),
    "dial_status": (pyarrow.string(), lambda row, _: row.ended.dial_status),
    "release_side": (pyarrow.string(), lambda row, _: row.ended.release_side),
    "reason": (pyarrow.string(), lambda row, _: row.inbound.reason if row.inbound else ""),
    "clock_disagreement": (pyarrow.bool_(), lambda row, _: row.ended.clock_disagreement),
    "estimated": (pyarrow.bool_(), lambda row, _: row.ended.estimated),
    "legs_hunted": (pyarrow.uint8(), lambda row, _: row.inbound.legs if row.inbound else 0),
    "endpoint": (pyarrow.string(), lambda row, _: row.inbound.endpoint if row.inbound else ""),
    "remote_address": (pyarrow.string(), lambda row, _: row.inbound.remote_address if row.inbound else ""),
    "sip_call_id": (pyarrow.string(), lambda row, _: row.ended.sip_call_id),
    "generation": (pyarrow.uint64(), lambda row, _: row.ended.facts.generation if row.ended.facts else 0),
}  # fmt: skip


def ids_named(legs: Iterable[RatedLeg]) -> tuple[set[int], set[int], set[int]]:
    """(company ids, peer ids, destination ids) that the CDRs of these legs will name."""
    companies: set[int] = set()
    peers: set[int] = set()
    destinations: set[int] = set()
    for leg in legs:
        row = _Row.of(leg)
        for facts in (row.customer, row.vendor):
            if facts is not None:
                companies |= {facts.customer_company_id, facts.vendor_company_id}
                peers |= {facts.customer_peer_id, facts.vendor_peer_id}
                destinations.add(facts.destination_id)
    return companies, peers, destinations


def cdr_table(legs: Sequence[RatedLeg], names: Dimensions) -> pyarrow.Table:
    """The Arrow table of CDRs for rated legs: one row a leg, exactly the columns of `legs` that are written."""
    rows = [_Row.of(leg) for leg in legs]
    return pyarrow.table(
        {name: _column(kind, [make(row, names) for row in rows]) for name, (kind, make) in _COLUMNS.items()}
    )


def decision_table(decisions: Sequence[CallRouted], stored_at_ms: int) -> pyarrow.Table:
    """The Arrow table of the router's decisions, each whole as JSON beside what it is found by."""
    return pyarrow.table(
        {
            "routed_at": _column(_TIME, [decision.routed_at_ms for decision in decisions]),
            "call_id": pyarrow.array([decision.call_id for decision in decisions]),
            "node": pyarrow.array([decision.node for decision in decisions]),
            "customer_peer_id": pyarrow.array([d.customer_peer_id for d in decisions], pyarrow.uint32()),
            "callee": pyarrow.array([decision.callee for decision in decisions]),
            "reason": pyarrow.array([decision.reason for decision in decisions]),
            "generation": pyarrow.array([decision.generation for decision in decisions], pyarrow.uint64()),
            "decision": pyarrow.array([encode_event(decision).decode() for decision in decisions]),
            "stored_at": _column(_TIME, [stored_at_ms] * len(decisions)),
        }
    )


def write_legs(client: Client, legs: Sequence[RatedLeg], names: Dimensions) -> None:
    """Insert the CDRs of these legs, in one insert. Raises what clickhouse-connect raises; a repeat is harmless."""
    if legs:
        client.insert_arrow("legs", cdr_table(legs, names), settings=_INSERT)


def drop_replaced_estimates(client: Client, legs: Sequence[RatedLeg]) -> int:
    """Delete estimated ends of calls that a true one beside them does not replace by itself; how many were deleted.

    An estimate is made of the lines that a crash left: where the start of the last leg was among those that were found
    late, the true end names another vendor, and so has another sorting key. `legs`: what was just written, in whatever
    order estimate and truth came. Raises what clickhouse-connect raises; a repeat is harmless.
    """
    starts = {leg.leg_id: leg.ended.started_at_ms for leg in legs if isinstance(leg.ended, CallEnded)}
    if not starts:
        return 0
    within: dict[str, Any] = {"first": min(starts.values()), "last": max(starts.values())}
    estimated = [row[0] for row in client.query(ESTIMATED_CALLS, parameters=within).result_rows if row[0] in starts]
    if not estimated:
        return 0
    replaced = [row[0] for row in client.query(REPLACED, parameters={**within, "legs": estimated}).result_rows]
    if replaced:
        client.command(DROP, parameters={**within, "legs": replaced})
    return len(replaced)


def write_decisions(client: Client, decisions: Sequence[CallRouted], stored_at_ms: int) -> None:
    """Insert decisions, in one insert, as stored then (unix ms: now). A repeat is harmless."""
    if decisions:
        client.insert_arrow("decisions", decision_table(decisions, stored_at_ms), settings=_INSERT)


def _destination(row: _Row, names: Dimensions) -> tuple[str, str]:
    facts = row.ended.facts
    return names.destinations.get(facts.destination_id, ("", "")) if facts else ("", "")


def _column(kind: pyarrow.DataType, values: list[Any]) -> pyarrow.Array:
    if pyarrow.types.is_decimal(kind):
        # Decimal128 is a 128-bit little-endian integer: micros go in as they are, and no Decimal object is made.
        low = numpy.array(values, dtype=numpy.int64)
        wide = numpy.stack([low, low >> 63], axis=1)
        return pyarrow.Array.from_buffers(kind, len(values), [None, pyarrow.py_buffer(wide.tobytes())])
    return pyarrow.array(values, type=kind)
