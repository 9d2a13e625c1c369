"""The controllers: what they hold in force, why and until when; what they watch; and the way to release it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import dash
import psycopg
import structlog
from dash import Input, Output, State, dcc, html

from dashboards.access.persons import person_of_request
from dashboards.access.table import allowed
from dashboards.kit import formats
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.shared import State as Severity
from dashboards.kit.shared import Word, card, column, freshness, grid, state_line
from dashboards.topics.controls.store import ControlRow, ControlState
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources
from runtime.user_acts import Person
from sinks.control_actions import MAX_REASON, ControlAction, ControlActionError

log = structlog.get_logger(__name__)
REFRESH_MS: Final = 3_000
AREA: Final = "controls"
RELEASE: Final = "release"
_DONE: Final[Mapping[str, str]] = {"block": "blocked", "demote": "moved back", "cap": "capped"}
_DAY_SECONDS: Final = 86_400


def layout(*, may_release: bool) -> Any:
    """The page without its figures."""
    return html.Div(
        [
            dcc.Interval(id="controls-tick", interval=REFRESH_MS),
            html.Div(id="controls-state"),
            html.Div(id="controls-cards", className="cards six"),
            _panel(
                "In force",
                "controls-held",
                _held_columns(),
                "Nothing is held.",
                "audit-open-panel",
                _release(may_release),
            ),
            html.Div(
                [
                    _panel(
                        "Controls", "controls-all", _control_columns(), "There is no control: load a world with some."
                    ),
                    _panel("Released", "controls-released", _released_columns(), "Nothing was released yet."),
                ],
                className="audit-below",
            ),
        ],
        className="audit",
    )


def _panel(title: str, identity: str, columns: Sequence[Any], empty: str, more: str = "", beside: Any = None) -> Any:
    options: dict[str, Any] = {"rowSelection": {"mode": "singleRow", "checkboxes": True}} if beside is not None else {}
    head = html.H2(title) if beside is None else html.Div([html.H2(title), beside], className="panel-head")
    made = grid(identity, columns, empty=empty, **options)
    return html.Section([head, html.Div(made, className="panel-grid")], className=f"panel {more}".strip())


def _release(may_release: bool) -> Any:
    return html.Div(
        [
            html.Span(id="controls-said", className="more", role="status"),
            dcc.Input(
                type="text",
                id="controls-why",
                className="why",
                placeholder="choose a row, say why",
                maxLength=MAX_REASON,
            ),
            html.Button("Release", id="controls-release", className="button", n_clicks=0),
        ],
        className="release",
        style={} if may_release else {"display": "none"},
    )


def _held_columns() -> list[Any]:
    return [
        column(
            "what",
            "What",
            width=124,
            cellStyle={"paddingLeft": "16px"},  # its mark stands there
            cellClassRules={"red": "params.data.blocks", "amber": "!params.data.blocks"},
        ),
        column("whom", "Whom", width=190, flex=2, minWidth=130),
        column("reason", "Why", width=420, flex=6, minWidth=220, tooltipField="reason"),
        column("control", "Control", width=150, flex=2, minWidth=100, tooltipField="control"),
        # Of texts that look like moments the grid would make dates.
        column("since", "Since", width=150, cellDataType=False),
        column("until", "Until", width=150, cellDataType=False),
        column("left", "Left", width=80, kind="number"),
        column("told", "Told", width=90, tooltipField="error", cellClassRules={"red": "params.value === 'given up'"}),
    ]


def _control_columns() -> list[Any]:
    return [
        column("control", "Control", width=130, flex=2, minWidth=90, tooltipField="control"),
        column("watches", "Watches", width=140, flex=2, minWidth=90, tooltipField="watches"),
        column("when", "Acts when", width=290, flex=5, minWidth=150, tooltipField="when"),
        column("does", "Does", width=90),
        column("release", "Releases", width=100),
        column("holds", "Holds", width=66, kind="number"),
    ]


def _released_columns() -> list[Any]:
    return [
        column("released", "Released", width=150, cellDataType=False),
        column("by", "By", width=80),
        column("what", "Was", width=100),
        column("whom", "Whom", width=150, flex=2, minWidth=100),
        column("why", "Because", width=170, flex=3, minWidth=100, tooltipField="why"),
        column("reason", "Had been for", width=220, flex=4, minWidth=120, tooltipField="reason"),
    ]


def add_callbacks(app: PageCallbacks, sources: Sources) -> None:
    """The page's life."""

    @app.callback(
        Output("controls-state", "children"),
        Output("controls-cards", "children"),
        Output("controls-held", "rowData"),
        Output("controls-all", "rowData"),
        Output("controls-released", "rowData"),
        Input("controls-tick", "n_intervals"),
        Input("controls-said", "children"),
    )
    def refresh(_: int | None, _said: str | None) -> tuple[Any, ...]:
        state, now = sources.controls.state(), sources.clock()
        now_ms = sources.now_ms()
        live = freshness(sources.live.view(), now_ms)
        return (
            state_line([verdict(state)], live, now_ms, "what controllers hold, and why"),
            cards(state, now),
            [held_row(one, now) for one in state.in_force],
            [control_row(one, state) for one in state.controls],
            [released_row(one, now) for one in state.released],
        )

    @app.callback(
        Output("controls-said", "children"),
        Output("controls-why", "value"),
        Output("controls-held", "selectedRows"),
        Input("controls-release", "n_clicks"),
        State("controls-held", "selectedRows"),
        State("controls-why", "value"),
        prevent_initial_call=True,
        act=RELEASE,
    )
    def release(_: int, chosen: Sequence[Mapping[str, Any]] | None, why: str | None) -> tuple[Any, ...]:
        said, done = released(sources, person_of_request("page"), chosen or (), why or "")
        return (said, "", []) if done else (said, dash.no_update, dash.no_update)


