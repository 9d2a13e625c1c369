"""What a range of a topic comes to, and how much of it is settled, pure: read messages in, a manifest out.

Each entry of the ledger keeps the offset of the rated leg that it was made from, so it belongs to one range, however
often its leg was rated: the sums of all ranges are the sums of all entries before the first message that is kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from schemas.events import CallEnded, DeadLetter, EventError, LegEnded, RatedLeg, decode_event
from schemas.frame import FrameError, unpack_frame
from schemas.ids import make_leg_id
from schemas.topics import RATED_LEGS
from sinks.audit.continuous.fold import add_hash, leg_hash

_TRUE_END: Final = 1  # revision of a leg that its journal closed; 0: by estimate


class Closing(NamedTuple):
    """A closed leg as a message has it. `micros` None: it is not rated yet (topic `calls`)."""

    leg_id: str
    revision: int
    micros: int | None
    call_started_at_ms: int
    started_at_ms: int


class Message(NamedTuple):
    """A message: its closed legs, the dead letters that it is, and the origins of what in it cannot be read."""

    offset: int
    at_ms: int
    closings: Sequence[Closing] = ()
    letters: Sequence[str] = ()  # origins
    unreadable: Sequence[str] = ()  # origins that must be among the dead letters


class Entry(NamedTuple):
    """An entry of the ledger for a leg. `micros` as the leg's bill has it; `first`: no correction."""

    leg_id: str
    revision: int
    first: bool
    side: str
    currency: str
    micros: int
    partition: int  # of rated-legs, by the account
    offset: int | None


class Letter(NamedTuple):
    """A dead letter that is of the range, or of one of its legs."""

    origin: str
    state: str
    leg_id: str


class Manifest(NamedTuple):
    """What is left of a range. `money`: by (side, currency), as positives."""

    from_offset: int
    to_offset: int
    messages: int
    legs: int
    leg_hash: int
    refused: int
    refused_hash: int
    first_at_ms: int
    last_at_ms: int
    money: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Known:
    """What the stores say of a range's legs and letters."""

    entries: Sequence[Entry] = ()
    letters: Sequence[Letter] = ()
    wrong_cdrs: Mapping[str, str] = field(default_factory=dict)
    differing: frozenset[str] = frozenset()  # legs of open findings


def read(topic: str, partition: int, offset: int, at_ms: int, value: bytes | None) -> Message:
    """What the seal needs of a message."""
    try:
        raws = unpack_frame(value)
    except FrameError:
        return Message(offset, at_ms, unreadable=[f"{topic}/{partition}/{offset}/frame"])
    closings: list[Closing] = []
    letters: list[str] = []
    unreadable: list[str] = []
    for index, raw in enumerate(raws):
        try:
            event = decode_event(raw)
        except EventError:
            unreadable.append(f"{topic}/{partition}/{offset}/{index}")
            continue
        if isinstance(event, RatedLeg):
            ended = event.ended
            closings.append(
                Closing(
                    event.leg_id, event.revision, event.amount_micros, ended.call_started_at_ms, ended.started_at_ms
                )
            )
        elif isinstance(event, LegEnded | CallEnded):
            leg_id = make_leg_id(event.call_id, event.leg if isinstance(event, LegEnded) else 0)
            revision = 0 if event.estimated else _TRUE_END
            closings.append(Closing(leg_id, revision, None, event.call_started_at_ms, event.started_at_ms))
        elif isinstance(event, DeadLetter):
            letters.append(event.origin)
        elif topic == RATED_LEGS.name:
            unreadable.append(f"{topic}/{partition}/{offset}/{index}")
    return Message(offset, at_ms, closings, letters, unreadable)


def highest(messages: Iterable[Message]) -> dict[str, Closing]:
    """Each leg of the messages at its highest revision."""
    legs: dict[str, Closing] = {}
    for message in messages:
        for closing in message.closings:
            known = legs.get(closing.leg_id)
            if known is None or closing.revision >= known.revision:
                legs[closing.leg_id] = closing
    return legs


