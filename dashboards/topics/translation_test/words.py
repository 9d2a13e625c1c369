"""Patterns that were tried, in words. Pure; imports no page."""

from collections.abc import Mapping, Sequence
from typing import Final

from router.check import TrialRule, Tried
from router.core.trial import Consequence, Direction, Field, Trial

WHAT: Final[Mapping[Field, str]] = {
    "callee": "Number dialled",
    "caller": "Caller's number",
    "caller_name": "Caller's name",
}
_ENDS: Final[Mapping[tuple[Direction, Field], str]] = {
    ("in", "callee"): "Billed as",
    ("in", "caller"): "Caller is billed as",
    ("in", "caller_name"): "Name passed on",
    ("out", "callee"): "Sent",
    ("out", "caller"): "Caller sent",
    ("out", "caller_name"): "Name sent",
}
_MEANS: Final[Mapping[Consequence, str]] = {
    "BAD NUMBER": "the call is refused, BAD NUMBER",
    "BAD TRANSLATION": "the vendor is passed over, BAD TRANSLATION",
    "NONE": "the call goes on without",
}


def end_title(tried: Tried) -> str:
    """What the last text is, for a call."""
    return _ENDS[tried.direction, tried.field]


def means(trial: Trial) -> str:
    """What a text without a result is for a call; nothing where it has one."""
    return _MEANS.get(trial.consequence, "")


def summary(tried: Tried) -> list[tuple[bool, str]]:
    """(whether it needs a look, words): how many go through, what becomes of the others."""
    noun = "name" if tried.field == "caller_name" else "number"
    count, lost = len(tried.trials), [one for one in tried.trials if one.consequence]
    if not lost:
        return [(False, f"This {noun} goes through." if count == 1 else f"All {count} {noun}s go through.")]
    found = []
    for consequence in ("BAD NUMBER", "BAD TRANSLATION", "NONE"):
        those = sum(one.consequence == consequence for one in lost)
        if those:
            which = f"This {noun}" if count == 1 else f"{those} of {count} {noun}s"
            found.append((True, f"{which}: {_MEANS[consequence]}."))
    return found


def idle_rules(tried: Tried) -> str:
    """Which rules change none of the texts; nothing where each changes one."""
    first = first_rule(tried)
    changed = {at - first for one in tried.trials for at, step in enumerate(one.steps) if step.before != step.after}
    idle = [str(at + 1) for at in range(len(tried.rules)) if at not in changed]
    if not idle:
        return ""
    return (
        f"Rule {idle[0]} changes none of them." if len(idle) == 1 else f"Rules {', '.join(idle)} change none of them."
    )


def first_rule(tried: Tried) -> int:
    """Which step, from 0, is that of the first rule."""
    return int(bool(tried.tech_prefix) and (tried.direction, tried.field) == ("in", "callee"))


def as_saved(field: Field, rules: Sequence[TrialRule]) -> str:
    """The line of a peer in the world's file that saves these rules of this field."""
    listed = ", ".join(
        f"{{pattern: {_quoted(one.pattern)}"
        + (f", replacement: {_quoted(one.replacement)}" if one.replacement else "")
        + "}"
        for one in rules
    )
    return f"translations: {{{field}: [{listed}]}}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
