"""One call as it happened: its legs on one axis with causes and money, then every candidate that was considered."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from dash import Dash, Input, Output, State, dcc, html

from dashboards import formats
from dashboards.pages.shared import Sources, Word, column, grid, marked
from dashboards.queries import SourceAwayError
from schemas.events import CallRouted, EventError, decode_event
from schemas.ids import CALL_ID_PATTERN

REFRESH_MS: Final = 3_000
_CAUSES: Final = {
    0: "no answer in time", 1: "unallocated number", 3: "no route", 16: "normal clearing", 17: "user busy",
    18: "no user responding", 19: "no answer", 20: "subscriber absent", 21: "call rejected", 22: "number changed",
    27: "destination out of order", 28: "invalid number format", 31: "normal, unspecified", 34: "no circuit available",
    38: "network out of order", 41: "temporary failure", 42: "congestion", 44: "channel not available",
    58: "bearer not available", 127: "interworking",
}  # fmt: skip
_ENDED_BY: Final = {"caller": "the caller hung up", "callee": "the called party hung up"}


def layout(call_id: str) -> Any:
    """The page of one call."""
    return html.Div(
        [
            dcc.Store(id="call-id", data=call_id),
            dcc.Interval(id="call-tick", interval=REFRESH_MS),
            html.Div(id="call-body", className="call"),
        ]
    )


def add_callbacks(app: Dash, sources: Sources) -> None:
    """The page's life: it stops asking when the call is over and its decision is there."""

    @app.callback(
        Output("call-body", "children"),
        Output("call-tick", "disabled"),
        Input("call-tick", "n_intervals"),
        State("call-id", "data"),
    )
    def refresh(_: int | None, call_id: str) -> tuple[Any, bool]:
        if CALL_ID_PATTERN.fullmatch(call_id) is None:
            return html.P("This is not a call's id: it must be NODE-EPOCH-SECONDS.SEQUENCE.", className="empty"), True
        try:
            legs = sources.queries.call_legs(call_id)
            text = sources.queries.call_decision(call_id)
        except SourceAwayError as error:
            return html.P(f"{error}. Trying again …", className="empty"), False
        decision = read_decision(text)
        inbound = next((leg for leg in legs if leg["leg"] == 0), None)
        going_on = any(call.call_id == call_id and call.ended_at_ms is None for call in sources.live.view().calls)
        return body(call_id, legs, decision, going_on), inbound is not None and decision is not None


def read_decision(text: str | None) -> CallRouted | None:
    """The decision, if there is one that can be read."""
    if not text:
        return None
    try:
        event = decode_event(text.encode())
    except (EventError, msgspec.MsgspecError):
        return None
    return event if isinstance(event, CallRouted) else None


def body(call_id: str, legs: Sequence[Mapping[str, Any]], decision: CallRouted | None, going_on: bool) -> list[Any]:
    """Everything that is known of the call."""
    if not legs and decision is None:
        text = "It goes on; its legs are shown here as they end." if going_on else "Nothing is known of this call."
        return [html.H1(call_id), html.P(text, className="empty")]
    parts: list[Any] = [html.Div([html.H1(call_id), marked(headline(legs, decision, going_on))], className="call-head")]
    if legs:
        parts += [html.H2("Hunt"), lanes(legs), html.Div(_legs_grid(legs), className="legs-grid")]
    if decision is not None:
        parts += [html.H2("Decision"), html.P(_decided(decision), className="decided")]
        parts.append(html.Div(_candidates_grid(decision), className="candidates-grid"))
    elif legs:
        parts.append(html.P("No decision of a router is known for this call.", className="empty"))
    return parts


def headline(legs: Sequence[Mapping[str, Any]], decision: CallRouted | None, going_on: bool) -> Word:
    """The call in one sentence."""
    inbound = next((leg for leg in legs if leg["leg"] == 0), None)
    if inbound is None:
        return Word("normal", "The call goes on." if going_on else "The call's last line has not come yet.")
    who = inbound["customer"] or "unknown caller"
    where = inbound["destination"] or inbound["callee_dialled"] or "?"
    tries = sum(1 for leg in legs if leg["leg"] > 0)
    if inbound["reason"]:
        return Word("amber", f"{who} → {where}: refused, {inbound['reason']}")
    if not inbound["answered"]:
        how = f"cause {inbound['cause']}, {_CAUSES.get(inbound['cause'], 'see Q.850')}"
        return Word("amber", f"{who} → {where}: not answered after {tries} {_legs(tries)} ({how})")
    vendor = next((leg["vendor"] for leg in legs if leg["leg"] > 0 and leg["answered"]), "?")
    talk = formats.talk(inbound["duration_ms"])
    ended = {"caller": "the caller hung up", "callee": "the called party hung up"}.get(
        inbound["release_side"], "cut by us"
    )
    return Word(
        "normal", f"{who} → {where}: {talk} by {vendor}, after {tries} {_legs(tries)}; {ended}. {_margin(legs)}"
    )


