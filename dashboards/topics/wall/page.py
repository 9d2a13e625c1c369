"""The wall: is anything wrong, and where? Ten figures against an hour ago; vendors, customers and destinations."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from dash import Input, Output, dcc, html, no_update

from dashboards.kit.figures import Sums, by_name, read_sums, total
from dashboards.kit.live import LiveView
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.queries import DIMENSIONS, SourceAwayError
from dashboards.kit.shared import Word, column, freshness, grid, state_line
from dashboards.topics.audit.page import disk_words, wall_word
from dashboards.topics.controls import page as controls
from dashboards.topics.reachability import badge as reach_word
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources
from dashboards.topics.wall.cards import CPS_SECONDS, Minute, figure_cards
from dashboards.topics.wall.judgement import summary
from dashboards.topics.wall.rows import rows

REFRESH_MS: Final = 3_000
WINDOWS: Final = {"5": "5 min", "15": "15 min", "60": "1 hour"}
DEFAULT_WINDOW: Final = "5"
_NAME: Final = "streamcoNameLink"
_TITLES: Final = {"vendor": "Vendors", "customer": "Customers", "destination": "Destinations"}


def layout() -> Any:
    """The page without its figures."""
    return html.Div(
        [
            dcc.Interval(id="wall-tick", interval=REFRESH_MS),
            dcc.Location(id="wall-address", refresh="callback-nav"),
            html.Div(
                [
                    html.Div(id="wall-state", className="grow"),
                    dcc.RadioItems(
                        id="wall-window",
                        options=[{"value": value, "label": label} for value, label in WINDOWS.items()],
                        value=DEFAULT_WINDOW,
                        inline=True,
                        className="choices",
                    ),
                ],
                className="topline",
            ),
            html.Div(id="wall-cards", className="cards"),
            html.Div([_panel(dimension) for dimension in DIMENSIONS], className="panels"),
        ],
        className="wall",
    )


def _panel(dimension: str) -> Any:
    money = "cost" if dimension == "vendor" else "revenue"
    columns = [
        column(
            "name", _TITLES[dimension][:-1], width=140, flex=1, minWidth=96, tooltipField="name", cellRenderer=_NAME
        ),
        column("attempts", "Legs" if dimension == "vendor" else "Calls", width=54, kind="number", **_number("count")),
        *([] if dimension == "vendor" else [_refused_column()]),
        column("asr", "ASR %", width=64, kind="number", **_number("one"), cellClassRules=_rules("asr_state")),
        column("asr_change", "vs 1 h", width=60, kind="number", **_number("change")),
        column("ner", "NER %", width=58, kind="number", **_number("one")),
        column("acd", "ACD", width=52, kind="number", **_number("duration")),
        column("pdd", "PDD s", width=56, kind="number", **_number("one")),
        column("minutes", "Min", width=54, kind="number", **_number("one")),
        column("money", money.capitalize(), width=74, kind="number", **_number("money")),
        column("margin", "Margin", width=74, kind="number", **_number("money")),
    ]
    empty = "No traffic has ended in this window yet."
    return html.Section(
        [
            html.H2(_TITLES[dimension]),
            html.Div(grid(f"wall-{dimension}", columns, empty=empty), className="panel-grid"),
        ],
        className="panel",
    )


def _refused_column() -> dict[str, Any]:
    tip = "attempts refused by the router: not in the ASR"
    return column("refused", "Ref.", width=46, kind="number", headerTooltip=tip, **_number("count"))


def _number(kind: str) -> dict[str, Any]:
    return {"valueFormatter": {"function": f"streamcoFormat.{kind}(params.value, params.data)"}, "filter": False}


def _rules(field: str) -> dict[str, str]:
    return {state: f"params.data.{field} === '{state}'" for state in ("amber", "red", "few")}


def add_callbacks(app: PageCallbacks, sources: Sources) -> None:
    """The page's life."""

    @app.callback(
        Output("wall-state", "children"),
        Output("wall-cards", "children"),
        *(Output(f"wall-{dimension}", "rowData") for dimension in DIMENSIONS),
        Input("wall-tick", "n_intervals"),
        Input("wall-window", "value"),
    )
    def refresh(_: int | None, window: str) -> tuple[Any, ...]:
        view, now_ms = sources.live.view(), sources.now_ms()
        live = freshness(view, now_ms)
        span = timedelta(minutes=int(window if window in WINDOWS else DEFAULT_WINDOW))
        try:
            named = {dimension: by_name(sources.queries.by_dimension(dimension, span)) for dimension in DIMENSIONS}
            attempts = sources.queries.attempts(timedelta(seconds=CPS_SECONDS))
            minutes = last_hour(sources, view, now_ms)
        except SourceAwayError as error:
            return state_line([Word("red", f"{error}: the figures below are old")], live, now_ms), *([no_update] * 4)
        now, before = total(named["customer"])
        audits = sources.audits.state()
        audited = wall_word(audits, sources.clock())
        words = summary(named, now, before)
        if audited is not None:  # money before quality; that it has not run yet comes last
            words = [audited, *words] if audited.state == "red" else [*words, audited]
        more = (controls.wall_word(sources.controls.state()), reach_word.wall_word(sources.reach.state()))
        words = [*disk_words(audits), *(word for word in more if word), *words]
        cards = figure_cards(now, before, attempts, minutes, view, now_ms)
        lines = [rows(named[dimension], dimension, now) for dimension in DIMENSIONS]
        text = "ended in the window, against the same an hour ago"
        return state_line(words, live, now_ms, text), cards, *lines

    @app.callback(Output("wall-window", "value"), Input("wall-address", "search"), prevent_initial_call=False)
    def from_address(search: str | None) -> str:
        wanted = parse_qs((search or "").lstrip("?")).get("window", [DEFAULT_WINDOW])[0]
        return wanted if wanted in WINDOWS else DEFAULT_WINDOW

    @app.callback(Output("wall-address", "search"), Input("wall-window", "value"), prevent_initial_call=True)
    def to_address(window: str) -> str:
        return "?" + urlencode({"window": window})


def last_hour(sources: Sources, view: LiveView, now_ms: int) -> list[Minute]:
    """Sixty minutes, oldest first; the one that runs is left out. Raises SourceAwayError."""
    sums: dict[int, Sums] = {}
    for row in sources.queries.minutes("by_minute"):
        sums[row["minute"]] = sums.get(row["minute"], Sums()) + read_sums(row)
    attempts = {row["minute"]: row["attempts"] for row in sources.queries.minutes("attempts_by_minute")}
    ended = {row["minute"]: row["concurrent"] for row in sources.queries.minutes("concurrent_by_minute")}
    running = now_ms // 60_000 * 60
    starts = sorted(c.call_started_at_ms for c in view.calls if c.ended_at_ms is None and c.call_started_at_ms)
    return [
        Minute(at, sums.get(at, Sums()), attempts.get(at, 0), ended.get(at, 0) + _started_by(starts, at * 1000))
        for at in range(running - 3600, running, 60)
    ]


def _started_by(starts: Sequence[int], at_ms: int) -> int:
    return bisect_right(starts, at_ms)


PAGE: Final = Page(
    path="/",
    title="Wall",
    area="wall",
    layout=lambda *_: layout(),
    callbacks=add_callbacks,
    order=10,
)
