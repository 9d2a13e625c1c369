"""Decisions on the terminal: the answer in words first, then the caller's side, then a table of candidates."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dashboards.kit import formats
from dashboards.topics.check_routing.words import answer_line, compared, look_up_line, sent, sold_line, why_not
from dashboards.topics.reachability.words import reach_line
from schemas.events import ExplainedCall

if TYPE_CHECKING:
    from router.check import Checked

_COLUMNS = (
    "route",
    "vendor",
    "verdict",
    "prio",
    "code",
    "price",
    "cur",
    "compared at",
    "margin",
    "why",
    "compared by",
    "sent",
)
_RIGHT = frozenset({"route", "prio", "code", "price", "compared at", "margin"})


def checked_lines(checked: "Checked") -> Iterator[str]:
    """An answer of check-routing."""
    decision = checked.decision
    yield answer_line(decision)
    yield ""
    if checked.identified != checked.peer:
        found = checked.identified or "nobody"
        yield f"! this address and number are those of {found}, not of {checked.peer}"
    asked = " → ".join(f"{step.number} ({step.what})" for step in checked.steps)
    yield f"from     {checked.peer}, caller {decision.caller or 'without digits'}"
    yield f"number   {asked}"
    yield from _sold(decision)
    yield f"at       {moment(checked.at_ms)}, configuration {decision.generation}"
    yield f"snapshot {_SOURCES[checked.source]}, taken {moment(checked.snapshot_taken_at_ms)}"
    yield f"quality  {_QUALITY[checked.quality]}"
    yield f"limits   {_LIMITS[checked.limits]}"
    yield f"vendors  {_REACH[checked.reach]}"
    yield from (f"         {reach_line(one)}" for one in checked.vendors if one.state != "reachable")
    if line := look_up_line(checked):
        yield f"look-up  {line}"
    yield "money    not asked: the balance decides at admission"
    yield ""
    yield from candidate_lines(decision)


_SOURCES = {
    "live": "the routers' own",
    "built": "built for this moment: its prices; everything else as it is configured now",
}


_QUALITY = {
    "read": "as the routers know it now",
    "away": "not known: Kafka does not tell it just now, so every vendor is neutral",
    "unknown": "not known of another moment than now, so every vendor is neutral",
}


_LIMITS = {
    "read": "those that are full on that node just now",
    "away": "not known: PostgreSQL does not answer",
    "unknown": "taken to have room: they are of a node, and of now",
}


_REACH = {
    "read": "those that do not answer that node just now are skipped",
    "away": "not known: PostgreSQL does not answer",
    "unknown": "taken to answer: whether they do is of a node, and of now",
}


def why_lines(decision: ExplainedCall) -> Iterator[str]:
    """A stored decision."""
    yield answer_line(decision)
    yield ""
    yield f"call     {decision.call_id}"
    yield f"from     {decision.endpoint} ({decision.remote_address}), caller {decision.caller or 'without digits'}"
    yield f"number   {decision.callee_dialled} (dialled)" + (
        f" → {decision.callee} (billed as)" if decision.callee else ""
    )
    yield from _sold(decision)
    yield f"at       {moment(decision.routed_at_ms)}, configuration {decision.generation}"
    yield f"decided  in {decision.decision_micros:,} µs"
    if not decision.reason:
        held = f"held {formats.money(decision.hold_micros, decision.currency, 6)}, " if decision.hold_micros else ""
        yield f"money    {held}longest call {formats.duration(decision.max_call_ms / 1000)}"
    yield ""
    yield from candidate_lines(decision)


def _sold(decision: ExplainedCall) -> Iterator[str]:
    line = sold_line(decision)
    if line:
        yield f"price    {line}"


def candidate_lines(decision: ExplainedCall) -> Iterator[str]:
    """The table of candidates, in the order of the decision."""
    if not decision.candidates:
        yield "No vendor was considered."
        return
    rows = [
        (
            str(one.position or formats.UNKNOWN),
            one.vendor,
            one.verdict,
            str(one.priority),
            one.code or formats.UNKNOWN,
            formats.price(one.price_e8),
            one.currency,
            formats.per_minute(one.comparable_cost_e8),
            formats.per_minute(one.margin_e8),
            why_not(one),
            compared(one),
            sent(decision, one),
        )
        for one in decision.candidates
    ]
    # A column without anything in it says nothing.
    shown = [index for index in range(len(_COLUMNS)) if any(row[index] for row in rows)]
    yield from table([_COLUMNS[index] for index in shown], [[row[index] for index in shown] for row in rows])


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Rows under their columns, each as wide as it must be, figures at the right."""
    lines = [tuple(columns), *map(tuple, rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column in _RIGHT else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def moment(at_ms: int) -> str:
    """A moment in UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