def unsettled_legs(legs: Mapping[str, Closing], known: Known) -> dict[str, str]:
    """The legs that are not the same in all stores, and why: they and all behind them stay in the topic."""
    revisions: dict[str, int] = {}
    sums: dict[str, int] = {}
    for entry in known.entries:
        revisions[entry.leg_id] = max(revisions.get(entry.leg_id, -1), entry.revision)
        sums[entry.leg_id] = sums.get(entry.leg_id, 0) + entry.micros
    discarded = {letter.leg_id for letter in known.letters if letter.state == "discarded"}
    undecided = {letter.leg_id for letter in known.letters if letter.state == "open"}
    why: dict[str, str] = {}
    for leg_id, leg in legs.items():
        posted = revisions.get(leg_id, -1)
        if leg_id in undecided:
            why[leg_id] = "a dead letter that nobody has decided about"
        elif leg_id in known.differing:
            why[leg_id] = "an open finding of the audit"
        elif posted < leg.revision and leg_id not in discarded:
            why[leg_id] = "not in the ledger"
        elif leg.micros is not None and posted == leg.revision and sums[leg_id] != leg.micros:
            why[leg_id] = f"rated {leg.micros}, in the ledger {sums[leg_id]}"
        elif leg_id in known.wrong_cdrs:
            why[leg_id] = f"CDR: {known.wrong_cdrs[leg_id]}"
    return why


def settled_part(
    messages: Sequence[Message], legs: Mapping[str, Closing], topic: str, partition: int, known: Known
) -> tuple[Sequence[Message], str]:
    """The messages up to the first that is not settled, and what is not; empty: all are."""
    why = unsettled_legs(legs, known)
    kept = {letter.origin: letter.state for letter in known.letters}
    undecided = {
        place[1]: letter.origin
        for letter in known.letters
        if letter.state == "open" and (place := place_of(letter.origin, topic)) is not None and place[0] == partition
    }
    for count, message in enumerate(messages):
        reason = next((f"{one.leg_id}: {why[one.leg_id]}" for one in message.closings if one.leg_id in why), "")
        if not reason and message.offset in undecided:
            reason = f"{undecided[message.offset]}: a dead letter that nobody has decided about"
        if not reason:
            lost = [origin for origin in (*message.letters, *message.unreadable) if origin not in kept]
            reason = f"{lost[0]}: not in the table of dead letters" if lost else ""
        if reason:
            return messages[:count], reason
    return messages, ""


def manifest(
    topic: str, partition: int, from_offset: int, to_offset: int, messages: Sequence[Message], known: Known
) -> Manifest:
    """The manifest of settled messages: all that the topic has from the one offset to before the other."""
    money: dict[tuple[str, str], int] = {}
    present = highest(messages).keys()
    sealed: set[str] = set()
    refused: set[str] = set()
    if topic == RATED_LEGS.name:
        for entry in known.entries:
            # Posted before offsets were kept: where it is met first.
            here = entry.leg_id in present if entry.offset is None else from_offset <= entry.offset < to_offset
            if here and entry.partition == partition:
                sealed |= {entry.leg_id} if entry.first else set()
                key = (entry.side, entry.currency)
                money[key] = money.get(key, 0) + entry.micros
        for leg_id, (place, offset) in refused_legs(known.letters, first_places(known.entries)).items():
            if place == partition and from_offset <= offset < to_offset:
                refused.add(leg_id)
    else:
        sealed |= present
    return Manifest(
        from_offset=from_offset,
        to_offset=to_offset,
        messages=len(messages),
        legs=len(sealed),
        leg_hash=hash_of(sealed),
        refused=len(refused),
        refused_hash=hash_of(refused),
        first_at_ms=min(message.at_ms for message in messages),
        last_at_ms=max(message.at_ms for message in messages),
        money=money,
    )


def first_places(entries: Iterable[Entry]) -> dict[str, tuple[int, int | None]]:
    """Partition and offset of each leg's first entry."""
    return {entry.leg_id: (entry.partition, entry.offset) for entry in entries if entry.first}


def refused_legs(letters: Iterable[Letter], posted: Mapping[str, tuple[int, int | None]]) -> dict[str, tuple[int, int]]:
    """The rated legs that the ledger refused, and where first. One that it had before is none; one that was posted
    later, having been replayed, stays one: so this never changes once its letter is decided.
    """
    first: dict[str, tuple[int, int]] = {}
    for letter in letters:
        place = place_of(letter.origin, RATED_LEGS.name)
        if letter.leg_id and place is not None:
            first[letter.leg_id] = min(place, first.get(letter.leg_id, place))
    refused = {}
    for leg_id, (partition, offset) in first.items():
        entry = posted.get(leg_id)
        before = entry is not None and entry[0] == partition and (entry[1] is None or entry[1] < offset)
        if not before:
            refused[leg_id] = (partition, offset)
    return refused


def place_of(origin: str, topic: str) -> tuple[int, int] | None:
    """Partition and offset that a dead letter's origin names, if it is of that topic."""
    parts = origin.split("/")
    if len(parts) != 4 or parts[0] != topic or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    return int(parts[1]), int(parts[2])


def hash_of(legs: Iterable[str]) -> int:
    """The order-free sum of distinct legs."""
    total = 0
    for leg_id in legs:
        total = add_hash(total, leg_hash(leg_id))
    return total
