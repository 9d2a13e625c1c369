"""Check routing: where a call would go, now or at another moment, in words first and then vendor by vendor."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from dash import Dash, Input, Output, State, dcc, html, no_update

from dashboards.pages.decision import candidates_grid
from dashboards.pages.hunt import moment
from dashboards.pages.shared import Sources, Word, marked
from dashboards.routing_words import answer_line, sold_line
from router.check import Checked, Question, QuestionError, SnapshotAwayError, read_moment
from schemas.events import CallRouted

PATH: Final = "/check-routing"
_FIELDS: Final = ("from", "callee", "caller", "at", "node")
_LABELS: Final = {"from": "Originator", "callee": "Number dialled", "caller": "Caller", "at": "At", "node": "Node"}
_HINTS: Final = {
    "from": "its name",
    "callee": "as it dials it",
    "caller": "its number, or nothing",
    "at": "now, or 2026-12-01 08:30 UTC",
    "node": "any",
}
_LONGEST: Final = 256
_SOURCES: Final = {
    "live": "the routers' own snapshot",
    "built": "a snapshot built for this moment: its prices, everything else as it is configured now",
}
_QUALITY: Final = {
    "read": "",
    "away": "The quality of vendors is not known just now: all are neutral.",
    "unknown": "The quality of vendors is known of now alone: all are neutral.",
}
_LIMITS: Final = {
    "read": "Limits that are full on that node count.",
    "away": "Which limits are full is not known just now.",
    "unknown": "All limits are taken to have room.",
}


def layout() -> Any:
    """The form, and room for the answer."""
    fields = [
        html.Label(
            [
                html.Span(_LABELS[name], className="field-name"),
                dcc.Input(
                    id=f"check-{name}",
                    className="find",
                    placeholder=_HINTS[name],
                    debounce=False,
                    maxLength=_LONGEST,
                    autoComplete="off",
                    list="check-peers" if name == "from" else None,
                ),
            ],
            className=f"field field-{name}",
        )
        for name in _FIELDS
    ]
    return html.Div(
        [
            dcc.Location(id="check-address", refresh=False),
            dcc.Store(id="check-asked", data=0),
            html.Datalist(id="check-peers"),
            html.Div(
                [*fields, html.Button("Check", id="check-go", className="button strong", n_clicks=0)],
                className="check-form",
            ),
            html.Div(id="check-answer", className="check-answer"),
        ],
        className="check",
    )


def add_callbacks(app: Dash, sources: Sources) -> None:
    """The address holds the question: asking changes it, and whoever opens it gets the answer."""

    @app.callback(
        Output("check-address", "search"),
        Output("check-asked", "data"),
        Input("check-go", "n_clicks"),
        *[Input(f"check-{name}", "n_submit") for name in _FIELDS],
        State("check-asked", "data"),
        *[State(f"check-{name}", "value") for name in _FIELDS],
        prevent_initial_call=True,
    )
    def ask(*given: Any) -> tuple[Any, int]:
        asked, values = given[-len(_FIELDS) - 1], given[-len(_FIELDS) :]
        return search_of(dict(zip(_FIELDS, values, strict=True))), int(asked or 0) + 1

    @app.callback(
        Output("check-answer", "children"),
        *[Output(f"check-{name}", "value") for name in _FIELDS],
        Input("check-address", "search"),
        Input("check-asked", "data"),
    )
    def answer(search: str | None, asked: int | None) -> tuple[Any, ...]:
        question = question_of(search)
        shown = [question[name] for name in _FIELDS] if not asked else [no_update] * len(_FIELDS)
        return (_answered(sources, question), *shown)

    @app.callback(Output("check-peers", "children"), Input("check-address", "pathname"))
    def peers(_: str | None) -> list[Any]:
        return [html.Option(value=name) for name in sources.checks.peers()]


def search_of(values: Mapping[str, Any]) -> str:
    """The address's query of a question, without what was left empty."""
    given = {name: str(values.get(name) or "").strip()[:_LONGEST] for name in _FIELDS}
    return "?" + urlencode({name: value for name, value in given.items() if value})


def question_of(search: str | None) -> dict[str, str]:
    """The question that an address holds; what it does not name is empty."""
    found = parse_qs((search or "").removeprefix("?"), max_num_fields=20)
    return {name: found.get(name, [""])[-1][:_LONGEST] for name in _FIELDS}


def link(decision: CallRouted, peer: str, *, then: bool = False) -> str:
    """The address that asks again what a decision was on: now, or as of then."""
    at = datetime.fromtimestamp(decision.routed_at_ms / 1000, UTC).isoformat(timespec="milliseconds") if then else ""
    return PATH + search_of(
        {"from": peer, "callee": decision.callee_dialled, "caller": decision.caller_dialled, "at": at}
    )


def _answered(sources: Sources, question: Mapping[str, str]) -> Any:
    if not question["from"] or not question["callee"]:
        return html.P(
            "Name an originator and the number that it dials: the routers' own core says where the call would go, and "
            "why each other vendor is left out. No call is made; nothing is counted or held.",
            className="empty",
        )
    try:
        asked = Question(
            question["from"], question["callee"], question["caller"], read_moment(question["at"]), question["node"]
        )
        checked = sources.checks.ask(asked)
    except (QuestionError, SnapshotAwayError) as error:
        return html.Div(marked(Word("red", str(error))), className="call-head")
    return body(checked)


def body(checked: Checked) -> Sequence[Any]:
    """The answer in words, the caller's side, and every vendor of the route class."""
    decision = checked.decision
    words = [Word("amber" if decision.reason else "normal", answer_line(decision))]
    if checked.identified != checked.peer:
        found = checked.identified or "nobody"
        words.append(Word("amber", f"This address and number are those of {found}, not of {checked.peer}."))
    steps = " → ".join(f"{step.number} ({step.what})" for step in checked.steps)
    caller = f"caller {decision.caller}" if decision.caller else "caller without digits"
    return [
        html.Div(
            [
                *[html.Div(marked(word)) for word in words],
                html.P(f"{checked.peer}, {caller} · {steps}", className="parties"),
            ],
            className="call-head",
        ),
        html.P(
            " ".join(
                part
                for part in (
                    sold_line(decision),
                    f"Asked of configuration {decision.generation} as of {moment(checked.at_ms)},",
                    f"{_SOURCES[checked.source]}.",
                    _QUALITY[checked.quality],
                    _LIMITS[checked.limits],
                    "The balance was not asked.",
                )
                if part
            ),
            className="decided",
        ),
        html.H2("Vendors of the route class, in the order of the decision"),
        html.Div(candidates_grid(decision, ()), className="candidates-grid"),
    ]
