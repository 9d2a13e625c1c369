"""What became of the numbers that patterns were tried on: in words, then number by number and step by step."""

from collections.abc import Sequence
from typing import Any, Final

from dash import html

from dashboards.kit.queries import SourceAwayError
from dashboards.kit.shared import Word, marked
from dashboards.topics.sources import Sources
from dashboards.topics.translation_test.question import Asked
from dashboards.topics.translation_test.words import WHAT, as_saved, end_title, first_rule, idle_rules, means, summary
from router.check import TrialError, TrialRule, Tried
from router.core.trial import Step, Trial

_SHOWN_FAULTS: Final = 40


def answered(sources: Sources, asked: Asked) -> Any:
    """The answer, what is wrong with the question, or what to do."""
    if not asked.numbers:
        return html.P(
            "Write rules as they would be saved, and numbers as they arrive: what each rule makes of each number is "
            "shown, by the functions that calls use. Nothing is saved, no call is changed.",
            className="empty",
        )
    try:
        return body(sources.trials.ask(asked.question))
    except TrialError as error:
        said = [Word("red", str(fault)) for fault in error.faults[:_SHOWN_FAULTS]]
        return html.Div(
            [*[html.Div(marked(word)) for word in said], html.P("So nothing was tried.", className="parties")],
            className="call-head",
        )
    except SourceAwayError as error:
        return html.Div(marked(Word("red", f"{error}.")), className="call-head")


def body(tried: Tried) -> list[Any]:
    """In words; the table; the line that would save the rules."""
    words = [Word("amber" if look else "normal", text) for look, text in summary(tried)]
    if idle := idle_rules(tried):
        words.append(Word("few", idle))
    same = tried.rules == tried.saved
    kept = f"These rules are saved at {tried.peer}." if same else "These rules are not saved: try as often as you like."
    whose = (
        f"{WHAT[tried.field]}, {'from' if tried.direction == 'in' else 'to'} {tried.peer or 'nobody in particular'}."
    )
    return [
        html.Div(
            [
                *[html.Div(marked(word)) for word in words],
                html.P(" ".join((whose, *([kept] if tried.peer else []), "A dot: unchanged.")), className="parties"),
            ],
            className="call-head",
        ),
        html.Div(_table(tried), className="tried-room"),
        *([] if same else [html.H2("As it would be saved, at the peer in the world's file"), _line(tried)]),
    ]


def _line(tried: Tried) -> Any:
    return html.Pre(as_saved(tried.field, tried.rules), className="tried-line")


def _table(tried: Tried) -> Any:
    longest = max(tried.trials, key=lambda one: len(one.steps))
    first = first_rule(tried)
    heads = [_head(at - first, step, tried.rules) for at, step in enumerate(longest.steps)]
    given = "Name" if tried.field == "caller_name" else "Number"
    return html.Table(
        [
            html.Thead(html.Tr([html.Th(given), html.Th(end_title(tried)), *heads])),
            html.Tbody([_row(one, len(longest.steps)) for one in tried.trials]),
        ],
        className="tried",
        id="tried",
    )


def _head(at: int, step: Step, rules: Sequence[TrialRule]) -> Any:
    if 0 <= at < len(rules):
        text = f"{rules[at].pattern} → {rules[at].replacement or 'nothing'}"
        return html.Th([html.Span(f"Rule {at + 1}", className="rule-name"), html.Span(text, className="code")])
    return html.Th(html.Span(step.step[:1].upper() + step.step[1:], className="rule-name"))


def _row(one: Trial, steps: int) -> Any:
    cells = [_cell(step) for step in one.steps] + [html.Td("")] * (steps - len(one.steps))
    return html.Tr([html.Td(one.given, className="code"), html.Td(_end(one)), *cells])


def _end(one: Trial) -> Any:
    if not one.consequence:
        return html.Span(one.result, className="code result")
    word = Word("amber" if one.consequence == "NONE" else "red", means(one))
    return [html.Div(marked(word)), html.Div(one.refused, className="parties")]


def _cell(step: Step) -> Any:
    if step.before == step.after:
        return html.Td("·", className="dim", title="unchanged")
    return html.Td(step.after or "(nothing)", className="code")
