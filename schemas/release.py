"""Release rules: what the end of a leg means for the hunt and for the caller, and how router and dialplan say it.

A rule's key is what ended the leg: a final SIP code (`sip`, 300 to 699), a Q.850 cause (`cause`, 1 to 127), that it
rang and nobody answered in time (`no_answer`), or that there was no sign of life in time (`no_progress`). A rule lets
the hunt go on or stops it, and may say which cause the caller hears if no further leg follows.

On the wire a list of rules is text, `-key-rule-key-rule…`, as `-17-s-404-c34-na-s`: causes and SIP codes are numbers
that never meet, a rule is `c` (continue) or `s` (stop) with the caller's cause behind it. The first field is empty: the
dialplan takes the field behind the key, and behind a key that is not there (position 0) stands nothing.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Kind = Literal["cause", "sip", "no_answer", "no_progress"]
Action = Literal["continue", "stop"]

NO_ANSWER: Final = "na"
NO_PROGRESS: Final = "np"
NO_PROGRESS_CAUSE: Final = 18  # Q.850's "no user responding": neither alerting nor connect in the time allowed
LOOP_CAUSE: Final = 25  # of a vendor's 483, for which Asterisk itself has 19: no answer of the called party's
REDIRECTED_CAUSE: Final = 23  # what Asterisk makes of a 302, which is never followed
MAX_RULES: Final = 100  # of one table: 900 characters at most
RANGES: Final[dict[Kind, tuple[int, int]]] = {
    "cause": (1, 127), "sip": (300, 699), "no_answer": (0, 0), "no_progress": (0, 0),
}  # fmt: skip


class ReleaseError(ValueError):
    """A rule that cannot be: names the field, the value and the rule."""


class Rule(NamedTuple):
    """`code` is the SIP code or cause of its kind, else 0. `caller_cause` 0: what the leg itself came to."""

    kind: Kind
    code: int
    action: Action
    caller_cause: int = 0


def encode_rules(rules: Iterable[Rule]) -> str:
    """The rules of one table, as text; empty if there are none. Raises ReleaseError."""
    found: dict[str, str] = {}
    for rule in rules:
        low, high = RANGES[rule.kind]
        if not low <= rule.code <= high:
            raise ReleaseError(f"code {rule.code} of kind {rule.kind}: must be {low} to {high}")
        if not 0 <= rule.caller_cause <= 127:
            raise ReleaseError(f"caller_cause {rule.caller_cause}: must be a Q.850 cause, 1 to 127, or 0")
        if key_of(rule.kind, rule.code) in found:
            raise ReleaseError(f"code {rule.code} of kind {rule.kind}: there are two rules")
        found[key_of(rule.kind, rule.code)] = rule.action[0] + (str(rule.caller_cause) if rule.caller_cause else "")
    if len(found) > MAX_RULES:
        raise ReleaseError(f"{len(found)} rules: a table has at most {MAX_RULES}")
    return "".join(f"-{key}-{said}" for key, said in found.items())


def key_of(kind: Kind, code: int) -> str:
    """A rule's key as it stands in the text."""
    return {"no_answer": NO_ANSWER, "no_progress": NO_PROGRESS}.get(kind, str(code))
