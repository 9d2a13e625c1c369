"""What a piece of the journal closes: legs, by the hour of their call's start, and which legs there must be. Pure.

Nothing here comes from the relay: the audit reads the journal with its own eyes.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from agent.journal.answers import Sign
from agent.journal.files import Line
from schemas.events import CallEnded, LegEnded
from schemas.ids import make_leg_id
from schemas.journal import JournalError, decode_line
from schemas.journal_witness import is_witness, read_witness
from sinks.audit.continuous.fold import Sums, add_hash, hour_of, leg_hash

_KIND_WITHIN: Final = 64  # bytes of a line's beginning
_OPENING: Final = (b'","LEG_START","', b'","LEG_ANSWER","')


class Leg(NamedTuple):
    """A leg of the journal. `call_started_at_ms` is its moment in the ledger. `closed`: by a line of its own; else its
    call's end says that there was such a leg.
    """

    leg_id: str
    call_started_at_ms: int
    ended_at_ms: int
    closed: bool


class Counted(NamedTuple):
    """What was in some lines. `legs` in their order, a repeated one as often as it stands there; `signs` of calls."""

    legs: list[Leg]
    unreadable: list[Line]
    signs: list[Sign]

    @property
    def closed(self) -> list[Leg]:
        """Those with a line of their own."""
        return [leg for leg in self.legs if leg.closed]


def count_lines(lines: Iterable[Line]) -> Counted:
    """The legs that lines close, or say that there are; and the lines that nobody can read."""
    legs: list[Leg] = []
    unreadable: list[Line] = []
    signs: list[Sign] = []
    for line in lines:
        beginning = line.raw[:_KIND_WITHIN]
        if any(kind in beginning for kind in _OPENING):
            continue  # it closes nothing; should it be unreadable, the relay says so
        if is_witness(beginning):
            if (witness := read_witness(line.raw)) is not None and witness.leg == 0:
                signs.append(Sign(witness.kind, witness.call_id))
            continue
        try:
            event = decode_line(line.raw)
        except JournalError:
            unreadable.append(line)
            continue
        if isinstance(event, LegEnded):
            legs.append(_leg(event, event.leg, closed=True))
        elif isinstance(event, CallEnded):
            legs += [_leg(event, number, closed=False) for number in range(1, event.legs + 1)]
            legs.append(_leg(event, 0, closed=True))
            signs.append(Sign("end", event.call_id, event.answered_at_ms is not None))
    return Counted(legs, unreadable, signs)


def hours_of(legs: Iterable[Leg]) -> dict[int, Sums]:
    """Closed legs by the hour (unix ms) of their call's start; no money: the journal knows none."""
    hours: dict[int, Sums] = {}
    for leg in legs:
        if leg.closed:
            hour = hour_of(leg.call_started_at_ms)
            hours[hour] = add(hours.get(hour, Sums()), Sums(1, leg_hash(leg.leg_id)))
    return hours


def add(one: Sums, other: Sums) -> Sums:
    """Both together."""
    return Sums(one.legs + other.legs, add_hash(one.leg_hash, other.leg_hash), one.micros + other.micros)


def less(one: Sums, other: Sums) -> Sums:
    """One without the other."""
    return Sums(one.legs - other.legs, add_hash(one.leg_hash, -other.leg_hash), one.micros - other.micros)


def _leg(event: LegEnded | CallEnded, number: int, *, closed: bool) -> Leg:
    return Leg(make_leg_id(event.call_id, number), event.call_started_at_ms, event.ended_at_ms, closed)
