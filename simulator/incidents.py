"""Incidents: what goes wrong, with whom, when. Pure: a text is parsed into frozen values, time comes in as an argument.

    KIND[:TARGET][=VALUE]@START[+DURATION]      vendor-down@30s   asr-drop:vendor-3=0.2@1m+30s   surge=4@20s+10s

START counts from the simulator's start; without DURATION it lasts to the end. A vendor's incident without TARGET
strikes the vendor that has carried the most legs when it begins, a node's the node with the most calls up.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

TargetKind = Literal["vendor", "customer", "code", "node"]


class IncidentError(ValueError):
    """A text that is no incident: names the text, the part and the rule."""


class IncidentKind(NamedTuple):
    """What an incident of this kind strikes, and its value: default, lowest, highest (None: it takes no value)."""

    target: TargetKind
    target_required: bool
    value: tuple[float, float, float] | None
    meaning: str


KINDS: Final[dict[str, IncidentKind]] = {
    "vendor-down": IncidentKind("vendor", False, None, "refuses every call with 503 at once"),
    "vendor-unreachable": IncidentKind("vendor", False, None, "answers nothing at all"),
    "vendor-slow": IncidentKind("vendor", False, (6.0, 0.1, 120.0), "answers VALUE seconds later than usual"),
    "asr-drop": IncidentKind("vendor", False, (0.3, 0.0, 1.0), "only VALUE of what it would answer is answered"),
    "false-answers": IncidentKind("vendor", False, (0.5, 0.0, 1.0), "answers VALUE of its calls itself, falsely"),
    "destination-down": IncidentKind("code", True, None, "every vendor fails numbers that begin with TARGET"),
    "node-crash": IncidentKind("node", False, None, "dies with its calls up; starts anew after DURATION, 2 s or more"),
    "surge": IncidentKind("customer", False, (3.0, 0.0, 100.0), "VALUE times the calls, of one customer or of all"),
}

_TEXT: Final = re.compile(
    r"(?P<kind>[a-z-]+)(:(?P<target>[^=@+]+))?(=(?P<value>[^@+]+))?@(?P<start>[^+]+)(\+(?P<duration>.+))?", re.ASCII
)
_TIME: Final = re.compile(r"(?P<number>\d{1,6}(\.\d{1,3})?)(?P<unit>ms|s|m|h)?", re.ASCII)
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TARGET_RULES: Final[dict[TargetKind, tuple[str, str]]] = {
    "vendor": (r"[a-z][a-z0-9-]{0,31}", "the name of a terminator"),
    "customer": (r"[a-z][a-z0-9-]{0,31}", "the name of an originator"),
    "node": (r"[a-z][a-z0-9]{0,15}", "the name of a node"),
    "code": (r"[0-9]{1,15}", "1 to 15 digits"),
}


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. `target` is '' where none was named; `duration_seconds` None: to the end."""

    kind: str
    target: str
    value: float
    start_seconds: float
    duration_seconds: float | None

    def is_on(self, elapsed_seconds: float) -> bool:
        """Whether it goes on `elapsed_seconds` after the simulator's start."""
        if elapsed_seconds < self.start_seconds:
            return False
        return self.duration_seconds is None or elapsed_seconds < self.start_seconds + self.duration_seconds


def parse_incident(text: str) -> Incident:
    """The incident of its text. Raises IncidentError."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise IncidentError(f"incident {text!r}: must be KIND[:TARGET][=VALUE]@START[+DURATION], as vendor-down@30s")
    name = match["kind"]
    kind = KINDS.get(name)
    if kind is None:
        raise IncidentError(f"incident {text!r}: kind {name!r} must be one of {', '.join(KINDS)}")
    target = match["target"] or ""
    pattern, rule = _TARGET_RULES[kind.target]
    if (target and re.fullmatch(pattern, target, re.ASCII) is None) or (kind.target_required and not target):
        raise IncidentError(f"incident {text!r}: target {target!r} must be {rule}")
    duration = match["duration"]
    return Incident(
        kind=name,
        target=target,
        value=_parse_value(text, kind, match["value"]),
        start_seconds=_parse_seconds(text, "start", match["start"]),
        duration_seconds=None if duration is None else _parse_seconds(text, "duration", duration),
    )


def _parse_value(text: str, kind: IncidentKind, value: str | None) -> float:
    if kind.value is None:
        if value is not None:
            raise IncidentError(f"incident {text!r}: value {value!r}: this kind takes none")
        return 0.0
    default, lowest, highest = kind.value
    if value is None:
        return default
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value, re.ASCII) is None or not lowest <= float(value) <= highest:
        raise IncidentError(f"incident {text!r}: value {value!r} must be a number from {lowest:g} to {highest:g}")
    return float(value)


def _parse_seconds(text: str, part: str, value: str) -> float:
    match = _TIME.fullmatch(value)
    if match is None:
        raise IncidentError(f"incident {text!r}: {part} {value!r} must be a time as 30s, 500ms, 2m or 1h")
    return float(match["number"]) * _UNIT_SECONDS[match["unit"] or "s"]
