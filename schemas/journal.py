"""The journal: CEL lines on the Asterisk host's disk, one per fact, from which every leg is billed.

Asterisk writes a line as CSV `"USER_DEFINED","<seconds.micros>","<KIND>","{""extra"":""<text>""}","<call>"`; the text
is `key=value` pairs joined by `|`. Values from the wire are URI-encoded by the dialplan. One line closes one leg:
LEG_RESULT an outbound leg (on the caller's channel), CALL_END the inbound leg. The simulator writes the same lines
with `encode_line`; the node agent reads both with `decode_line`, which makes the event.

    LEG_START   call leg at begin facts cfacts
    LEG_RESULT  call leg begin start end ring prog ansms status cause sip src sid facts
    CALL_END    call start end pdd ansms status cause src legs reason caller callee endpoint addr sid facts last

`begin` is the call's start, `start` the leg's. Wall times: unix seconds with three decimals. ring, prog, ansms and pdd
are milliseconds; `sid` is the leg's SIP Call-ID, and behind `@` the tag that Asterisk gave its dialog. Empty: "not
known".

The bill is the time from 200 to BYE where the leg's packets were seen (schemas/wire_times.py), else `ansms`: answer to
end by Asterisk's own word. Both are differences of wall times, corrected where the clock was set meanwhile
(schemas/clock_steps.py). Other lengths that such a clock has made senseless are not known; a line is never
refused for them, nor for a reading that is missing: schemas/journal_answer.py makes the best of those there are. Lines
of version 1, which had monotonic readings of their own, are read as ever (schemas/journal_keys.py).

Beside these stand Asterisk's own events, which pass through no dialplan: schemas/journal_witness.py.
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
from schemas.clock_steps import UNKNOWN, Clock
from schemas.facts import Facts, FactsError, decode_facts
from schemas.journal_answer import Answer, answer_of
from schemas.journal_fields import MAX_LENGTH_MS, JournalError, integer, milliseconds, wall_length
from schemas.journal_keys import JOURNAL_VERSION, KEYS
from schemas.journal_witness import WITNESS_KINDS, answered_event, is_witness, witness_line
from schemas.wire_times import WireLeg, by_wire

__all__ = [
    "MAX_LINE_BYTES", "JournalError", "JournalEvent", "decode_line", "encode_line", "has_parts",
    "parts_of", "read_line", "split_at_length",
]  # fmt: skip
MAX_LINE_BYTES: Final = 16_384
JournalEvent = events.LegStarted | events.LegAnswered | events.LegEnded | events.CallEnded

# The usual line, in one look: nothing in it is escaped or quoted. Whatever does not match is read the long way, which
# accepts the same lines and names what is wrong with the others.
_USUAL: Final = {
    kind: re.compile(
        r'"USER_DEFINED","[0-9.]*","'
        + kind
        + r'","\{""extra"":""v='
        + r"\|".join([JOURNAL_VERSION, *(rf'{key}=([^|"\\\x00-\x1f]*)' for key in keys)])
        + r'""\}","[a-z0-9./-]{0,64}"(?:\r?\n)?'
    )
    for kind, keys in KEYS[JOURNAL_VERSION].items()
}
_FIELDS: Final = ("USER_DEFINED", "time", "kind", "extra", "call")  # the last came with version 2
_BEGINNING: Final = b'"USER_DEFINED","'  # nowhere else in a line: its quotes are doubled, wire texts are URI-encoded
_FIRST_FIELD: Final = len(_BEGINNING)


def encode_line(kind: str, at_seconds: str, values: Mapping[str, str]) -> bytes:
    """The line, with its line end, that Asterisk would write for these values. Raises JournalError on unknown keys."""
    if kind in WITNESS_KINDS:
        return witness_line(kind, at_seconds, values)
    keys = KEYS[JOURNAL_VERSION].get(kind)
    if keys is None or set(values) - set(keys):
        raise JournalError(f"kind {kind!r} with keys {sorted(values)}: not a line of the journal")
    text = "|".join(["v=" + JOURNAL_VERSION, *(f"{key}={values.get(key, '')}" for key in keys)])
    extra = json.dumps({"extra": text}, separators=(",", ":"))
    fields = ["USER_DEFINED", at_seconds, kind, extra, values.get("call", "")]
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


def decode_line(line: bytes, clock: Clock = UNKNOWN) -> JournalEvent | None:
    """The event of one line (with or without its line end); None for one of Asterisk's own that makes none. `clock`:
    what is known of steps of the node's. Raises JournalError.
    """
    read = read_line(line, clock)
    return None if read is None else read[0]


def read_line(line: bytes, clock: Clock = UNKNOWN, wire: WireLeg | None = None) -> tuple[JournalEvent, bytes] | None:
    """The event of one line and its JSON bytes, as decode_line. `wire`: the packets of the leg that it closes, where
    they were seen. Raises JournalError.
    """
    if is_witness(line):
        return answered_event(line)
    if len(line) > MAX_LINE_BYTES:
        raise JournalError(f"line of {len(line)} bytes: at most {MAX_LINE_BYTES}")
    kind, pairs = _split(line)
    if pairs.get("end") == "":  # the caller left while the dialplan closed the leg: the line was written at the end
        pairs["end"] = _written_at(line)
    try:
        event = _MAKERS[kind](pairs, clock, wire)
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
        return kind, dict(zip(KEYS[JOURNAL_VERSION][kind], matched.groups(), strict=True))
    return split_at_length(line)


def split_at_length(line: bytes) -> tuple[str, dict[str, str]]:
    """(kind, values by key) of any line: CSV, then JSON, then pairs. Raises JournalError."""
    try:
        text = line.decode("utf-8").rstrip("\r\n")
        rows = list(csv.reader([text], strict=True))
        event_type, _, kind, extra = rows[0][:4] if len(rows[0]) == len(_FIELDS) else rows[0]
        message = json.loads(extra)["extra"]
    except (UnicodeDecodeError, csv.Error, ValueError, IndexError, KeyError, TypeError, RecursionError) as error:
        raise JournalError(
            f"not a journal line of {len(_FIELDS)} CSV fields with JSON in the fourth: {error}"
        ) from error
    if event_type != "USER_DEFINED" or kind not in KEYS["1"] or not isinstance(message, str):
        raise JournalError(
            f"line of type {event_type[:30]!r}, kind {kind[:30]!r}: must be one of {', '.join(KEYS['1'])}"
        )
    first, *parts = message.split("|")
    keys = KEYS.get(first.removeprefix("v="), {}).get(kind)
    if first != "v=1" and (len(rows[0]) != len(_FIELDS) or not text.endswith('"')):
        raise JournalError(f"{kind}: {len(rows[0])} fields: a line of {first[:20]!r} has {len(_FIELDS)}, all in quotes")
    if keys is None or not first.startswith("v="):
        raise JournalError(f"{kind}: {first[:20]!r}: this program reads journal versions {', '.join(KEYS)}")
    pairs = dict(part.partition("=")[::2] for part in parts)
    if tuple(pairs) != keys or len(parts) != len(pairs):
        raise JournalError(f"{kind}: keys {','.join(pairs)[:200]!r}: must be {','.join(keys)}")
    return kind, pairs


def _written_at(line: bytes) -> str:
    """Asterisk's own time of a line that has been split: its second field."""
    return line.decode("utf-8").split('"', 4)[3]


