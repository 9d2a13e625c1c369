"""Try a translation: what patterns make of numbers, step by step, before they are saved. It saves nothing."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dash import ALL, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.queries import SourceAwayError
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources
from dashboards.topics.translation_test.answer import answered
from dashboards.topics.translation_test.question import PATH, Asked, read_asked, search_of
from dashboards.topics.translation_test.words import WHAT
from router.check import SavedRules, TrialRule
from tariffs.patterns import MOST_PATTERN_CHARACTERS, MOST_PATTERNS, MOST_REPLACEMENT_CHARACTERS

__all__ = ["PATH", "add_callbacks", "layout"]
_PATTERNS: Final = {"type": "try-pattern", "at": ALL}
_REPLACEMENTS: Final = {"type": "try-replacement", "at": ALL}
_SIDES: Final = {"in": "what it sends us", "out": "what it is sent"}
_LONGEST_NUMBERS: Final = 8_000


def layout() -> Any:
    """The form, and room for the answer."""
    return html.Div(
        [
            dcc.Location(id="try-address", refresh=False),
            dcc.Store(id="try-asked", data=0),
            dcc.Store(id="try-filled", data=""),
            html.Datalist(id="try-peers"),
            html.Div([_whose(), _rules_form(), _numbers_form()], className="try-form"),
            html.Div(id="try-answer", className="check-answer"),
        ],
        className="check",
    )


def _whose() -> Any:
    peer = dcc.Input(
        id="try-peer", className="find", placeholder="its name, or nobody", debounce=True, maxLength=64,
        autoComplete="off", list="try-peers",
    )  # fmt: skip
    return html.Div(
        [
            html.Label([html.Span("Peer", className="field-name"), peer], className="field"),
            _choice("Text", "try-field", WHAT, "callee"),
            _choice("Direction", "try-direction", _SIDES, "in"),
            html.Span(id="try-note", className="try-note", role="status"),
        ],
        className="try-whose",
    )


def _choice(title: str, identity: str, options: Mapping[Any, str], value: str) -> Any:
    made = [{"value": key, "label": label} for key, label in options.items()]
    radio = dcc.RadioItems(id=identity, options=made, value=value, inline=True, className="choices")
    return html.Div([html.Span(title, className="field-name"), radio], className="field")


def _rules_form() -> Any:
    return html.Div(
        [
            html.Span("Rules, in their order: each sees what the one before it made", className="field-name"),
            html.Div(id="try-rules", className="try-rules"),
            html.Div(
                [
                    html.Button("Add a rule", id="try-add", className="button", n_clicks=0),
                    html.Button("Take the saved ones", id="try-saved", className="button", n_clicks=0),
                ],
                className="try-buttons",
            ),
        ],
        className="field try-side",
    )


def _numbers_form() -> Any:
    return html.Div(
        [
            html.Label(
                [
                    html.Span("Try them on, one a line", className="field-name"),
                    dcc.Textarea(id="try-numbers", className="try-numbers", maxLength=_LONGEST_NUMBERS, rows=5),
                ],
                className="field",
            ),
            html.Button("Try", id="try-go", className="button strong", n_clicks=0),
        ],
        className="field try-side",
    )


def add_callbacks(app: PageCallbacks, sources: Sources) -> None:
    """The address holds the question, as long as it fits; whoever opens it gets the answer."""
    _add_question(app, sources)
    _add_rules(app, sources)

    @app.callback(Output("try-peers", "children"), Input("try-address", "pathname"))
    def peers(_: str | None) -> list[Any]:
        return [html.Option(value=name) for name in sources.trials.names()]


def _add_question(app: PageCallbacks, sources: Sources) -> None:
    @app.callback(
        Output("try-peer", "value"),
        Output("try-field", "value"),
        Output("try-direction", "value"),
        Output("try-rules", "children"),
        Output("try-numbers", "value"),
        Output("try-filled", "data"),
        Output("try-note", "children"),
        Output("try-answer", "children"),
        Input("try-address", "search"),
        State("try-asked", "data"),
    )
    def opened(search: str | None, asked: int | None) -> tuple[Any, ...]:
        if asked:
            raise PreventUpdate
        question = read_asked(search)
        saved, note = _saved(sources, question.peer)
        rules = question.rules or (saved.rules[question.field] if saved is not None else ())
        direction = saved.direction if saved is not None else question.direction
        question = question._replace(rules=rules, direction=direction)
        filled = _filled(question.peer, question.field)
        numbers = "\n".join(question.numbers)
        return (
            question.peer, question.field, direction, rule_rows(rules), numbers, filled, note,
            answered(sources, question),
        )  # fmt: skip

    @app.callback(
        Output("try-answer", "children", allow_duplicate=True),
        Output("try-address", "search"),
        Output("try-asked", "data"),
        Input("try-go", "n_clicks"),
        Input(_PATTERNS, "n_submit"),
        Input(_REPLACEMENTS, "n_submit"),
        State("try-peer", "value"),
        State("try-field", "value"),
        State("try-direction", "value"),
        State(_PATTERNS, "value"),
        State(_REPLACEMENTS, "value"),
        State("try-numbers", "value"),
        State("try-asked", "data"),
        prevent_initial_call=True,
    )
    def tried(*given: Any) -> tuple[Any, ...]:
        _only_if_done()
        *texts, asked = given[3:]
        question = Asked.of(*texts)
        return answered(sources, question), search_of(question), int(asked or 0) + 1


def _add_rules(app: PageCallbacks, sources: Sources) -> None:
    @app.callback(
        Output("try-rules", "children", allow_duplicate=True),
        Output("try-direction", "value", allow_duplicate=True),
        Output("try-filled", "data", allow_duplicate=True),
        Output("try-note", "children", allow_duplicate=True),
        Input("try-peer", "value"),
        Input("try-field", "value"),
        Input("try-saved", "n_clicks"),
        State("try-filled", "data"),
        prevent_initial_call=True,
    )
    def filled(peer: str | None, field: Any, _: int, before: str | None) -> tuple[Any, ...]:
        asked = Asked.of(peer, field, "in", (), (), "")
        now = _filled(asked.peer, asked.field)
        if now == before and ctx.triggered_id != "try-saved":
            raise PreventUpdate  # the page has just been opened, with rules of its own
        saved, note = _saved(sources, asked.peer)
        if saved is None:  # what was typed stays: it may be for a peer that is still to be made
            return no_update, no_update, now, note
        return rule_rows(saved.rules[asked.field]), saved.direction, now, note

    @app.callback(
        Output("try-rules", "children", allow_duplicate=True),
        Input("try-add", "n_clicks"),
        Input({"type": "try-remove", "at": ALL}, "n_clicks"),
        Input({"type": "try-up", "at": ALL}, "n_clicks"),
        State(_PATTERNS, "value"),
        State(_REPLACEMENTS, "value"),
        prevent_initial_call=True,
    )
    def edited(_: int, _removed: Any, _raised: Any, patterns: Sequence[Any], replacements: Sequence[Any]) -> Any:
        _only_if_done()
        rules = list(Asked.of("", "callee", "in", patterns, replacements, "", keep_empty=True).rules)
        return rule_rows(changed(rules, ctx.triggered_id))


def changed(rules: list[TrialRule], by: Any) -> list[TrialRule]:
    """The rules after a button: one more at the end, one removed, one moved up."""
    if not isinstance(by, Mapping):
        return [*rules, TrialRule("")][:MOST_PATTERNS]
    at = int(by["at"])
    if by["type"] == "try-remove":
        return rules[:at] + rules[at + 1 :]
    if 0 < at < len(rules):
        rules[at - 1], rules[at] = rules[at], rules[at - 1]
    return rules


def _only_if_done() -> None:
    """Rows that are made anew are no click and no Enter."""
    if not any(one.get("value") for one in ctx.triggered):
        raise PreventUpdate


def _filled(peer: str, field: str) -> str:
    return f"{peer}|{field}"


def _saved(sources: Sources, peer: str) -> tuple[SavedRules | None, str]:
    """What is saved of a peer, and a line about it."""
    if not peer:
        return None, "Nobody's: no tech prefix, no country."
    try:
        saved = sources.trials.saved(peer)
    except SourceAwayError as error:
        return None, f"{error}."
    if saved is None:
        return None, "There is no peer of that name."
    prefix = f"tech prefix {saved.tech_prefix}" if saved.tech_prefix else "no tech prefix"
    country = f"country {saved.country.code}" + (
        f", national prefix {saved.country.national_prefix}" if saved.country.national_prefix else ""
    )
    rest = f", {country if saved.country.code else 'no country'}" if saved.direction == "in" else ""
    return saved, f"{'An originator' if saved.direction == 'in' else 'A terminator'}: {prefix}{rest}."


def rule_rows(rules: Sequence[TrialRule]) -> list[Any]:
    """A line for each rule, and an empty one where there is none."""
    return [_row(at, rule) for at, rule in enumerate(tuple(rules) or (TrialRule(""),))]


def _row(at: int, rule: TrialRule) -> Any:
    def text(name: str, value: str, hint: str, longest: int) -> Any:
        return dcc.Input(
            id={"type": f"try-{name}", "at": at}, className="find code", value=value, placeholder=hint,
            debounce=False, maxLength=longest, autoComplete="off", spellCheck="false",
        )  # fmt: skip

    def button(name: str, mark: str, title: str) -> Any:
        return html.Button(mark, id={"type": f"try-{name}", "at": at}, className="button", title=title, n_clicks=0)

    return html.Div(
        [
            html.Span(f"{at + 1}", className="try-number"),
            text("pattern", rule.pattern, "pattern, as ^011", MOST_PATTERN_CHARACTERS),
            html.Span("→", className="try-arrow"),
            text("replacement", rule.replacement, "nothing", MOST_REPLACEMENT_CHARACTERS),
            button("up", "↑", "one place up"),
            button("remove", "✕", "take it out"),
        ],
        className="try-rule",
    )


PAGE: Final = Page(
    path=PATH,
    title="Try translation",
    area="try-translation",
    layout=lambda *_: layout(),
    callbacks=add_callbacks,
    order=40,
)
