"""A call's hunt: a lane for each leg on one time axis, then the legs with their causes and money. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from dash import html

from dashboards.kit import formats
from dashboards.kit.shared import column, grid

CAUSES: Final = {
    0: "no answer in time", 1: "unallocated number", 3: "no route", 16: "normal clearing", 17: "user busy",
    18: "no user responding", 19: "no answer", 20: "subscriber absent", 21: "call rejected", 22: "number changed",
    27: "destination out of order", 28: "invalid number format", 31: "normal, unspecified", 34: "no circuit available",
    38: "network out of order", 41: "temporary failure", 42: "congestion", 44: "channel not available",
    58: "bearer not available", 127: "interworking",
}  # fmt: skip
_REMARKS: Final = {"clock_disagreement": "clocks disagree", "estimated": "estimated"}  # by the leg's column


def lanes(legs: Sequence[Mapping[str, Any]]) -> Any:
    """A lane for each leg on one time axis: set-up, then talk."""
    begin = min(leg["start_ms"] for leg in legs)
    span = max(1, max(leg["end_ms"] for leg in legs) - begin)

    def bar(kind: str, start: int, end: int, title: str) -> Any:
        left, width = (start - begin) / span * 100, max(0.25, (end - start) / span * 100)
        style = {"left": f"{left:.3f}%", "width": f"{min(width, 100 - left):.3f}%"}
        return html.Div(className=f"bar {kind}", style=style, title=title)

    lines = []
    for leg in legs:
        start, end, answer = leg["start_ms"], leg["end_ms"], leg["answer_ms"]
        bars = []
        signal = start + leg["pdd_ms"] if leg["pdd_ms"] is not None else None
        setup_end = min(end, signal if signal is not None else answer or end)
        bars.append(bar("setup", start, setup_end, f"set-up {formats.seconds(setup_end - start)}"))
        if signal is not None and signal < (answer or end):
            bars.append(bar("ringing", signal, answer or end, f"ringing {formats.seconds((answer or end) - signal)}"))
        if answer is not None:
            bars.append(bar("talk", answer, end, f"talk {formats.talk(end - answer)}"))
        name = "caller" if leg["leg"] == 0 else f"{leg['leg']} · {leg['vendor'] or leg['terminator']}"
        lines.append(
            html.Div([html.Span(name, className="lane-name"), html.Div(bars, className="lane-bars")], className="lane")
        )
    axis = html.Div(
        [
            html.Span(moment(begin)),
            html.Span("set-up", className="key setup"),
            html.Span("ringing", className="key ringing"),
            html.Span("talk", className="key talk"),
            html.Span(f"+ {formats.seconds(span)}"),
        ],
        className="axis",
    )
    return html.Div([*lines, axis], className="lanes")


def moment(at_ms: int) -> str:
    """A moment in the zone of this machine, with the zone."""
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def legs_grid(legs: Sequence[Mapping[str, Any]]) -> Any:
    """The legs, one below the other."""
    columns = [
        column("leg", "Leg", width=74, tooltipField="sip_call_id", headerTooltip="with the SIP Call-ID of each leg"),
        column("party", "Party", width=200, flex=4, minWidth=150, tooltipField="party"),
        column("number", "Number", width=138, kind="phone"),
        column("code", "Code", width=84, kind="number"),
        column("pdd", "PDD", width=66, kind="number"),
        column("talk", "Talk", width=70, kind="number"),
        column("billed", "Billed s", width=80, kind="number"),
        column("price", "Price /min", width=98, kind="number"),
        column("fee", "Connect fee", width=102, kind="number"),
        column("amount", "Amount", width=106, kind="number"),
        column("currency", "", width=54),
        column("outcome", "Outcome", width=260, flex=5, minWidth=200, tooltipField="outcome"),
    ]
    return grid("call-legs", columns, empty="No leg.", rows=[leg_row(leg) for leg in legs], domLayout="autoHeight")


def leg_row(leg: Mapping[str, Any]) -> dict[str, Any]:
    """A leg as the grid shows it."""
    inbound = leg["leg"] == 0
    sip = f", SIP {leg['sip_code']}" if leg["sip_code"] else ""
    outcome = leg["reason"] or f"{leg['cause']} {CAUSES.get(leg['cause'], '')}{sip}, by {leg['release_side']}"
    return {
        "id": leg["leg_id"],
        "leg": "caller" if inbound else f"{leg['leg']}",
        "party": (leg["customer"] or leg["endpoint"]) if inbound else f"{leg['vendor']} ({leg['terminator']})",
        "number": leg["callee"] or leg["callee_dialled"],
        "code": leg["code"] or formats.UNKNOWN,
        "pdd": formats.seconds(leg["pdd_ms"]),
        "talk": formats.talk(leg["duration_ms"]) if leg["answered"] else formats.UNKNOWN,
        "billed": formats.count(leg["billed_seconds"]),
        "price": _trimmed(leg["price"], 6),
        "fee": _trimmed(leg["connect_fee"], 2),
        "amount": ("" if inbound or not leg["amount_micros"] else "−")
        + formats.money(leg["amount_micros"], decimals=6),
        "currency": leg["currency"],
        "sip_call_id": f"SIP Call-ID {leg['sip_call_id'] or formats.UNKNOWN}",
        "outcome": outcome + "".join(f" · {word}" for name, word in _REMARKS.items() if leg[name]),
    }


def _trimmed(text: str, least: int) -> str:
    whole, _, rest = text.partition(".")
    kept = rest.rstrip("0")
    return f"{whole}.{kept.ljust(least, '0')}"
