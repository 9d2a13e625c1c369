"""Calls that Asterisk itself saw answered, followed through the journal to their end: each must be closed as answered.

Asterisk's own lines (schemas/journal_witness.py) and the dialplan's are in one order: a channel's ANSWER, the call's
CALL_END, the channel's HANGUP. At the HANGUP of a caller's channel that was answered there must have been an answered
CALL_END. What is followed is kept in memory; an agent that starts reads it out of what was counted before.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from schemas.ids import epoch_of

LIMIT_BYTES: Final = 2 << 30  # of counted journal that an agent reads at its start, the newest
_BLOCK_BYTES: Final = 4 << 20
_LINE: Final = re.compile(
    rb'"USER_DEFINED","[0-9.]{1,24}","(ANSWER|HANGUP|CALL_END)","([^\n]*)",'
    rb'"([a-z][a-z0-9]{0,15}-[0-9]{10}-[0-9]{10}\.[0-9]{1,9})"\r?\n'
)
_ANSWERED: Final = re.compile(rb"\|ansms=[1-9-]|\|status=ANSWER\|")


class Sign(NamedTuple):
    """What a line says of its call; of CALL_END whether it is closed as answered."""

    kind: Literal["answer", "end", "hangup"]
    call_id: str
    answered: bool = False


def follow(open_calls: Mapping[str, bool], signs: Iterable[Sign]) -> tuple[dict[str, bool], list[str]]:
    """The calls that are up after these lines, each with whether an answered end was seen, and the ids of calls that
    ended without one. Calls of an earlier start of Asterisk than the newest have died with it. Pure.
    """
    now, lost = dict(open_calls), []
    for sign in signs:
        if sign.kind == "answer":
            now.setdefault(sign.call_id, False)
        elif sign.kind == "end":
            if sign.call_id in now:
                now[sign.call_id] = sign.answered
        elif now.pop(sign.call_id, True) is False:
            lost.append(sign.call_id)
    newest = max((epoch_of(call_id) for call_id in now), default=0)
    return {call_id: answered for call_id, answered in now.items() if epoch_of(call_id) == newest}, lost


def counted_signs(journal: Path, counted: Iterable[tuple[str, int]]) -> Iterable[Sign]:
    """The signs of what was counted of the files, oldest first: (name, bytes). Raises OSError."""
    files = list(counted)
    skip = max(0, sum(size for _, size in files) - LIMIT_BYTES)
    for name, size in files:
        start = min(skip, size)
        skip -= start
        yield from _signs_of(journal / name, start, size)


def _signs_of(path: Path, start: int, end: int) -> Iterable[Sign]:
    try:
        opened = path.open("rb")
    except FileNotFoundError:
        return
    with opened as file:
        file.seek(start)
        rest = b""
        while start < end and (block := file.read(min(_BLOCK_BYTES, end - start))):
            start += len(block)
            text = rest + block
            cut = text.rfind(b"\n") + 1
            rest = text[cut:]
            for kind, extra, call_id in _LINE.findall(text[:cut]):
                if kind == b"CALL_END":
                    yield Sign("end", call_id.decode(), _ANSWERED.search(extra) is not None)
                else:
                    yield Sign("answer" if kind == b"ANSWER" else "hangup", call_id.decode())