def released(sources: Sources, person: Person, chosen: Sequence[Mapping[str, Any]], why: str) -> tuple[str, bool]:
    """Release the row that was chosen: what is said then, and whether it was done."""
    if not chosen:
        return "choose a row first", False
    if not why.strip():
        return "say why", False
    action_id = str(chosen[0].get("id", ""))[:128]
    try:
        sources.controls.release(action_id, person, why)
    except ControlActionError as error:
        return str(error), False
    except psycopg.Error as error:
        log.warning("a release was not written", action=action_id, error=str(error)[:200])
        return "PostgreSQL does not answer: nothing was released", False
    log.info("released", action=action_id, by=person.name, why=why.strip()[:MAX_REASON])
    return f"{chosen[0].get('whom', action_id)} was released", True


def verdict(state: ControlState) -> Word:
    """What the controllers hold, in one sentence."""
    if state.away:
        return Word("red", state.away)
    if not state.in_force:
        enabled = sum(one.enabled for one in state.controls)
        return Word(
            "normal", f"Nothing is held: {enabled} controls watch" if enabled else "Nothing is held, nor watched"
        )
    worst = next((one for one in state.in_force if one.action == "block"), state.in_force[0])
    more = f", and {len(state.in_force) - 1} more" if len(state.in_force) > 1 else ""
    word = f"{_whom(worst)} is {_DONE[worst.action]}: {worst.reason}{more}"
    return Word("red" if worst.action == "block" else "amber", word)


def wall_word(state: ControlState) -> Word | None:
    """What the wall says: nothing while nothing is held."""
    if state.away or not state.in_force:
        return None
    word = verdict(state)
    return Word(word.state, f"Control: {word.text}", "/controls")


def cards(state: ControlState, now: datetime) -> list[Any]:
    """Six figures."""
    held, enabled = state.in_force, [one for one in state.controls if one.enabled]
    vendors = [one for one in held if one.kind == "termination"]
    customers = [one for one in held if one.kind == "origination"]
    blocked = sum(one.action == "block" for one in vendors)
    lately = [one for one in [*held, *state.released] if (now - one.since).total_seconds() < _DAY_SECONDS]
    by_hand = sum(one.until is None for one in held)
    untold = sum(one.told == "given up" for one in [*held, *state.released])
    ends = min((one.until for one in held if one.until is not None), default=None)
    return [
        card("Vendors held", formats.count(len(vendors)), f"{blocked} blocked", more="codes count each",
             state=_worst(vendors)),
        card("Customers held", formats.count(len(customers)), "blocked or capped",
             state=_worst(customers)),
        card("Next release", _left(ends, now) if ends else formats.UNKNOWN, "by time", more=f"{by_hand} by hand alone"),
        card("In the last day", formats.count(len(lately)), "actions"),
        card("Controls", formats.count(len(enabled)), "watch",
             more=f"{len(state.controls) - len(enabled)} switched off"),
        card("Not told", formats.count(untold), "given up", state="amber" if untold else "normal"),
    ]  # fmt: skip


def _worst(held: Sequence[ControlAction]) -> Severity:
    if any(one.action == "block" for one in held):
        return "red"
    return "amber" if held else "normal"


def held_row(one: ControlAction, now: datetime) -> dict[str, Any]:
    """An action in force as the grid shows it."""
    return {
        "id": one.action_id,
        "what": _what(one),
        "blocks": one.action == "block",
        "whom": _whom(one),
        "reason": one.reason,
        "control": one.control,
        "since": _moment(one.since, now),
        "until": _moment(one.until, now) if one.until else "released by hand",
        "left": _left(one.until, now) if one.until else "",
        "told": one.told,
        "error": one.error or one.told,
    }


def released_row(one: ControlAction, now: datetime) -> dict[str, Any]:
    """An action that is over."""
    return {
        "id": one.action_id,
        "released": _moment(one.released_at, now) if one.released_at else "",
        "by": one.released_by,
        "what": _what(one),
        "whom": _whom(one),
        "why": one.released_why or "its time was over",
        "reason": one.reason,
    }


def control_row(one: ControlRow, state: ControlState) -> dict[str, Any]:
    """A control, and how much it holds now."""
    kind = "termination" if one.side == "vendors" else "origination"
    return {
        "id": f"{one.side}/{one.name}",
        "control": one.name if one.enabled else f"{one.name} (off)",
        "watches": one.watches,
        "when": one.when,
        "does": one.does,
        "release": "by hand" if one.release_minutes is None else f"after {one.release_minutes} min",
        "holds": sum(action.control == one.name and action.kind == kind for action in state.in_force),
    }


def _what(one: ControlAction) -> str:
    return f"{_DONE[one.action]} at {one.cap_concurrent}" if one.cap_concurrent else _DONE[one.action]


def _whom(one: ControlAction) -> str:
    return f"{one.peer}, code {one.code}" if one.code else one.peer


def _left(until: datetime | None, now: datetime) -> str:
    return formats.age(max(0.0, (until - now).total_seconds())) if until else ""


def _moment(moment: datetime, now: datetime) -> str:
    there, here = moment.astimezone(), now.astimezone()
    return f"{there:%H:%M:%S}" if there.date() == here.date() else f"{there:%Y-%m-%d %H:%M:%S}"


PAGE: Final = Page(
    path="/controls",
    title="Controls",
    area=AREA,
    layout=lambda _, role: layout(may_release=allowed(role, AREA, RELEASE)),
    callbacks=add_callbacks,
    order=50,
)
