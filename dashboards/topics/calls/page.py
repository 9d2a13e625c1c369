"""Active calls: who talks with whom now, on whose route, and what it costs so far."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from dash import ClientsideFunction, Input, Output, dcc, html

from dashboards.kit import formats
from dashboards.kit.live import LiveView
from dashboards.kit.names import Names
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.shared import Word, column, freshness, grid, silent_nodes, state_line
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources
from schemas.facts import Facts
from schemas.ids import node_of
from schemas.live import LiveCall, LiveLeg
from tariffs.rating import rate

REFRESH_MS: Final = 2_000
MAX_ROWS: Final = 2_000
_LOSS: Final = {"amber": "params.value < 0"}
_ORDER: Final = {"talking": 0, "ringing": 1, "setting up": 2}
LAST_KNOWN: Final = "last: "  # before the state of a call whose node is silent: nobody knows whether it goes on


def layout() -> Any:
    """The page without its rows."""
    columns = [
        column("state", "State", width=128, cellClassRules={"talking": "params.value === 'talking'"}),
        column("duration", "Duration", width=84, kind="number", **_format("duration")),
        column("customer", "Customer", width=160, flex=4, minWidth=110, tooltipField="customer"),
        column("caller", "Caller", width=128, kind="phone", **_format("withheld")),
        column("callee", "Callee", width=132, kind="phone"),
        column("destination", "Destination", width=180, flex=5, minWidth=120, tooltipField="destination"),
        column("vendor", "Vendor", width=170, flex=5, minWidth=120, tooltipField="vendor"),
        column("leg", "Leg", width=50, kind="number"),
        column("cost", "Cost", width=84, kind="number", **_format("money4")),
        column("margin", "Margin", width=92, kind="number", cellClassRules=_LOSS, **_format("money4")),
        column("currency", "", width=54),
        column("node", "Node", width=64),
        column("id", "Call", width=60, cellRenderer="streamcoCallLink"),
    ]
    empty = "No call is up. A call appears here when its first leg is dialled."
    return html.Div(
        [
            dcc.Interval(id="calls-tick", interval=REFRESH_MS),
            dcc.Location(id="calls-address", refresh=False),
            html.Div(
                [
                    html.Div(id="calls-state", className="grow"),
                    dcc.Input(
                        id="calls-filter",
                        className="find",
                        placeholder="filter by number, customer, vendor …",
                        debounce=False,
                        maxLength=64,
                    ),
                ],
                className="topline",
            ),
            html.Div(grid("calls-grid", columns, empty=empty), className="full-grid"),
        ],
        className="calls",
    )


def _format(kind: str) -> dict[str, Any]:
    return {"valueFormatter": {"function": f"streamcoFormat.{kind}(params.value, params.data)"}}


def add_callbacks(app: PageCallbacks, sources: Sources) -> None:
    """The page's life."""

    @app.callback(
        Output("calls-state", "children"), Output("calls-grid", "rowData"), Input("calls-tick", "n_intervals")
    )
    def refresh(_: int | None) -> tuple[Any, Any]:
        view, now_ms = sources.live.view(), sources.now_ms()
        # What is not heard does not go on: with Kafka away, durations and money stand still at the last moment known.
        as_of_ms = now_ms if view.away_since_ms is None else min(now_ms, view.away_since_ms)
        shown = rows(view, sources.names.names(), as_of_ms)
        return state_line([summary(shown, view)], freshness(view, now_ms), now_ms), shown

    # The filter is in the address: a link shows a colleague the same calls.
    app.clientside_callback(
        ClientsideFunction("streamco", "filterFromAddress"),
        Output("calls-filter", "value"),
        Input("calls-address", "search"),
    )
    app.clientside_callback(
        ClientsideFunction("streamco", "filter"),
        Output("calls-grid", "dashGridOptions", allow_duplicate=True),
        Input("calls-filter", "value"),
        prevent_initial_call=True,
    )


def summary(shown: Sequence[Mapping[str, Any]], view: LiveView) -> Word:
    """How many calls in which state, and what they earn."""
    if not shown:
        return Word("few", "No call is up now.")
    states = {state: sum(1 for row in shown if row["state"] == state) for state in _ORDER}
    text = f"{len(shown):,} calls: " + ", ".join(f"{number:,} {state}" for state, number in states.items())
    if unknown := len(shown) - sum(states.values()):
        text += f", {unknown:,} last known on a node that is silent"
    lost = sum(1 for row in shown if row["margin"] is not None and row["margin"] < 0)
    if lost:
        text += f"; {lost:,} of them cost more than they earn so far"
    beyond = view.dropped + max(0, len(view.calls) - MAX_ROWS)
    if beyond and len(shown) >= MAX_ROWS:
        return Word("amber", f"{text}. Only the {MAX_ROWS:,} longest are shown.")
    return Word("normal", text)


def rows(view: LiveView, names: Names, now_ms: int) -> list[dict[str, Any]]:
    """One row for each call that goes on: talking first, the longest first."""
    silent = silent_nodes(view, now_ms)
    found = [live_row(call, names, now_ms, silent) for call in view.calls if call.ended_at_ms is None and call.legs]
    found.sort(key=lambda row: (_ORDER[row["state"].removeprefix(LAST_KNOWN)], -row["duration"], row["id"]))
    return found[:MAX_ROWS]


def live_row(
    call: LiveCall, names: Names, now_ms: int, silent: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Any]:
    """A live call as the grid shows it. The call has a leg.

    `silent`: nodes that have stopped answering, since when. What was on them stands still at that moment, and says so.
    """
    since_ms = silent.get(node_of(call.call_id))
    if since_ms is not None:
        row = live_row(call, names, since_ms)
        return {**row, "state": LAST_KNOWN + row["state"]}
    leg = current_leg(call)
    facts, terms = call.call_facts, leg.facts
    answered = leg.answered_at_ms
    since = answered or call.call_started_at_ms or leg.started_at_ms or now_ms
    revenue, cost = _bill(facts, answered, now_ms), _bill(terms, answered, now_ms)
    same = facts is not None and terms is not None and facts.currency == terms.currency
    return {
        "id": call.call_id,
        "state": "talking" if answered else "ringing" if leg.ringing_at_ms else "setting up",
        "duration": max(0, now_ms - since) // 1000,
        "customer": names.company(facts.customer_company_id) if facts else formats.UNKNOWN,
        "vendor": names.company(terms.vendor_company_id) if terms else formats.UNKNOWN,
        "caller": facts.caller if facts else "",
        "callee": facts.callee if facts else "",
        "destination": names.destination(facts.destination_id) if facts else "",
        "leg": leg.leg,
        "cost": None if cost is None else cost / 1e6,
        "margin": None if revenue is None or cost is None or not same else (revenue - cost) / 1e6,
        "currency": facts.currency if facts else "",
        "node": node_of(call.call_id),
    }


def current_leg(call: LiveCall) -> LiveLeg:
    """The leg that is talked on, else the last one dialled."""
    return next((leg for leg in call.legs if leg.answered_at_ms is not None), call.legs[-1])


def _bill(facts: Facts | None, answered_at_ms: int | None, now_ms: int) -> int | None:
    """What the leg comes to so far, by the one rating function; None where it is not answered or not known."""
    if facts is None or answered_at_ms is None:
        return None
    return rate(facts, max(0, now_ms - answered_at_ms), True).amount_micros


PAGE: Final = Page(
    path="/calls",
    title="Active calls",
    area="calls",
    layout=lambda *_: layout(),
    callbacks=add_callbacks,
    order=20,
)