def _legs(number: int) -> str:
    return "leg" if number == 1 else "legs"


def _margin(legs: Sequence[Mapping[str, Any]]) -> str:
    currencies = {leg["currency"] for leg in legs if leg["amount_micros"]}
    if len(currencies) > 1:
        return "Revenue and cost are in different currencies."
    currency = next(iter(currencies), legs[0]["currency"])
    revenue = sum(leg["amount_micros"] for leg in legs if leg["side"] == "receivable")
    cost = sum(leg["amount_micros"] for leg in legs if leg["side"] == "payable")
    return (
        f"Revenue {formats.money(revenue, decimals=6)}, cost {formats.money(cost, decimals=6)}, "
        f"margin {formats.money(revenue - cost, currency, 6)}."
    )


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
            html.Span(_time(begin)),
            html.Span("set-up", className="key setup"),
            html.Span("ringing", className="key ringing"),
            html.Span("talk", className="key talk"),
            html.Span(f"+ {formats.seconds(span)}"),
        ],
        className="axis",
    )
    return html.Div([*lines, axis], className="lanes")


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _legs_grid(legs: Sequence[Mapping[str, Any]]) -> Any:
    columns = [
        column("leg", "Leg", width=92),
        column("party", "Party", width=200, flex=1, minWidth=140, tooltipField="party"),
        column("number", "Number", width=150, kind="phone"),
        column("code", "Code", width=90, kind="number"),
        column("pdd", "PDD", width=78, kind="number"),
        column("talk", "Talk", width=78, kind="number"),
        column("billed", "Billed s", width=84, kind="number"),
        column("price", "Price /min", width=104, kind="number"),
        column("fee", "Connect fee", width=106, kind="number"),
        column("amount", "Amount", width=120, kind="number"),
        column("currency", "", width=58),
        column("outcome", "Outcome", width=260, flex=1, minWidth=170, tooltipField="outcome"),
    ]
    return grid("call-legs", columns, empty="No leg.", rows=[leg_row(leg) for leg in legs], domLayout="autoHeight")


def leg_row(leg: Mapping[str, Any]) -> dict[str, Any]:
    """A leg as the grid shows it."""
    inbound = leg["leg"] == 0
    sip = f", SIP {leg['sip_code']}" if leg["sip_code"] else ""
    outcome = leg["reason"] or f"{leg['cause']} {_CAUSES.get(leg['cause'], '')}{sip}, by {leg['release_side']}"
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
        "outcome": outcome + (" · clocks disagree" if leg["clock_disagreement"] else ""),
    }


def _trimmed(text: str, least: int) -> str:
    whole, _, rest = text.partition(".")
    kept = rest.rstrip("0")
    return f"{whole}.{kept.ljust(least, '0')}"


def _decided(decision: CallRouted) -> str:
    when = _time(decision.routed_at_ms)
    first = f"Decided in {decision.decision_micros:,} µs on configuration {decision.generation}, at {when}. "
    if decision.reason:
        return first + f"Refused: {decision.reason}."
    sold = f"Sold at {formats.price(decision.price_e8)} {decision.currency} a minute (code {decision.code}). "
    held = f"Held {formats.money(decision.hold_micros, decision.currency, 6)}; " if decision.hold_micros else ""
    return first + sold + held + f"longest call {formats.duration(decision.max_call_ms / 1000)}."


def _candidates_grid(decision: CallRouted) -> Any:
    columns = [
        column("position", "Route", width=76, kind="number"),
        column("vendor", "Vendor", width=200, flex=1, minWidth=140),
        column("verdict", "Verdict", width=150, cellClassRules={"taken": "params.value === 'TAKEN'"}),
        column("priority", "Priority", width=84, kind="number"),
        column("code", "Code", width=96, kind="number"),
        column("price", "Price /min", width=110, kind="number"),
        column("cost", "Compared at", width=116, kind="number", headerTooltip="per minute, at the expected duration"),
        column("margin", "Margin /min", width=116, kind="number"),
        column("currency", "", width=58),
    ]
    rows = [
        {
            "id": str(number),
            "position": str(one.position) if one.position else formats.UNKNOWN,
            "vendor": one.vendor,
            "verdict": one.verdict,
            "priority": str(one.priority),
            "code": one.code or formats.UNKNOWN,
            "price": formats.price(one.price_e8),
            "cost": formats.price(one.comparable_cost_e8),
            "margin": formats.price(one.margin_e8),
            "currency": one.currency,
        }
        for number, one in enumerate(decision.candidates)
    ]
    return grid("call-candidates", columns, empty="No vendor was considered.", rows=rows, domLayout="autoHeight")
