"""Calls as the journal has them, whole or cut by a crash: lines of hunts with any outcome, by node and epoch."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas import events
from schemas.events import CallEnded, LegEnded
from schemas.facts import Facts, encode_facts
from schemas.journal import encode_line

_EXAMPLES: Final = Path(events.__file__).parent / "examples"
_CALL: Any = events.decode_event((_EXAMPLES / "call_ended.json").read_bytes())
CALL_FACTS: Final[Facts] = _CALL.facts
LEG_FACTS: Final[Facts] = _CALL.last_facts
NODE: Final = "sim1"
OLD, NEW = 1_795_609_861, 1_795_613_461
START_MS: Final = 1_795_609_900_000


def call_id_of(number: int, epoch: int = OLD, node: str = NODE) -> str:
    """A call's id like no other's."""
    return f"{node}-{epoch}-{START_MS // 1000 + number // 900:010d}.{number}"


def call_lines(
    number: int, legs: Sequence[str], epoch: int = OLD, node: str = NODE, at_ms: int = START_MS, talk_ms: int = 30_000
) -> list[bytes]:
    """The lines of one call. `legs`: each leg's outcome, `fails` or, of the last alone, `answers`."""
    call, begin_ms = call_id_of(number, epoch, node), at_ms
    facts = encode_facts(msgspec.structs.replace(LEG_FACTS, vendor_peer_id=78))
    lines = []
    now_ms = at_ms + 40
    answered: dict[str, str] = {"ansms": ""}
    for leg, outcome in enumerate(legs, 1):
        start_ms = now_ms
        values = {"call": call, "leg": str(leg), "at": _seconds(now_ms), "begin": _seconds(begin_ms), "facts": facts}
        lines.append(_line("LEG_START", now_ms, {**values, "cfacts": encode_facts(CALL_FACTS)}))
        now_ms += 2_000
        if outcome == "answers":
            answered = {"ansms": str(talk_ms)}
            lines += [_line("ANSWER", now_ms, {"call": call, "leg": of_leg}) for of_leg in (str(leg), "")]
            now_ms += talk_ms
        result = {
            "call": call, "leg": str(leg), "begin": _seconds(begin_ms), "start": _seconds(start_ms),
            "end": _seconds(now_ms), "ring": "", "prog": "", "sip": "",
            "status": "ANSWER" if outcome == "answers" else "CONGESTION", "cause": "16" if answered["ansms"] else "34",
            "src": "caller" if answered["ansms"] else "callee", "facts": facts, **answered,
        }  # fmt: skip
        lines.append(_line("LEG_RESULT", now_ms, result))
    end = {
        "call": call, "start": _seconds(begin_ms), "end": _seconds(now_ms), "pdd": "",
        "status": "ANSWER" if answered["ansms"] else "CONGESTION", "cause": "16" if answered["ansms"] else "34",
        "src": "us", "legs": str(len(legs)), "reason": "", "caller": "", "callee": "", "endpoint": "", "addr": "",
        "facts": encode_facts(CALL_FACTS), "last": facts if legs else "", **answered,
    }  # fmt: skip
    lines.append(_line("CALL_END", now_ms, end))
    return lines


def crashed_journal(seed: int, calls: int, epoch: int = OLD) -> tuple[list[bytes], dict[str, list[bytes]]]:
    """(lines of many calls mixed as they happen, the lines of those that a crash cut off by call id)."""
    chosen = random.Random(seed)
    stories: list[list[bytes]] = []
    cut_off: dict[str, list[bytes]] = {}
    for number in range(calls):
        legs = ["fails"] * chosen.randint(0, 3)
        if chosen.random() < 0.6 or not legs:
            legs.append("answers")
        lines = call_lines(number, legs, epoch)
        if chosen.random() < 0.4:
            lines = lines[: chosen.randrange(1, len(lines))]
            cut_off[call_id_of(number, epoch)] = lines
        stories.append(list(lines))
    mixed: list[bytes] = []
    while stories:
        story = chosen.choice(stories[:20])
        mixed.append(story.pop(0))
        if not story:
            stories.remove(story)
    return mixed, cut_off


def closed_legs(closings: Sequence[LegEnded | CallEnded]) -> list[str]:
    """The leg ids that events close."""
    return [f"{one.call_id}/{one.leg if isinstance(one, LegEnded) else 0}" for one in closings]


def _line(kind: str, at_ms: int, values: dict[str, str]) -> bytes:
    return encode_line(kind, f"{_seconds(at_ms)}000", values)


def _seconds(at_ms: int) -> str:
    return f"{at_ms // 1000}.{at_ms % 1000:03d}"
