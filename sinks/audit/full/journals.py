"""What the audit reads in the nodes' journals: every line, decoded again."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from schemas.events import CallEnded, LegAnswered, LegEnded, LegStarted
from schemas.ids import epoch_of, make_leg_id, node_of, split_leg_id
from schemas.journal import JournalError, JournalEvent, decode_line, parts_of
from schemas.journal_witness import read_witness


class Unreadable(NamedTuple):
    """A whole line of a journal that is no event."""

    node: str
    place: str
    raw: bytes


@dataclass(frozen=True)
class AnswersSeen:
    """Calls whose caller's channel Asterisk's own lines call answered, and ended; whether a call's end is answered."""

    answered: set[str] = field(default_factory=set)
    hung_up: set[str] = field(default_factory=set)
    ends: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Journals:
    """Legs closed, legs dialled, what cannot be read, the first moment that each node's journals tell of (ms), and what
    Asterisk's own lines say.
    """

    closed: dict[str, None] = field(default_factory=dict)
    opened: dict[str, None] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    first_ms: dict[str, int] = field(default_factory=dict)
    answers: AnswersSeen = field(default_factory=AnswersSeen)

    @property
    def not_in_books(self) -> list[tuple[str, str]]:
        """(call id, what its line says) of calls that Asterisk itself saw answered and ended, without answered end."""
        ends = self.answers.ends
        return [
            (call_id, "closed as not answered" if call_id in ends else "no line closes it")
            for call_id in sorted(self.answers.answered & self.answers.hung_up)
            if not ends.get(call_id)
        ]


def read_journals(journals: Mapping[str, Path]) -> tuple[dict[str, None], int]:
    """Distinct legs closed in all journals, and how many whole lines could not be read. A torn line is none yet."""
    read = read_all(journals)
    return read.closed, len(read.unreadable)


def unclosed_legs(opened: Iterable[str], closed: Container[str]) -> frozenset[str]:
    """The legs of calls that died with their node: opened before the newest start that the node's calls tell of."""
    newest: dict[str, int] = {}
    calls = {leg_id: split_leg_id(leg_id)[0] for leg_id in opened}
    for call_id in calls.values():
        newest[node_of(call_id)] = max(newest.get(node_of(call_id), 0), epoch_of(call_id))
    return frozenset(
        leg_id
        for leg_id, call_id in calls.items()
        if leg_id not in closed and epoch_of(call_id) < newest[node_of(call_id)]
    )


def read_all(journals: Mapping[str, Path]) -> Journals:
    """All files of all journals."""
    read = Journals()
    for node, directory in journals.items():
        for path in sorted(directory.glob("Master.csv*")):
            offset = 0
            with path.open("rb") as lines:
                for line in lines:
                    for part in parts_of(line) if line.endswith(b"\n") else ():
                        try:
                            event = decode_line(part)
                        except JournalError:
                            place = f"{node}:{path.name}:{offset}"
                            read.unreadable.append(Unreadable(node, place, part.rstrip(b"\r\n")))
                        else:
                            if event is not None:
                                _take(read, node, event)
                            if (witness := read_witness(part)) is not None and witness.leg == 0:
                                seen = read.answers.answered if witness.kind == "answer" else read.answers.hung_up
                                seen.add(witness.call_id)
                        offset += len(part)
    return read


def _take(read: Journals, node: str, event: JournalEvent) -> None:
    if isinstance(event, LegEnded):
        read.closed[make_leg_id(event.call_id, event.leg)] = None
        at_ms = event.ended_at_ms
    elif isinstance(event, CallEnded):
        read.closed[make_leg_id(event.call_id, 0)] = None
        read.answers.ends[event.call_id] = event.answered_at_ms is not None
        at_ms = event.ended_at_ms
    elif isinstance(event, LegStarted):
        read.opened[make_leg_id(event.call_id, event.leg)] = None
        read.opened[make_leg_id(event.call_id, 0)] = None
        at_ms = event.started_at_ms
    elif isinstance(event, LegAnswered):
        at_ms = event.answered_at_ms
    read.first_ms[node] = min(at_ms, read.first_ms.get(node, at_ms))
