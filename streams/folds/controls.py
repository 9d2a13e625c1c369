"""Controllers: when does a vendor, a code or a customer go too far, and what is done about it? Pure.

A check has no memory: the last N checks are all judged anew from the window of legs, so that a restart, a replay or a
second controller finds the same, and an action's id is made of what was checked and when. What was released is judged
only by what came after its release.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from functools import partial
from typing import Final, Literal, NamedTuple

import msgspec

from streams.folds.quality import Figures, Key
from streams.folds.window import Sums

LATE_MS: Final = 5_000  # a check waits so long for the legs of its window
SPARE_MS: Final = 60_000  # a window is so much longer than the checks reach
Metric = Literal["asr", "acd", "ner", "pdd", "fas"]
Measure = Literal["concurrent", "cps", "minutes", "spend", "new_destinations"]
_TOO_LOW: Final = frozenset(("asr", "acd", "ner"))
_UNIT: Final[Mapping[str, str]] = {"asr": "%", "ner": "%", "fas": "%", "acd": "s", "pdd": "s"}
_OF: Final[Mapping[str, str]] = {
    "asr": "legs", "ner": "legs", "fas": "answered legs", "acd": "answered legs", "pdd": "legs that rang",
}  # fmt: skip
_MEASURED: Final[Mapping[Measure, str]] = {
    "concurrent": "calls at once", "cps": "calls a second", "minutes": "minutes", "spend": "spent",
    "new_destinations": "destinations that are new to him",
}  # fmt: skip
E6: Final = 1_000_000


class Scope(NamedTuple):
    """What is acted upon: a peer, or one code of it."""

    peer_id: int
    code: str = ""


class TerminationControl(msgspec.Struct, frozen=True):
    """As the table of the same name. `peer_id` 0: every vendor. `threshold_e2`: hundredths of a percent or second."""

    control_id: int
    name: str
    peer_id: int
    scope: Literal["vendor", "code"]
    code_prefix: str
    metric: Metric
    threshold_e2: int
    checks: int
    check_seconds: int
    window_seconds: int
    minimum_sample: int
    action: Literal["block", "demote"]
    release_minutes: int | None
    most_actions: int
    notify: bool


class OriginationControl(msgspec.Struct, frozen=True):
    """As the table of the same name; thresholds in millionths. `timetable_e6` holds while the timetable does."""

    control_id: int
    name: str
    peer_id: int
    measure: Measure
    threshold_e6: int
    timetable: str
    time_zone: str
    timetable_e6: int | None
    window_seconds: int
    check_seconds: int
    action: Literal["block", "cap"]
    cap_concurrent: int | None
    release_minutes: int | None
    most_actions: int
    notify: bool


Control = TerminationControl | OriginationControl


class Action(msgspec.Struct, frozen=True):
    """What a control does: a row of control_actions. Moments in unix milliseconds."""

    action_id: str
    kind: Literal["termination", "origination"]
    control_id: int
    control: str
    peer_id: int
    code: str
    action: Literal["block", "demote", "cap"]
    cap_concurrent: int | None
    reason: str
    since_ms: int
    until_ms: int | None
    notify: bool


class Known(NamedTuple):
    """What the table says of one control: its scopes in force, and when each other was released last."""

    in_force: Set[Scope]
    released_ms: Mapping[Scope, int]


NOTHING_KNOWN: Final = Known(frozenset(), {})


def moment_of(control: Control, now_ms: int) -> int:
    """The newest check of a control at `now_ms`, which everybody who checks agrees about."""
    step_ms = control.check_seconds * 1000
    return (now_ms - LATE_MS) // step_ms * step_ms


def reach_ms(controls: Iterable[Control]) -> int:
    """How far back the checks of these controls look."""
    lengths = [
        one.window_seconds + (one.checks * one.check_seconds if isinstance(one, TerminationControl) else 0)
        for one in controls
    ]
    return max(lengths, default=0) * 1000 + SPARE_MS


def figure_of(metric: Metric, figures: Figures) -> tuple[int | None, int]:
    """(value in hundredths of a percent or second, its sample); no value without a sample."""
    whole, sample = {
        "asr": (figures.answered * 10_000, figures.attempts),
        "ner": (figures.effective * 10_000, figures.effective_of),
        "fas": (figures.suspects * 10_000, figures.answered),
        "acd": (figures.talk_ms // 10, figures.answered),
        "pdd": (figures.pdd_ms // 10, figures.pdd_legs),
    }[metric]
    return (whole // sample if sample else None), sample


def is_bad(control: TerminationControl, figures: Figures) -> bool:
    """Whether a check finds the figure beyond the threshold, with the sample that is asked for."""
    value, sample = figure_of(control.metric, figures)
    if value is None or sample < control.minimum_sample:
        return False
    return value < control.threshold_e2 if control.metric in _TOO_LOW else value > control.threshold_e2


def check_vendor(
    control: TerminationControl, between: Callable[[int, int], Figures], moment_ms: int, released_ms: int = 0
) -> str:
    """Why this scope is to be acted upon at the check of `moment_ms`; empty if it is not.

    `between(from_ms, until_ms)`: its figures of the legs that ended then. What was before the release is not
    counted.
    """
    step_ms, window_ms = control.check_seconds * 1000, control.window_seconds * 1000
    for number in range(control.checks):
        at_ms = moment_ms - number * step_ms
        if at_ms <= released_ms or not is_bad(control, between(max(released_ms, at_ms - window_ms), at_ms)):
            return ""
    value, sample = figure_of(control.metric, between(max(released_ms, moment_ms - window_ms), moment_ms))
    side, unit = ("below" if control.metric in _TOO_LOW else "above"), _UNIT[control.metric]
    times = f", in {control.checks} checks on end" if control.checks > 1 else ""
    return (
        f"{control.metric.upper()} {_hundredths(value or 0)} {unit} of {sample} {_OF[control.metric]} in "
        f"{control.window_seconds} s, {side} {_hundredths(control.threshold_e2)} {unit}{times}"
    )


def termination_actions(
    control: TerminationControl,
    totals: Mapping[Key, Sums],
    between: Callable[[Key, int, int], Figures],
    moment_ms: int,
    known: Known = NOTHING_KNOWN,
) -> list[Action]:
    """What a control does at a check: one action for each scope that is bad and not in force, the one with most legs
    first, and never more in force at once than the control allows.

    `totals`: everybody with legs; `between(key, from_ms, until_ms)`: his figures by the control's metric.
    """
    found: list[Action] = []
    for key in sorted(_watched(control, totals), key=lambda key: (-totals[key][0], key)):
        scope = Scope(key.peer_id, key.code)
        if scope in known.in_force:
            continue
        reason = check_vendor(
            control,
            partial(between, key),
            moment_ms,
            known.released_ms.get(scope, 0),
        )
        if reason:
            found.append(_action("termination", control, scope, reason, moment_ms))
    return found[: max(0, control.most_actions - len(known.in_force))]


def _watched(control: TerminationControl, totals: Iterable[Key]) -> Iterable[Key]:
    side = "vendor" if control.scope == "vendor" else "vendor_code"
    for key in totals:
        if key.side == side and control.peer_id in (0, key.peer_id) and key.code.startswith(control.code_prefix):
            yield key


def origination_actions(
    control: OriginationControl, threshold_e6: int, measured: Mapping[int, int], moment_ms: int,
    known: Known = NOTHING_KNOWN,
) -> list[Action]:  # fmt: skip
    """What a control does at a check. `measured`: the measure of each customer's peer, in millionths; `threshold_e6`:
    the one that holds at that moment. After a release a peer has the length of the window before he is judged again.
    """
    found: list[Action] = []
    for peer_id, value_e6 in sorted(measured.items(), key=lambda item: (-item[1], item[0])):
        scope = Scope(peer_id)
        grace_ms = known.released_ms.get(scope, -E6 * E6) + control.window_seconds * 1000
        if value_e6 <= threshold_e6 or scope in known.in_force or moment_ms < grace_ms:
            continue
        if control.peer_id not in (0, peer_id):
            continue
        span = "" if control.measure == "concurrent" else f" in {control.window_seconds} s"
        at_night = " of this hour" if control.timetable and threshold_e6 == control.timetable_e6 else ""
        reason = (
            f"{_millionths(value_e6)} {_MEASURED[control.measure]}{span}, above {_millionths(threshold_e6)}{at_night}"
        )
        found.append(_action("origination", control, scope, reason, moment_ms))
    return found[: max(0, control.most_actions - len(known.in_force))]


def _action(
    kind: Literal["termination", "origination"], control: Control, scope: Scope, reason: str, moment_ms: int
) -> Action:
    return Action(
        action_id=f"{kind}/{control.control_id}/{scope.peer_id}/{scope.code}/{moment_ms // 1000}",
        kind=kind,
        control_id=control.control_id,
        control=control.name,
        peer_id=scope.peer_id,
        code=scope.code,
        action=control.action,
        cap_concurrent=control.cap_concurrent if isinstance(control, OriginationControl) else None,
        reason=reason,
        since_ms=moment_ms,
        until_ms=None if control.release_minutes is None else moment_ms + control.release_minutes * 60_000,
        notify=control.notify,
    )


def _hundredths(value: int) -> str:
    return f"{value // 100}.{value % 100:02d}".rstrip("0").rstrip(".")


def _millionths(value: int) -> str:
    return f"{value // E6}.{value % E6:06d}".rstrip("0").rstrip(".")
