"""What every page is made of: the state line, cards, grids in one style."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import dash_ag_grid as dag
from dash import dcc, html

from dashboards.kit import formats
from dashboards.kit.live import LiveView

AMBER_LAG_MS: Final = 5_000
NODE_SILENT_MS: Final = 15_000
State = Literal["normal", "amber", "red", "few"]
_MARKS: Final[Mapping[State, str]] = {"normal": "●", "amber": "▲", "red": "■", "few": "○"}


@dataclass(frozen=True)
class Word:
    """A state in words, with its mark. `href`: the page that says more."""

    state: State
    text: str
    href: str = ""


def freshness(view: LiveView, now_ms: int) -> Word:
    """How old the live view is, and what that means."""
    if view.away_since_ms is not None:
        return Word("red", f"no live data since {_clock(view.away_since_ms)}: Kafka does not answer")
    if not view.complete:
        return Word("amber", "reading the live calls …")
    newest = max((node.at_ms for node in view.nodes), default=None)
    if newest is None:
        return Word("amber", "no node has been heard yet")
    silent = silent_nodes(view, now_ms)
    if silent:
        said = ", ".join(f"{node} silent since {_clock(at_ms)}" for node, at_ms in sorted(silent.items()))
        return Word("red", f"{said}: calls there are shown as last known")
    if view.lag_ms > AMBER_LAG_MS:
        return Word("amber", f"live, {view.lag_ms / 1000:.1f} s behind")
    return Word("normal", f"live, {view.lag_ms / 1000:.1f} s behind")


def silent_nodes(view: LiveView, now_ms: int) -> dict[str, int]:
    """The nodes that have stopped answering, and since when: the moment (ms) of their last heartbeat."""
    return {node.node: node.at_ms for node in view.nodes if now_ms - node.at_ms > NODE_SILENT_MS}


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%H:%M:%S")


def marked(word: Word, class_name: str = "word") -> Any:
    """A state as mark and words: never by colour alone."""
    text = dcc.Link(word.text, href=word.href, className="name-link") if word.href else word.text
    return html.Span(
        [html.Span(_MARKS[word.state], className="mark-of-state"), text], className=f"{class_name} {word.state}"
    )


def state_line(words: Sequence[Word], live: Word, now_ms: int, more: str = "") -> Any:
    """The first line of a page: what matters, in words; how fresh it is. The browser watches its moment go on."""
    moment: dict[str, Any] = {"data-at": str(now_ms)}
    return html.Div(
        [
            html.Div([marked(word) for word in words], className="words"),
            html.Div([html.Span(more, className="more"), marked(live, "word live")], className="fresh"),
        ],
        className="state-line",
        **moment,
    )


def card(title: str, value: str, under: str, *, picture: str = "", more: str = "", state: State = "normal") -> Any:
    """A figure with its name, its comparison and its last hour."""
    return html.Div(
        [
            html.Div(title, className="card-title"),
            html.Div(value, className="card-value"),
            html.Div(under, className="card-under"),
            html.Div(more or "\u00a0", className="card-more"),
            html.Img(src=picture, className="card-spark", alt="") if picture else html.Div(className="card-spark"),
        ],
        className=f"card {state}",
    )


def column(field: str, name: str, *, width: int, kind: str = "text", **more: Any) -> dict[str, Any]:
    """A grid's column. Kinds: text, number (right, tabular), phone."""
    options: dict[str, Any] = {"field": field, "headerName": name, "width": width, "cellClass": f"cell-{kind}"}
    if kind == "number":
        options |= {"type": "rightAligned", "headerClass": "ag-right-aligned-header"}
    return options | more


def grid(
    identity: str, columns: Sequence[Mapping[str, Any]], *, empty: str, rows: Sequence[Any] = (), **options: Any
) -> Any:
    """A grid in the one style; rows have an `id` and keep their place while they change."""
    return dag.AgGrid(
        id=identity,
        columnDefs=list(columns),
        rowData=list(rows),
        getRowId="params.data.id",
        defaultColDef={"sortable": True, "resizable": True, "suppressMovable": True, "filter": False},
        dashGridOptions={
            "animateRows": False,
            "rowHeight": 30,
            "headerHeight": 32,
            "suppressCellFocus": True,
            "enableCellTextSelection": True,
            "localeText": {"noRowsToShow": empty},
            "tooltipShowDelay": 300,
            **options,
        },
        className="grid",
        style={"height": "100%", "width": "100%"},
    )


def too_few(sample: int) -> str:
    """What stands where a ratio would mislead."""
    return f"too few ({formats.count(sample)})"
