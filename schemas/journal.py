"""The journal: CEL lines on the Asterisk host's disk, one per fact, from which every leg is billed.

Asterisk writes a line as CSV `"USER_DEFINED","<seconds.micros>","<KIND>","{""extra"":""<text>""}"`; the text is
`key=value` pairs joined by `|`. Values from the wire are URI-encoded by the dialplan. One line closes one leg:
LEG_RESULT an outbound leg (on the caller's channel), CALL_END the inbound leg. The simulator writes the same lines
with `encode_line`; the node agent reads both with `decode_line`, which makes the event.

    LEG_START   call leg at begin facts cfacts
    LEG_ANSWER  call leg at
    LEG_RESULT  call leg begin start answer end m0 m1 m2 ring prog ansms status cause sip src facts
    CALL_END    call start answer end m1 m2 pdd ansms status cause src legs reason caller callee endpoint
                addr facts last

`begin` is the call's start, `start` the leg's. Wall times: unix seconds with three decimals. m0, m1, m2: monotonic
seconds (/proc/uptime) at start, answer and end; ring, prog, ansms and pdd are milliseconds. Empty: "not known".

The bill is m2 less m1. Asterisk's own lengths are differences of wall times, and m0 is worked out by one: where the
clock was set meanwhile they are negative or absurd. They are then not known; a line is never refused for them.
Nor is it refused for a reading that is missing: schemas/journal_answer.py works out the answer from those there are.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, cast
from urllib.parse import unquote

import msgspec

from schemas import events, ids
from schemas.facts import Facts, FactsError, decode_facts
from schemas.journal_answer import answer_of
from schemas.journal_fields import MAX_LENGTH_MS, JournalError, integer, milliseconds, signed_ms, wall_length

__all__ = [
    "JOURNAL_VERSION", "MAX_LINE_BYTES", "JournalError", "JournalEvent", "decode_line", "encode_line", "has_parts",
    "parts_of", "read_line", "split_at_length",
]  # fmt: skip
JOURNAL_VERSION: Final = "1"
MAX_LINE_BYTES: Final = 16_384
JournalEvent = events.LegStarted | events.LegAnswered | events.LegEnded | events.CallEnded

_PAIRS: Final[dict[str, tuple[str, ...]]] = {
    "LEG_START": ("call", "leg", "at", "begin", "facts", "cfacts"),
    "LEG_ANSWER": ("call", "leg", "at"),
    "LEG_RESULT": (
        "call", "leg", "begin", "start", "answer", "end", "m0", "m1", "m2", "ring", "prog", "ansms", "status",
        "cause", "sip", "src", "facts",
    ),
    "CALL_END": (
        "call", "start", "answer", "end", "m1", "m2", "pdd", "ansms", "status", "cause", "src", "legs", "reason",
        "caller", "callee", "endpoint", "addr", "facts", "last",
    ),
}  # fmt: skip


# The usual line, in one look: nothing in it is escaped or quoted. Whatever does not match is read the long way, which
# accepts the same lines and names what is wrong with the others.
_USUAL: Final = {
    kind: re.compile(
        r'"USER_DEFINED","[0-9.]*","'
        + kind
        + r'","\{""extra"":""v='
        + r"\|".join([JOURNAL_VERSION, *(rf'{key}=([^|"\\\x00-\x1f]*)' for key in keys)])
        + r'""\}"(?:\r?\n)?'
    )
    for kind, keys in _PAIRS.items()
}
_BEGINNING: Final = b'"USER_DEFINED","'  # nowhere else in a line: its quotes are doubled, wire texts are URI-encoded
_FIRST_FIELD: Final = len(_BEGINNING)


def encode_line(kind: str, at_seconds: str, values: Mapping[str, str]) -> bytes:
    """The line, with its line end, that Asterisk would write for these values. Raises JournalError on unknown keys."""
    keys = _PAIRS.get(kind)
    if keys is None or set(values) - set(keys):
        raise JournalError(f"kind {kind!r} with keys {sorted(values)}: not a line of the journal")
    text = "|".join(["v=" + JOURNAL_VERSION, *(f"{key}={values.get(key, '')}" for key in keys)])
    fields = ["USER_DEFINED", at_seconds, kind, json.dumps({"extra": text}, separators=(",", ":"))]
    return (",".join('"' + field.replace('"', '""') + '"' for field in fields) + "\n").encode()


def parts_of(line: bytes) -> Sequence[bytes]:
    """A line of the journal; or, where it stands behind one that Asterisk never finished, both. Together they are all
    of its bytes. Whether each part is one of ours, decode_line says: of what was never finished perhaps only the line
    end is missing.
    """
    if line.rfind(_BEGINNING) <= 0:
        return (line,)
    starts = {found.start() for found in re.finditer(re.escape(_BEGINNING), line)}
    return [line[start:end] for start, end in pairwise(sorted({0, *starts, len(line)}))]


def has_parts(chunk: bytes) -> bool:
    """Whether any line of a chunk of whole lines has parts."""
    return chunk.count(_BEGINNING) > chunk.count(b"\n" + _BEGINNING) + chunk.startswith(_BEGINNING)


def decode_line(line: bytes) -> JournalEvent:
    """The event of one line (with or without its line end). Raises JournalError."""
    return read_line(line)[0]


def read_line(line: bytes) -> tuple[JournalEvent, bytes]:
    """The event of one line and its JSON bytes. Raises JournalError."""
    if len(line) > MAX_LINE_BYTES:
        raise JournalError(f"line of {len(line)} bytes: at most {MAX_LINE_BYTES}")
    kind, pairs = _split(line)
    if pairs.get("end") == "":  # the caller left while the dialplan closed the leg: the line was written at the end
        pairs["end"] = _written_at(line)
    try:
        event = _MAKERS[kind](pairs)
        # msgspec validates bytes, not structs made in code: one pass more, and no impossible value gets in.
        raw = events.encode_event(event)
        return cast(JournalEvent, events.decode_event(raw)), raw
    except (FactsError, ids.IdError, events.EventError, msgspec.MsgspecError, UnicodeError) as error:
        raise JournalError(f"{kind}: {error}") from error


def _split(line: bytes) -> tuple[str, dict[str, str]]:
    """(kind, values by key) of a line. Raises JournalError."""
    text = line.decode("utf-8", "replace")
    at = text.find('","', _FIRST_FIELD) + 3
    kind = text[at : text.find('"', at)]
    if kind in _USUAL and (matched := _USUAL[kind].fullmatch(text)) is not None and "\ufffd" not in text:
        return kind, dict(zip(_PAIRS[kind], matched.groups(), strict=True))
    return split_at_length(line)


def split_at_length(line: bytes) -> tuple[str, dict[str, str]]:
    """(kind, values by key) of any line: CSV, then JSON, then pairs. Raises JournalError."""
    try:
        text = line.decode("utf-8").rstrip("\r\n")
        rows = list(csv.reader([text], strict=True))
        event_type, _, kind, extra = rows[0]
        message = json.loads(extra)["extra"]
    except (UnicodeDecodeError, csv.Error, ValueError, IndexError, KeyError, TypeError, RecursionError) as error:
        raise JournalError(f"not a journal line of four CSV fields with JSON in the last: {error}") from error
    if event_type != "USER_DEFINED" or kind not in _PAIRS or not isinstance(message, str):
        raise JournalError(f"line of type {event_type[:30]!r}, kind {kind[:30]!r}: must be one of {', '.join(_PAIRS)}")
    first, *parts = message.split("|")
    if first != "v=" + JOURNAL_VERSION:
        raise JournalError(f"{kind}: {first[:20]!r}: this program reads journal version {JOURNAL_VERSION}")
    pairs = dict(part.partition("=")[::2] for part in parts)
    if tuple(pairs) != _PAIRS[kind] or len(parts) != len(pairs):
        raise JournalError(f"{kind}: keys {','.join(pairs)[:200]!r}: must be {','.join(_PAIRS[kind])}")
    return kind, pairs


def _written_at(line: bytes) -> str:
    """Asterisk's own time of a line that has been split: its second field."""
    return line.decode("utf-8").split('"', 4)[3]


