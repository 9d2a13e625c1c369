"""The seal's arithmetic: whatever comes again, is corrected or refused, in whatever ranges, all is counted once."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from schemas.frame import pack_frames
from sinks.audit.continuous.seal_fold import (
    Closing,
    Entry,
    Known,
    Letter,
    Message,
    first_places,
    hash_of,
    highest,
    manifest,
    place_of,
    read,
    settled_part,
    unsettled_legs,
)
from sinks.audit.full.range import Manifests, SealedLeg, Sums, recount

TOPIC, PARTITION = "rated-legs", 3
KEY = ("USD", "payable")


def leg_id(number: int) -> str:
    return f"ast1-1795609861-1795609900.{number}/1"


def closing(number: int, revision: int = 1, micros: int | None = 10) -> Closing:
    return Closing(leg_id(number), revision, micros, 0, 0)


def entry(number: int, offset: int | None, revision: int = 1, micros: int = 10, first: bool = True) -> Entry:
    return Entry(leg_id(number), revision, first, "payable", "USD", micros, PARTITION, offset)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=40),
    st.sets(st.integers(0, 6)),
    st.sets(st.integers(0, 39)),
    st.integers(0, 40),
)
def test_manifests_of_any_cut_are_what_the_ledger_has_before_it(
    rated: list[tuple[int, int]], refused: set[int], cuts: set[int], end: int
) -> None:
    """One leg a message, repeated and revised at will; posted in order; some legs refused at each attempt."""
    end = min(end, len(rated))
    messages = [
        Message(offset, offset, [closing(number, revision, 10 + revision)])
        for offset, (number, revision) in enumerate(rated)
    ]
    entries: list[Entry] = []
    top: dict[int, int] = {}
    for offset, (number, revision) in enumerate(rated):
        if number not in refused and revision > top.get(number, -1):
            micros = 10 + revision - (10 + top[number] if number in top else 0)
            entries.append(entry(number, offset, revision, micros, number not in top))
            top[number] = revision
    letters = [
        Letter(f"{TOPIC}/{PARTITION}/{offset}/0", "discarded", leg_id(number))
        for offset, (number, _) in enumerate(rated)
        if number in refused
    ]
    bounds = sorted({0, end, *(cut for cut in cuts if cut < end)})
    parts = []
    for first, behind in itertools.pairwise(bounds):
        some = messages[first:behind]
        present = highest(some)
        known = Known(
            entries=[one for one in entries if one.leg_id in present],
            letters=[one for one in letters if one.leg_id in present],
        )
        assert settled_part(some, present, TOPIC, PARTITION, known) == (some, "")
        parts.append(manifest(TOPIC, PARTITION, first, behind, some, known))
    total = Sums(
        sum(part.legs for part in parts),
        _wrapped(sum(part.leg_hash for part in parts)),
        sum(part.refused for part in parts),
        _wrapped(sum(part.refused_hash for part in parts)),
        ((KEY, micros),) if (micros := sum(sum(part.money.values()) for part in parts)) else (),
    )
    manifests = Manifests({(TOPIC, PARTITION): end}, {}, {PARTITION: total})
    sealed = []
    for number in top:
        before = [
            one for one in entries if one.leg_id == leg_id(number) and one.offset is not None and one.offset < end
        ]
        if before:
            of_first = any(one.first for one in before)
            micros = sum(one.micros for one in before)
            sealed.append(SealedLeg(leg_id(number), PARTITION, KEY, True, of_first, micros))
    retained = {one.leg_id: None for message in messages[end:] for one in message.closings}
    found, behind_it = recount(manifests, sealed, retained, letters, first_places(entries))
    assert found == {PARTITION: total}
    assert behind_it == {one.leg_id for message in messages[:end] for one in message.closings}
    # Without any one of its legs it is not equal.
    if sealed:
        assert recount(manifests, sealed[1:], retained, letters, first_places(entries))[0] != {PARTITION: total}


def _wrapped(number: int) -> int:
    number %= 2**64
    return number - 2**64 if number >= 2**63 else number


def test_what_is_not_settled_says_why() -> None:
    legs = {leg_id(1): closing(1)}
    discarded = Letter("rated-legs/3/0/0", "discarded", leg_id(1))
    for known, why in (
        (Known(), "not in the ledger"),
        (Known([entry(1, 0, revision=0)]), "not in the ledger"),
        (Known([entry(1, 0, micros=9)]), "rated 10, in the ledger 9"),
        (Known([entry(1, 0)], wrong_cdrs={leg_id(1): "none"}), "CDR: none"),
        (Known([entry(1, 0)], differing=frozenset({leg_id(1)})), "an open finding of the audit"),
        (Known([], [discarded._replace(state="open")]), "a dead letter that nobody has decided about"),
        (Known([], [discarded._replace(state="replayed")]), "not in the ledger"),
        (Known([], [discarded]), ""),
        (Known([entry(1, 0)]), ""),
        (Known([entry(1, 0, 1, 4), entry(1, 5, 2, 3, first=False)]), ""),  # revised since: that message is judged by it
    ):
        assert unsettled_legs(legs, known).get(leg_id(1), "") == why
    assert unsettled_legs({leg_id(1): closing(1, micros=None)}, Known([entry(1, 0, micros=3)])) == {}


def test_a_range_ends_before_the_first_message_that_is_not_settled() -> None:
    messages = [Message(number, 0, [closing(number)]) for number in range(4)]
    known = Known([entry(number, number) for number in (0, 1, 3)])
    assert settled_part(messages, highest(messages), TOPIC, PARTITION, known) == (
        messages[:2], f"{leg_id(2)}: not in the ledger",
    )  # fmt: skip
    letter = Letter("rated-legs/3/1/0", "open", "")
    known = Known([entry(number, number) for number in range(4)], [letter])
    assert settled_part(messages, highest(messages), TOPIC, PARTITION, known)[0] == messages[:1]
    elsewhere = Known(known.entries, [letter._replace(origin="rated-legs/4/1/0")])
    assert settled_part(messages, highest(messages), TOPIC, PARTITION, elsewhere) == (messages, "")
    unreadable = [Message(0, 0, unreadable=["rated-legs/3/0/frame"])]
    assert settled_part(unreadable, {}, TOPIC, PARTITION, Known())[0] == []
    kept = Known(letters=[Letter("rated-legs/3/0/frame", "discarded", "")])
    assert settled_part(unreadable, {}, TOPIC, PARTITION, kept) == (unreadable, "")


def test_entries_that_do_not_say_where_they_were_rated_count_where_they_are_met() -> None:
    messages = [Message(0, 5, [closing(1)]), Message(1, 4, [closing(2)])]
    made = manifest(TOPIC, PARTITION, 0, 2, messages, Known([entry(1, None), entry(2, 1), entry(7, 9)]))
    assert (made.legs, made.leg_hash, dict(made.money)) == (2, hash_of([leg_id(1), leg_id(2)]), {KEY[::-1]: 20})
    assert (made.messages, made.first_at_ms, made.last_at_ms) == (2, 4, 5)


def test_what_cannot_be_read_is_told_by_its_origin() -> None:
    assert read("calls", 1, 7, 0, b"junk").unreadable == ["calls/1/7/frame"]
    assert read("calls", 1, 7, 0, None).unreadable == ["calls/1/7/frame"]
    (frame,) = pack_frames([b'{"type":"none"}'])
    assert read("calls", 1, 7, 0, frame).unreadable == ["calls/1/7/0"]
    assert place_of("calls/1/7/0", "calls") == place_of("calls/1/7/frame", "calls") == (1, 7)
    for origin in ("calls/1/7/0", "rated-legs/x/7/0", "journal:ast1:a:7", "rated-legs/1/7"):
        assert place_of(origin, "rated-legs") is None
