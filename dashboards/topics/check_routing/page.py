"""Check routing: where a call would go, now or at another moment, in words first and then vendor by vendor."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import flask
from dash import Input, Output, State, ctx, dcc, html, no_update

from dashboards.access.table import allowed, roles_of
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.shared import Word, marked
from dashboards.topics.call.decision import candidates_grid
from dashboards.topics.call.hunt import moment
from dashboards.topics.check_routing.words import answer_line, look_up_failed, look_up_line, sold_line
from dashboards.topics.reachability.words import reach_line
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources
from dashboards.topics.translation_test.question import link as trial_link
from router.check import Checked, Question, QuestionError, SnapshotAwayError, read_moment, read_seed
from router.core import seed_of
from router.server.vendor_reach import SKIPPED
from schemas.events import ExplainedCall
from schemas.refusals import Refusal, Verdict

PATH: Final = "/check-routing"
AREA: Final = "check-routing"
LOOK_UP: Final = "look up"
_FIRST: Final = ("from", "callee", "caller", "at", "node")
_MORE: Final = ("caller_name", "asserted", "privacy", "codecs", "seed", "routing_number")
_FIELDS: Final = (*_FIRST, *_MORE)
_AS_THEY_ARE: Final = ("callee", "caller", "node", "caller_name", "asserted", "privacy", "codecs", "routing_number")
_LABELS: Final = {
    "from": "Originator",
    "callee": "Number dialled",
    "caller": "Caller",
    "at": "At",
    "node": "Node",
    "caller_name": "Caller's name",
    "asserted": "P-Asserted-Identity",
    "privacy": "Privacy",
    "codecs": "Codecs offered",
    "seed": "Seed (what decides chance)",
    "routing_number": "Routing number",
}
_HINTS: Final = {
    "from": "its name",
    "callee": "as it dials it",
    "caller": "its number, or nothing",
    "at": "now, or 2026-12-01 08:30 UTC",
    "node": "any",
    "caller_name": "of From, or nothing",
    "asserted": "<sip:+441…@host>",
    "privacy": "id",
    "codecs": "g729,alaw, or nothing",
    "seed": "0",
    "routing_number": "as if looked up",
}
_LONGEST: Final = 256
_MOST_FIELDS: Final = 20
_MOST_LINKS: Final = 5
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

_REACH: Final = {
    "read": "Vendors that do not answer that node are skipped.",
    "away": "Which vendors answer is not known just now.",
    "unknown": "All vendors are taken to answer.",
}


def layout(*, may_look_up: bool) -> Any:
    """The form, and room for the answer."""
    look_up = dcc.Checklist(
        id="check-look-up",
        options=[{"value": "look_up", "label": "Really ask the look-up, once: its provider may charge for it"}],
        value=[],
        className="check-look-up",
    )
    more = html.Details(
        [
            html.Summary("More: what the INVITE says of the caller, chance, look-up"),
            html.Div([*map(_field, _MORE), html.Div(look_up, hidden=not may_look_up)], className="check-fields"),
        ],
        id="check-more",
        className="check-more",
    )
    return html.Div(
        [
            dcc.Location(id="check-address", refresh=False),
            dcc.Store(id="check-asked", data=0),
            html.Datalist(id="check-peers"),
            html.Div(
                [
                    *map(_field, _FIRST),
                    html.Button("Check", id="check-go", className="button strong", n_clicks=0),
                    more,
                ],
                className="check-form",
            ),
            html.Div(id="check-answer", className="check-answer"),
        ],
        className="check",
    )


def _field(name: str) -> Any:
    return html.Label(
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


def add_callbacks(app: PageCallbacks, sources: Sources) -> None:
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
        Output("check-more", "open"),
        Output("check-look-up", "value"),
        *[Output(f"check-{name}", "value") for name in _FIELDS],
        Input("check-address", "search"),
        Input("check-asked", "data"),
        State("check-look-up", "value"),
    )
    def answer(search: str | None, asked: int | None, ticked: Any) -> tuple[Any, ...]:
        question = question_of(search)
        # Only somebody's own click asks a look-up, once: no address does, no reload, no way back.
        clicked = bool(asked) and "check-asked" in ctx.triggered_prop_ids.values()
        look_up = clicked and bool(ticked)
        if look_up and not allowed(flask.g.user.role, AREA, LOOK_UP):
            return (_refused(f"Only {roles_of(AREA, LOOK_UP)} may ask look-ups."), no_update, [], *_unchanged())
        shown = [question[name] for name in _FIELDS] if not asked else _unchanged()
        opened = no_update if asked else any(question[name] for name in _MORE)
        return (_answered(sources, question, look_up=look_up), opened, [], *shown)

    @app.callback(Output("check-peers", "children"), Input("check-address", "pathname"))
    def peers(_: str | None) -> list[Any]:
        return [html.Option(value=name) for name in sources.checks.peers()]


def _unchanged() -> list[Any]:
    return [no_update] * len(_FIELDS)


def _refused(said: str) -> Any:
    return html.Div(marked(Word("red", said)), className="call-head")


def search_of(values: Mapping[str, Any]) -> str:
    """The address's query of a question, without what was left empty."""
    given = {name: str(values.get(name) or "").strip()[:_LONGEST] for name in _FIELDS}
    return "?" + urlencode({name: value for name, value in given.items() if value})