def _leg_started(pairs: dict[str, str]) -> JournalEvent:
    leg_id = _leg_id(pairs)
    return events.LegStarted(
        event_id=ids.make_event_id(leg_id, "leg_started"),
        call_id=pairs["call"],
        leg=integer(pairs, "leg"),
        started_at_ms=milliseconds(pairs, "at"),
        call_started_at_ms=milliseconds(pairs, "begin"),
        facts=decode_facts(pairs["facts"]),
        call_facts=decode_facts(pairs["cfacts"]),
    )


def _leg_answered(pairs: dict[str, str]) -> JournalEvent:
    return events.LegAnswered(
        event_id=ids.make_event_id(_leg_id(pairs), "leg_answered"),
        call_id=pairs["call"],
        leg=integer(pairs, "leg"),
        answered_at_ms=milliseconds(pairs, "at"),
    )


def _leg_ended(pairs: dict[str, str]) -> JournalEvent:
    pdd = [ms for ms in (wall_length(pairs, "ring"), wall_length(pairs, "prog")) if ms is not None]
    if not (pairs["ring"] or pairs["prog"]) and pairs["m0"] and pairs["m1"]:  # a 200 without any 18x before it
        pdd = [ms for ms in (_set_up_ms(pairs),) if 0 <= ms <= MAX_LENGTH_MS]
    return events.LegEnded(
        event_id=ids.make_event_id(_leg_id(pairs), "leg_ended"),
        leg=integer(pairs, "leg"),
        call_started_at_ms=milliseconds(pairs, "begin"),
        pdd_ms=min(pdd) if pdd else None,
        sip_code=_sip_code(pairs["sip"]),
        facts=decode_facts(pairs["facts"]),
        **_closed(pairs),
    )


