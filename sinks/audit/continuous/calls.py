"""Calls that have no end yet: each is up, or something is lost between the wire and the journal. Pure.

An admitted call (a decision that refused nothing) is over when its inbound leg is closed; a hold is over with it. Until
then its node must list it: a heartbeat has every channel of a call, one that is still being set up too, so that nobody
has to wait for the longest set-up. An example, with 30 s for the clocks and what is on its way:

    routed 12:00:00, node heard 12:00:20          young: that heartbeat may have been too early
    routed 12:00:00, node heard 12:10:00, listed  up
    routed 12:00:00, node heard 12:10:00, not     missing; after the time to settle, a difference
    routed 12:00:00, node heard 11:59:00 last     not verified: the node is silent
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from sinks.audit.continuous.fold import Difference

NO_END: Final = "admitted call without an end"
NOT_UP: Final = "hold of a call that is not up"
NOT_VERIFIED: Final = "not verified: calls of a silent node"
MAX_NAMED: Final = 200  # of one kind; of a silent node MAX_OF_NODE
MAX_OF_NODE: Final = 10
State = Literal["young", "up", "silent", "missing"]


class Heard(NamedTuple):
    """A node's last heartbeat (unix ms of the database's clock), and the calls that it listed."""

    at_ms: int
    calls: frozenset[str]


class OpenCall(NamedTuple):
    """A call without an end, by its decision (`kind` NO_END) or its hold (NOT_UP). `missing_ms`: since when it has not
    been listed, where somebody has noted it.
    """

    kind: str
    call_id: str
    node: str
    admitted_at_ms: int
    missing_ms: int | None = None


class Patience(NamedTuple):
    """`young_ms`: so long after its admission a heartbeat may not list a call yet; `settle_ms`: so long what has ended
    may be on its way to the ledger; `silent_ms`: a node that was heard before that is silent.
    """

    young_ms: int
    settle_ms: int
    silent_ms: int


class Judged(NamedTuple):
    """How many calls are in each state, how many of them were admitted without an end yet, since when those that are
    missing are, and what is wrong.
    """

    counts: Mapping[State, int]
    admitted: int
    missing: Mapping[str, int]
    differences: list[Difference]


def state_of(call: OpenCall, heard: Mapping[str, Heard], now_ms: int, patience: Patience) -> State:
    """What is known of a call now."""
    if call.admitted_at_ms > now_ms - patience.young_ms:
        return "young"
    last = heard.get(call.node)
    if last is None or last.at_ms < now_ms - patience.silent_ms:
        return "silent"
    if call.call_id in last.calls:
        return "up"
    return "young" if call.admitted_at_ms > last.at_ms - patience.young_ms else "missing"


def judge(calls: Iterable[OpenCall], heard: Mapping[str, Heard], now_ms: int, patience: Patience) -> Judged:
    """The calls without an end, judged."""
    states: dict[str, State] = {}
    missing: dict[str, int] = {}
    late: dict[str, list[tuple[int, str]]] = {NO_END: [], NOT_UP: []}
    silent: dict[str, set[str]] = {}
    admitted = 0
    for call in calls:
        admitted += call.kind == NO_END
        state = states[call.call_id] = state_of(call, heard, now_ms, patience)
        if state == "silent":
            silent.setdefault(call.node, set()).add(call.call_id)
        elif state == "missing":
            since_ms = now_ms if call.missing_ms is None else call.missing_ms
            if call.kind == NO_END:
                missing[call.call_id] = since_ms
            if since_ms <= now_ms - patience.settle_ms:
                late[call.kind].append((since_ms, call.call_id))
    found = [one for kind, of_kind in late.items() for one in _named(kind, sorted(of_kind))]
    found += [_silent(node, sorted(unknown), heard.get(node), now_ms) for node, unknown in sorted(silent.items())]
    return Judged(Counter(states.values()), admitted, missing, found)


def _named(kind: str, late: list[tuple[int, str]]) -> list[Difference]:
    found = [Difference(kind, f"{call_id}/0", since_ms) for since_ms, call_id in late[:MAX_NAMED]]
    if len(late) > MAX_NAMED:
        found.append(Difference(kind, f"{len(late) - MAX_NAMED} more", late[MAX_NAMED][0]))
    return found


def _silent(node: str, calls: list[str], last: Heard | None, now_ms: int) -> Difference:
    more = f" and {len(calls) - MAX_OF_NODE} more" if len(calls) > MAX_OF_NODE else ""
    detail = ", ".join(calls[:MAX_OF_NODE]) + more
    return Difference(NOT_VERIFIED, node, now_ms if last is None else last.at_ms, detail)