def _leg_started(pairs: dict[str, str], _clock: Clock, _wire: WireLeg | None) -> JournalEvent:
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


def _leg_answered(pairs: dict[str, str], _clock: Clock, _wire: WireLeg | None) -> JournalEvent:
    return events.LegAnswered(
        event_id=ids.make_event_id(_leg_id(pairs), "leg_answered"),
        call_id=pairs["call"],
        leg=integer(pairs, "leg"),
        answered_at_ms=milliseconds(pairs, "at"),
    )


def _leg_ended(pairs: dict[str, str], clock: Clock, wire: WireLeg | None) -> JournalEvent:
    ended_at_ms = milliseconds(pairs, "end")
    answer = _answer(pairs, ended_at_ms, clock, wire)
    signs = [ms for ms in (wall_length(pairs, "ring"), wall_length(pairs, "prog")) if ms is not None]
    if not (pairs["ring"] or pairs["prog"]):  # a 200 without any 18x before it
        signs = _set_up(pairs, answer)
    return events.LegEnded(
        event_id=ids.make_event_id(_leg_id(pairs), "leg_ended"),
        leg=integer(pairs, "leg"),
        call_started_at_ms=milliseconds(pairs, "begin"),
        pdd_ms=min(signs, default=None),
        sip_code=200 if answer.crossed and answer.at_ms is not None else _sip_code(pairs["sip"]),
        facts=decode_facts(pairs["facts"]),
        **_closed(pairs, ended_at_ms, answer),
    )


