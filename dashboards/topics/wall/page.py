"""The wall: is anything wrong, and where? Ten figures against an hour ago; vendors, customers and destinations."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlencode

from dash import Input, Output, dcc, html, no_update

from dashboards.kit import formats
from dashboards.kit.figures import MIN_SAMPLE, Figure, Kind, Sums, by_name, lost_calls, read_sums, state_of, total
from dashboards.kit.live import LiveView
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.queries import DIMENSIONS, SourceAwayError
from dashboards.kit.shared import State, Word, card, column, freshness, grid, silent_nodes, state_line, too_few
from dashboards.kit.spark import spark
from dashboards.topics.audit.page import disk_words, wall_word
from dashboards.topics.controls import page as controls
from dashboards.topics.reachability import badge as reach_word
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources
from dashboards.topics.wall.judgement import summary
from schemas.ids import node_of

REFRESH_MS: Final = 3_000
WINDOWS: Final = {"5": "5 min", "15": "15 min", "60": "1 hour"}
DEFAULT_WINDOW: Final = "5"
CPS_SECONDS: Final = 60
MAX_ROWS: Final = 500
_NAME: Final = "streamcoNameLink"
_TITLES: Final = {"vendor": "Vendors", "customer": "Customers", "destination": "Destinations"}


class Minute(NamedTuple):
    """One minute of the last hour."""

    at: int
    sums: Sums
    attempts: int
    concurrent: int


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


def figure_cards(
    now: Sums, before: Sums, attempts: tuple[int, int], minutes: Sequence[Minute], view: LiveView, now_ms: int
) -> list[Any]:
    """The ten figures."""
    silent = silent_nodes(view, now_ms)
    unknown = sum(1 for call in view.calls if call.ended_at_ms is None and node_of(call.call_id) in silent)
    up = f"{unknown:,} of them last known" if silent else "up or in set-up"
    figure, was = now.figure("calls"), before.figure("calls")
    talking = sum(1 for call in view.calls if call.ended_at_ms is None)
    hour_ago = minutes[0].concurrent if minutes else None
    each = [minute.sums.figure("calls") for minute in minutes]
    cps, cps_before = (count / CPS_SECONDS for count in attempts)
    had_traffic = was.attempts > 0
    cards = [
        card("Concurrent", formats.count(talking) if view.complete else formats.UNKNOWN,
             formats.change(talking, hour_ago if had_traffic else None, decimals=0), more=up,
             picture=spark([minute.concurrent for minute in minutes])),
        card("CPS", f"{cps:.1f}", formats.change(cps, cps_before if attempts[1] else None),
             more=f"{attempts[0]:,} in {CPS_SECONDS} s", picture=spark([m.attempts for m in minutes])),
        _ratio_card("ASR", figure.asr_percent, was.asr_percent, figure.attempts, "calls", state_of(figure, was),
                    [one.asr_percent for one in each]),
        _card("ACD", formats.duration(figure.acd_seconds), figure.acd_seconds, was.acd_seconds, " s",
              f"{figure.answered:,} answered", [one.acd_seconds for one in each]),
        _ratio_card("NER", figure.ner_percent, was.ner_percent, figure.judged, "judged", "normal",
                    [one.ner_percent for one in each]),
        _card("PDD", formats.seconds(figure.mean_pdd_ms), _thousandth(figure.mean_pdd_ms), _thousandth(was.mean_pdd_ms),
              " s", f"mean of {figure.with_pdd:,}", [one.mean_pdd_ms for one in each]),
        _card("Minutes", f"{figure.minutes:,.0f}", figure.minutes, was.minutes if had_traffic else None, "",
              f"{now.refused:,} calls refused", [one.minutes for one in each]),
    ]  # fmt: skip
    return cards + _money_cards(now, before, minutes)


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000


def _card(
    title: str, value: str, now: float | None, before: float | None, unit: str, more: str, each: Sequence[float | None]
) -> Any:
    return card(title, value, formats.change(now, before, unit=unit), more=more, picture=spark(each))


def _ratio_card(
    title: str, now: float | None, before: float | None, sample: int, what: str, state: State,
    each: Sequence[float | None],
) -> Any:  # fmt: skip
    if now is None or sample < MIN_SAMPLE:
        return card(title, formats.UNKNOWN, too_few(sample), picture=spark(each), state="few")
    under = formats.change(now, before, unit=" pt")
    return card(title, f"{now:.1f}{formats.THIN}%", under, more=f"{sample:,} {what}", picture=spark(each), state=state)


def _money_cards(now: Sums, before: Sums, minutes: Sequence[Minute]) -> list[Any]:
    currencies = now.currencies() or before.currencies() or [""]
    main = currencies[0]

    def one(title: str, read: Any) -> Any:
        others = [formats.money(read(now, name), name) for name in currencies[1:]]
        was = read(before, main) if before.currencies() else None
        under = formats.change(read(now, main) / 1e6, None if was is None else was / 1e6, decimals=2)
        picture = spark([read(minute.sums, main) for minute in minutes])
        return card(title, formats.money(read(now, main)), under, more=" · ".join([main, *others]), picture=picture)

    return [
        one("Revenue", lambda sums, name: sums.revenue_micros.get(name, 0)),
        one("Cost", lambda sums, name: sums.cost_micros.get(name, 0)),
        one("Margin", lambda sums, name: sums.margin_micros(name)),
    ]


def rows(named: Mapping[str, tuple[Sums, Sums]], dimension: str, overall: Sums) -> list[dict[str, Any]]:
    """A grid's rows: what lost most answered calls first, then most traffic.

    Money is in the currency that most of a row's is in; another's is not mixed in.
    """
    kind: Kind = "legs" if dimension == "vendor" else "calls"
    currency = (overall.currencies() or [""])[0]
    made = [_row(name, now, before, kind, currency) for name, (now, before) in named.items() if _any(now, before, kind)]
    return sorted(made, key=lambda row: (-row["lost"], -row["attempts"], row["name"]))[:MAX_ROWS]


def _any(now: Sums, before: Sums, kind: Kind) -> bool:
    figure = now.figure(kind)
    return bool(figure.attempts or figure.refused or before.figure(kind).attempts)


def _row(name: str, now: Sums, before: Sums, kind: Kind, currency: str) -> dict[str, Any]:
    figure, was = now.figure(kind), before.figure(kind)
    own = (now.currencies() or [currency])[0]
    money = (now.cost_micros if kind == "legs" else now.revenue_micros).get(own, 0)
    enough = figure.attempts >= MIN_SAMPLE
    return {
        "id": name or "(none)",
        "name": name or "(unknown)",
        "attempts": figure.attempts,
        "refused": figure.refused,
        "lost": lost_calls(figure, was),
        "asr": _one(figure.asr_percent),
        "asr_state": state_of(figure, was),
        "asr_change": _one(_difference(figure, was)) if enough else None,
        "ner": _one(figure.ner_percent),
        "acd": figure.acd_seconds,
        "pdd": _one(_thousandth(figure.mean_pdd_ms)),
        "minutes": _one(figure.minutes),
        "money": money / 1e6,
        "margin": now.margin_micros(own) / 1e6,
        "currency": own if own != currency else "",
    }


def _difference(now: Figure, before: Figure) -> float | None:
    if now.asr_percent is None or before.asr_percent is None or before.attempts < MIN_SAMPLE:
        return None
    return now.asr_percent - before.asr_percent


def _one(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


PAGE: Final = Page(
    path="/",
    title="Wall",
    area="wall",
    layout=lambda *_: layout(),
    callbacks=add_callbacks,
    order=10,
)
