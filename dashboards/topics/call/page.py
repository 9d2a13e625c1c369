"""One call as it happened: its legs on one axis with causes and money, then every candidate that was considered."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dash import Input, Output, State, dcc, html

from dashboards.kit import formats
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.queries import SourceAwayError
from dashboards.kit.shared import Word, marked, silent_nodes
from dashboards.topics.call.decision import candidates_grid, decided
from dashboards.topics.call.decisions import read_decision
from dashboards.topics.call.hunt import CAUSES, lanes, legs_grid
from dashboards.topics.calls.page import live_row
from dashboards.topics.check_routing.page import link
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources
from schemas.events import ExplainedCall
from schemas.ids import CALL_ID_PATTERN

REFRESH_MS: Final = 3_000
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


def add_callbacks(app: PageCallbacks, sources: Sources) -> None:
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
        over = inbound is not None and decision is not None
        live = None if over else _live(sources, call_id)
        peer = sources.names.names().peers.get(decision.customer_peer_id, "") if decision is not None else ""
        return body(call_id, legs, decision, live, peer), over


def _live(sources: Sources, call_id: str) -> Mapping[str, Any] | None:
    """The call as the live view has it, if it goes on."""
    view = sources.live.view()
    call = next((one for one in view.calls if one.call_id == call_id), None)
    if call is None or call.ended_at_ms is not None or not call.legs:
        return None
    return live_row(call, sources.names.names(), sources.now_ms(), silent_nodes(view, sources.now_ms()))


def body(
    call_id: str,
    legs: Sequence[Mapping[str, Any]],
    decision: ExplainedCall | None,
    live: Mapping[str, Any] | None,
    peer: str = "",
) -> list[Any]:
    """Everything that is known of the call. `peer` is the originator's name, where it is known."""
    if not legs and decision is None and live is None:
        text = "Nothing is known of this call (yet): its legs come here within seconds of its end."
        return [html.H1(call_id), html.P(text, className="empty")]
    head = [html.H1(call_id), marked(headline(legs, live)), html.P(parties(legs, decision), className="parties")]
    parts: list[Any] = [html.Div(head, className="call-head")]
    if legs:
        parts += [html.H2("Hunt"), lanes(legs), html.Div(legs_grid(legs), className="legs-grid")]
    elif live is not None:
        parts.append(html.P("Its legs are shown here as they end.", className="empty"))
    if decision is not None:
        parts += [html.H2("Decision"), html.P(decided(decision), className="decided")]
        if peer:
            parts.append(_again(decision, peer))
        parts.append(html.Div(candidates_grid(decision, legs), className="candidates-grid"))
    elif legs:
        parts.append(html.P("No decision of a router is known for this call.", className="empty"))
    return parts


def _again(decision: ExplainedCall, peer: str) -> Any:
    return html.P(
        [
            dcc.Link("Check the same call again now", href=link(decision, peer), id="check-now"),
            dcc.Link("… at the prices of that moment", href=link(decision, peer, then=True), id="check-then"),
        ],
        className="again",
    )


def parties(legs: Sequence[Mapping[str, Any]], decision: ExplainedCall | None) -> str:
    """Who called whom, from where, on which node: as far as it is known."""
    inbound = next((leg for leg in legs if leg["leg"] == 0), None)
    if inbound is not None:
        caller, callee = inbound["caller_dialled"] or inbound["caller"], inbound["callee_dialled"] or inbound["callee"]
        node, endpoint, address = inbound["node"], inbound["endpoint"], inbound["remote_address"]
    elif decision is not None:
        caller, callee = decision.caller_dialled or decision.caller, decision.callee_dialled or decision.callee
        node, endpoint, address = decision.node, decision.endpoint, decision.remote_address
    else:
        return ""
    came = f"from {endpoint or 'an unknown endpoint'}" + (f" ({address})" if address else "")
    return f"{caller or 'number withheld'} → {callee or '?'} · {came} · node {node}"


def headline(legs: Sequence[Mapping[str, Any]], live: Mapping[str, Any] | None) -> Word:
    """The call in one sentence."""
    inbound = next((leg for leg in legs if leg["leg"] == 0), None)
    if inbound is None:
        if live is None:
            return Word("amber", "The call's last line has not come yet.")
        now = f"{live['state']} for {formats.duration(live['duration'])}"
        return Word(
            "normal", f"{live['customer']} → {live['destination']}: {now}, leg {live['leg']} by {live['vendor']}"
        )
    who = inbound["customer"] or "unknown caller"
    where = inbound["destination"] or inbound["callee_dialled"] or "?"
    tries = sum(1 for leg in legs if leg["leg"] > 0)
    if inbound["reason"] and not inbound["answered"]:
        return Word("amber", f"{who} → {where}: refused, {inbound['reason']}")
    if not inbound["answered"]:
        how = f"cause {inbound['cause']}, {CAUSES.get(inbound['cause'], 'see Q.850')}"
        return Word("amber", f"{who} → {where}: not answered after {tries} {_legs(tries)} ({how})")
    vendor = next((leg["vendor"] for leg in legs if leg["leg"] > 0 and leg["answered"]), "?")
    talk = formats.talk(inbound["duration_ms"])
    ended = _ENDED_BY.get(inbound["release_side"], "ended by us")
    if inbound["reason"]:
        ended += f", {inbound['reason']}"
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


PAGE: Final = Page(
    path="/call/",
    title="Call",
    area="call",
    layout=lambda call_id, _: layout(call_id),
    callbacks=add_callbacks,
)
