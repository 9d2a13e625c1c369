"""Why a call went where it went: the router's decision in words, and every candidate with its reason. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dash import html

from dashboards.kit import formats
from dashboards.kit.shared import column, grid
from dashboards.topics.call.hunt import CAUSES, moment
from dashboards.topics.check_routing.words import WHY, compared, looked_up_line, sent, why_not
from schemas.events import Candidate, ExplainedCall
from schemas.refusals import Verdict

_TAKEN: Final = {"taken": "params.value === 'TAKEN'", "dim": "params.value !== 'TAKEN'"}


_COMPARED: Final = "per minute of a call of the expected length, in the system's currency where rates are known"


def decided(decision: ExplainedCall) -> str:
    """When, on which configuration, how fast; what was sold and held, or why it was refused."""
    when = moment(decision.routed_at_ms)
    first = f"Decided in {decision.decision_micros:,} µs on configuration {decision.generation}, at {when}. "
    because = f": {decision.detail}" if decision.detail else ""
    if decision.reason:
        return first + f"Refused: {decision.reason}{because}."
    looked_up = looked_up_line(decision)
    first += f"{looked_up} " if looked_up else ""
    sold = f"Sold at {formats.price(decision.price_e8)} {decision.currency} a minute (code {decision.code}). "
    held = f"Held {formats.money(decision.hold_micros, decision.currency, 6)}; " if decision.hold_micros else ""
    return first + sold + held + f"longest call {formats.duration(decision.max_call_ms / 1000)}."


def candidates_grid(decision: ExplainedCall, legs: Sequence[Mapping[str, Any]]) -> Any:
    """Every vendor that was considered, in the order of the decision, and what came of those in the hunt."""
    if not decision.candidates:
        return html.P("No vendor was considered: the caller's side was refused before.", className="empty")
    columns = [
        column("position", "Route", width=68, kind="number"),
        column("vendor", "Vendor", width=160, flex=2, minWidth=120),
        column("verdict", "Verdict", width=136, cellClassRules=_TAKEN),
        column("why", "Why", width=280, flex=3, minWidth=180, tooltipField="why"),
        column("priority", "Priority", width=84, kind="number"),
        column("code", "Code", width=84, kind="number"),
        column("price", "Price /min", width=100, kind="number"),
        column("currency", "", width=54),
        column("cost", "Compared at", width=112, kind="number", headerTooltip=_COMPARED),
        column("margin", "Margin /min", width=108, kind="number", headerTooltip=_COMPARED),
    ]
    if any(compared(one) for one in decision.candidates):
        columns.append(column("compared", "Compared by", width=200, flex=2, minWidth=120, tooltipField="compared"))
    if any(sent(decision, one) for one in decision.candidates):
        columns.append(column("sent", "Sent", width=220, flex=2, minWidth=160, tooltipField="sent"))
    rows = [
        {
            "id": str(number),
            "position": str(one.position) if one.position else formats.UNKNOWN,
            "vendor": one.vendor,
            "verdict": one.verdict,
            "why": why(one, legs),
            "priority": str(one.priority),
            "code": one.code or formats.UNKNOWN,
            "price": formats.price(one.price_e8),
            "cost": formats.per_minute(one.comparable_cost_e8),
            "margin": formats.per_minute(one.margin_e8),
            "currency": one.currency,
            "compared": compared(one),
            "sent": sent(decision, one),
        }
        for number, one in enumerate(decision.candidates)
    ]
    return grid("call-candidates", columns, empty="No vendor was considered.", rows=rows, domLayout="autoHeight")


def why(candidate: Candidate, legs: Sequence[Mapping[str, Any]]) -> str:
    """Why a vendor was not taken; for one in the hunt, what came of it."""
    if candidate.verdict != Verdict.TAKEN:
        return why_not(candidate)
    leg = next((one for one in legs if one["leg"] == candidate.position), None)
    if leg is None:
        return "in the hunt, not reached" if any(one["leg"] == 0 for one in legs) else WHY[Verdict.TAKEN]
    if leg["answered"]:
        return f"answered, {formats.talk(leg['duration_ms'])} of talk"
    sip = f", SIP {leg['sip_code']}" if leg["sip_code"] else ""
    return f"failed: {CAUSES.get(leg['cause'], 'cause')} ({leg['cause']}{sip})"