def _set_up_ms(pairs: dict[str, str]) -> int:
    """From the leg's start to its answer; -1 where the start cannot be read. It is worked out by a difference of wall
    times, and nothing but the PDD depends on it: `.-50` is no reason to refuse the line.
    """
    answer_ms = milliseconds(pairs, "m1")
    try:
        return answer_ms - signed_ms(pairs, "m0")
    except JournalError:
        return -1


def _call_ended(pairs: dict[str, str]) -> JournalEvent:
    return events.CallEnded(
        event_id=ids.make_event_id(ids.make_leg_id(pairs["call"], 0), "call_ended"),
        call_started_at_ms=milliseconds(pairs, "start"),
        pdd_ms=wall_length(pairs, "pdd"),
        legs=integer(pairs, "legs"),
        reason=pairs["reason"],
        caller_dialled=_wire_text(pairs["caller"], 256),
        callee_dialled=_wire_text(pairs["callee"], 256),
        endpoint=_wire_text(pairs["endpoint"], 64),
        remote_address=_wire_text(pairs["addr"], 64),
        facts=_optional_facts(pairs["facts"]),
        last_facts=_optional_facts(pairs["last"]),
        **_closed(pairs),
    )


def _closed(pairs: dict[str, str]) -> dict[str, Any]:
    ended_at_ms = milliseconds(pairs, "end")
    answer = answer_of(pairs, ended_at_ms)
    return {
        "call_id": pairs["call"],
        "started_at_ms": milliseconds(pairs, "start"),
        "answered_at_ms": answer.at_ms,
        "ended_at_ms": ended_at_ms,
        "duration_ms": answer.duration_ms,
        "asterisk_duration_ms": answer.asterisk_ms,
        "clock_disagreement": answer.doubtful,
        "dial_status": pairs["status"],
        "cause": min(integer(pairs, "cause"), 127),
        "release_side": pairs["src"] or "unknown",
    }


def _leg_id(pairs: dict[str, str]) -> str:
    return ids.make_leg_id(ids.check_call_id(pairs["call"]), integer(pairs, "leg"))


def _sip_code(text: str) -> int | None:
    """`SIP 486 Busy Here`, URI-encoded, or empty. What is no final SIP status is none: it is the vendor's text."""
    if not text:
        return None
    words = unquote(text).split()
    number = words[1] if len(words) > 1 and words[0] == "SIP" else ""
    return int(number) if len(number) == 3 and number.isascii() and number.isdigit() and number[0] in "23456" else None


def _wire_text(value: str, limit: int) -> str:
    return unquote(value, errors="replace")[:limit]


def _optional_facts(value: str) -> Facts | None:
    return decode_facts(value) if value else None


_MAKERS: Final = {
    "LEG_START": _leg_started,
    "LEG_ANSWER": _leg_answered,
    "LEG_RESULT": _leg_ended,
    "CALL_END": _call_ended,
}