def _answer(pairs: dict[str, str], ended_at_ms: int, clock: Clock, wire: WireLeg | None) -> Answer:
    answer = answer_of(pairs, ended_at_ms, clock)
    return answer if wire is None else by_wire(answer, wire, ended_at_ms, clock)


def _set_up(pairs: dict[str, str], answer: Answer) -> list[int]:
    """The milliseconds from a leg's start to its answer; none where it has no answer or the clock was set meanwhile."""
    if answer.at_ms is None:
        return []
    set_up_ms = answer.at_ms - milliseconds(pairs, "start")
    return [set_up_ms] if 0 <= set_up_ms <= MAX_LENGTH_MS else []


def _call_ended(pairs: dict[str, str], clock: Clock, wire: WireLeg | None) -> JournalEvent:
    ended_at_ms = milliseconds(pairs, "end")
    answer = _answer(pairs, ended_at_ms, clock, wire)
    pdd_ms = wall_length(pairs, "pdd")
    if not pairs["pdd"]:
        pdd_ms = min(_set_up(pairs, answer), default=None)
    return events.CallEnded(
        event_id=ids.make_event_id(ids.make_leg_id(pairs["call"], 0), "call_ended"),
        call_started_at_ms=milliseconds(pairs, "start"),
        pdd_ms=pdd_ms,
        legs=integer(pairs, "legs"),
        reason=pairs["reason"],
        caller_dialled=_wire_text(pairs["caller"], 256),
        callee_dialled=_wire_text(pairs["callee"], 256),
        endpoint=_wire_text(pairs["endpoint"], 64),
        remote_address=_wire_text(pairs["addr"], 64),
        facts=_optional_facts(pairs["facts"]),
        last_facts=_optional_facts(pairs["last"]),
        **_closed(pairs, ended_at_ms, answer),
    )


def _closed(pairs: dict[str, str], ended_at_ms: int, answer: Answer) -> dict[str, Any]:
    status, cause = pairs["status"], min(integer(pairs, "cause"), 127)
    if answer.crossed and answer.at_ms is None:
        status, cause = "CANCEL", 16
    elif answer.crossed and answer.at_ms is not None:
        status, ended_at_ms = "ANSWER", max(ended_at_ms, answer.at_ms + answer.duration_ms)
    return {
        "call_id": pairs["call"],
        "started_at_ms": milliseconds(pairs, "start"),
        "answered_at_ms": answer.at_ms,
        "ended_at_ms": ended_at_ms,
        "duration_ms": answer.duration_ms,
        "asterisk_duration_ms": answer.asterisk_ms,
        "clock_disagreement": answer.doubtful,
        "dial_status": status,
        "cause": cause,
        "release_side": pairs["src"] or "unknown",
        "sip_call_id": _wire_text(pairs.get("sid", "").partition("@")[0], 128),
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