def question_of(search: str | None) -> dict[str, str]:
    """The question that an address holds; what it does not name is empty."""
    try:
        found = parse_qs((search or "").removeprefix("?"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        found = {}
    return {name: found.get(name, [""])[-1][:_LONGEST] for name in _FIELDS}


def link(decision: ExplainedCall, peer: str, *, then: bool = False) -> str:
    """The address that asks again what a decision was on: now, or as of then."""
    at = datetime.fromtimestamp(decision.routed_at_ms / 1000, UTC).isoformat(timespec="milliseconds") if then else ""
    return PATH + search_of(
        {
            "from": peer,
            "callee": decision.callee_dialled,
            "caller": decision.caller_dialled,
            "at": at,
            "seed": str(seed_of(decision.call_id)),  # so that chance decides as it did
        }
    )


def _answered(sources: Sources, question: Mapping[str, str], *, look_up: bool) -> Any:
    if not question["from"] or not question["callee"]:
        return html.P(
            "Name an originator and the number that it dials: the routers' own core says where the call would go, and "
            "why each other vendor is left out. No call is made; nothing is counted or held.",
            className="empty",
        )
    try:
        asked = Question(
            peer=question["from"],
            at_ms=read_moment(question["at"]),
            seed=read_seed(question["seed"]),
            look_up=look_up,
            **{name: question[name] for name in _AS_THEY_ARE},
        )
        checked = sources.checks.ask(asked)
    except (QuestionError, SnapshotAwayError) as error:
        return _refused(str(error))
    return body(checked)


def body(checked: Checked) -> Sequence[Any]:
    """The answer in words, the caller's side, and every vendor of the route class."""
    decision = checked.decision
    words = [Word("amber" if decision.reason else "normal", answer_line(decision))]
    if checked.identified != checked.peer:
        found = checked.identified or "nobody"
        words.append(Word("amber", f"This address and number are those of {found}, not of {checked.peer}."))
    words += [Word("amber", reach_line(one)) for one in checked.vendors if one.state in SKIPPED][:_MOST_LINKS]
    if looked_up := look_up_line(checked):
        words.append(Word("amber" if look_up_failed(checked) else "few", looked_up))
    steps = " → ".join(f"{step.number} ({step.what})" for step in checked.steps)
    caller = f"caller {decision.caller}" if decision.caller else "caller without digits"
    caller += ", withheld" if decision.withheld else ""
    return [
        html.Div(
            [
                *[html.Div(marked(word)) for word in words],
                html.P(f"{checked.peer}, {caller} · {steps}", className="parties"),
                *_trials(checked),
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
                    _REACH[checked.reach],
                    "The balance was not asked.",
                )
                if part
            ),
            className="decided",
        ),
        html.H2("Vendors of the route class, in the order of the decision"),
        html.Div(candidates_grid(decision, ()), className="candidates-grid"),
    ]


def _trials(checked: Checked) -> list[Any]:
    """Ways to the patterns that made no number."""
    decision = checked.decision
    if decision.reason == Refusal.BAD_NUMBER:
        address = trial_link(checked.identified, "in", "callee", decision.callee_dialled)
        return [dcc.Link("Try its patterns", href=address)]
    bad = [one.vendor for one in decision.candidates if one.verdict == Verdict.BAD_TRANSLATION]
    return [
        html.Div(dcc.Link(f"Try the patterns of {name}", href=trial_link(name, "out", "callee", decision.callee)))
        for name in bad[:_MOST_LINKS]
    ]


PAGE: Final = Page(
    path=PATH,
    title="Check routing",
    area=AREA,
    layout=lambda _, role: layout(may_look_up=allowed(role, AREA, LOOK_UP)),
    callbacks=add_callbacks,
    order=30,
)
