"""The live view: any order and any repeats of events come to the same state, and what has ended stays ended."""

import random
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.events import CallEnded, LegAnswered, LegEnded, LegRinging, LegStarted, decode_event
from schemas.frame import partition_of
from schemas.live import LIVE_CALL_DECODER, LiveCall
from streams.folds import live
from streams.live import SCAN_MS, SWEEP_MS, Sweeper, fold_calls, over_calls

EXAMPLES = Path(events.__file__).parent / "examples"
CALL = "ast1-1795609861-1795609900.12"
START_MS = 1_795_609_900_100


def example(name: str) -> Any:
    return decode_event((EXAMPLES / f"{name}.json").read_bytes())


STARTED, RINGING, ANSWERED = example("leg_started"), example("leg_ringing"), example("leg_answered")
LEG, END = example("leg_ended"), example("call_ended")


class Numbered(NamedTuple):
    """What the fold reads of a place in Kafka."""

    event: Any


def events_of(call_id: str, answered: tuple[bool, ...], *, ended: bool) -> list[live.CallEvent]:
    """All events of a call that was hunted over so many legs."""
    made: list[live.CallEvent] = []
    at_ms = START_MS
    for number, answer in enumerate(answered, 1):
        at_ms += 100
        leg: dict[str, Any] = {"call_id": call_id, "leg": number}
        facts = msgspec.structs.replace(LEG.facts, vendor_peer_id=number)
        made.append(msgspec.structs.replace(STARTED, **leg, started_at_ms=at_ms, facts=facts))
        made.append(msgspec.structs.replace(RINGING, **leg, ringing_at_ms=at_ms + 20))
        if answer:
            made.append(msgspec.structs.replace(ANSWERED, **leg, answered_at_ms=at_ms + 50))
        if ended or number < len(answered):
            # The line that closes a leg has its own clock reading of the start and the answer: not the same to the ms.
            closed: dict[str, Any] = {"started_at_ms": at_ms - 1, "ended_at_ms": at_ms + 90, "facts": facts}
            closed["answered_at_ms"] = at_ms + 51 if answer else None
            closed["duration_ms"] = 39 if answer else 0
            made.append(msgspec.structs.replace(LEG, **leg, **closed))
    if ended:
        made.append(msgspec.structs.replace(END, call_id=call_id, ended_at_ms=at_ms + 95, legs=len(answered)))
    return made


def slow_state(call_id: str, seen: list[live.CallEvent]) -> LiveCall:
    """The state in words: of everything that is said of a moment, the earliest; of facts, whichever (they agree)."""

    def least(values: Any) -> int | None:
        return min((value for value in values if value is not None), default=None)

    legs = []
    for number in sorted({event.leg for event in seen if not isinstance(event, CallEnded)}):
        own = [event for event in seen if not isinstance(event, CallEnded) and event.leg == number]
        facts = [event.facts for event in own if isinstance(event, LegStarted | LegEnded)]
        legs.append(
            {
                "leg": number,
                "facts": msgspec.to_builtins(facts[0]) if facts else None,
                "started_at_ms": least(e.started_at_ms for e in own if isinstance(e, LegStarted | LegEnded)),
                "ringing_at_ms": least(e.ringing_at_ms for e in own if isinstance(e, LegRinging)),
                "answered_at_ms": least(e.answered_at_ms for e in own if isinstance(e, LegAnswered | LegEnded)),
                "ended_at_ms": least(e.ended_at_ms for e in own if isinstance(e, LegEnded)),
            }
        )
    starts = [event for event in seen if isinstance(event, LegStarted | LegEnded | CallEnded)]
    call_facts = [e.call_facts if isinstance(e, LegStarted) else e.facts for e in starts if not isinstance(e, LegEnded)]
    return msgspec.convert(
        {
            "call_id": call_id,
            "call_started_at_ms": least(event.call_started_at_ms for event in starts),
            "call_facts": msgspec.to_builtins(call_facts[0]) if call_facts else None,
            "legs": legs,
            "ended_at_ms": least(event.ended_at_ms for event in seen if isinstance(event, CallEnded)),
        },
        LiveCall,
    )


_answered = st.lists(st.booleans(), max_size=4).map(tuple)


@given(_answered, st.booleans(), st.randoms(use_true_random=False))
def test_any_order_and_any_repeats_give_the_same_state(
    answered: tuple[bool, ...], ended: bool, chosen: random.Random
) -> None:
    made = events_of(CALL, answered, ended=ended)
    seen = [event for event in made if chosen.random() < 0.8]  # some are still on their way
    shuffled = [event for event in seen for _ in range(chosen.randint(1, 3))]
    chosen.shuffle(shuffled)
    call = live.new_call(CALL)
    for event in shuffled:
        call = live.apply(call, event)
    assert call == slow_state(CALL, seen)


@given(st.lists(_answered, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_table_after_any_cut_into_messages(hunts: list[tuple[bool, ...]], chosen: random.Random) -> None:
    ids = [f"{CALL}{number}" for number in range(len(hunts))]
    made = [event for call_id, hunt in zip(ids, hunts, strict=True) for event in events_of(call_id, hunt, ended=True)]
    shuffled = [*made, *chosen.sample(made, len(made) // 2)]
    chosen.shuffle(shuffled)
    table: dict[bytes, bytes] = {}
    while shuffled:
        cut = chosen.randint(1, len(shuffled))
        batch, shuffled = shuffled[:cut], shuffled[cut:]
        changed = fold_calls(table, [Numbered(event) for event in batch])
        assert all(msgspec.json.encode(call) != table.get(key) for key, call in changed.items())  # nothing for nothing
        table |= {key: msgspec.json.encode(call) for key, call in changed.items()}
    assert {key: LIVE_CALL_DECODER.decode(raw) for key, raw in table.items()} == {
        call_id.encode(): slow_state(call_id, [event for event in made if event.call_id == call_id]) for call_id in ids
    }


@given(_answered, st.randoms(use_true_random=False))
def test_a_call_that_has_ended_never_comes_back(answered: tuple[bool, ...], chosen: random.Random) -> None:
    made = events_of(CALL, answered, ended=True)
    late = [event for event in made if not isinstance(event, CallEnded)]
    chosen.shuffle(late)
    call = live.apply(live.new_call(CALL), made[-1])
    ended_at_ms = call.ended_at_ms
    assert ended_at_ms is not None
    for event in late:
        call = live.apply(call, event)
        assert call.ended_at_ms == ended_at_ms
        assert not live.is_over(call, ended_at_ms + live.LINGER_MS)
        assert live.is_over(call, ended_at_ms + live.LINGER_MS + 1)


def test_a_call_without_an_end_goes_after_the_longest_time_that_a_call_may_last() -> None:
    for event in events_of(CALL, (True,), ended=False):
        call = live.apply(live.new_call(CALL), event)  # whichever event alone is known
        if call.call_started_at_ms is not None:
            assert not live.is_over(call, START_MS + 24 * 3_600_000)
            assert live.is_over(call, START_MS + live.ABANDONED_MS + 1_000)
        else:  # the rest of a repeat, of a call that has left the view already: it does not stay for a day
            assert not live.is_over(call, START_MS + live.LINGER_MS)
            assert live.is_over(call, START_MS + 10 * live.LINGER_MS)


def test_a_legs_end_that_comes_late_brings_no_call_back() -> None:
    made = events_of(CALL, (False, True), ended=True)
    ends = [event for event in made if isinstance(event, LegEnded)]
    call = live.apply(live.new_call(CALL), ends[1])  # the call's own end was seen, and it was let go
    assert not live.is_over(call, ends[1].ended_at_ms + live.LINGER_MS)
    assert live.is_over(call, ends[1].ended_at_ms + live.LINGER_MS + 1)
    # One that talks is up, whatever ended before.
    talking = slow_state(CALL, [ends[0], *(event for event in made if getattr(event, "leg", 0) == 2)][:-1])
    assert not live.is_over(talking, ends[1].ended_at_ms + 24 * 3_600_000)


def test_only_this_partitions_calls_are_swept() -> None:
    ids = [f"{CALL}{number}" for number in range(60)]
    table = {
        call_id.encode(): msgspec.json.encode(slow_state(call_id, events_of(call_id, (True,), ended=place % 2 == 0)))
        for place, call_id in enumerate(ids)
    }
    now_ms = START_MS + 3_600_000
    swept = [over_calls(table, partition, 8, now_ms) for partition in range(8)]
    assert sorted(key.decode() for keys in swept for key in keys) == sorted(ids[::2])
    assert all(partition_of(key.decode(), 8) == partition for partition, keys in enumerate(swept) for key in keys)
    assert not any(over_calls(table, partition, 8, START_MS + 1_000) for partition in range(8))


class Counting(dict[bytes, bytes]):
    """A table that knows how often it was read from end to end."""

    read = 0

    def items(self) -> Any:
        self.read += 1
        return super().items()


def test_ended_calls_are_swept_without_reading_the_whole_table() -> None:
    table, sweeper = Counting(), Sweeper(1)
    end_ms = START_MS + 195

    def put(call_id: str, ended: bool) -> bytes:
        call = slow_state(call_id, events_of(call_id, (True,), ended=ended))
        table[call_id.encode()] = msgspec.json.encode(call)
        sweeper.note(0, call_id.encode(), call)
        return call_id.encode()

    there = put(f"{CALL}1", ended=True)
    on = put(f"{CALL}2", ended=False)
    assert sweeper.due(table, 0, end_ms) == []  # the first sweep looks at all: the table may have been restored
    reads = table.read
    new = put(f"{CALL}3", ended=True)
    assert sweeper.due(table, 0, end_ms + SWEEP_MS - 1) == []
    assert sweeper.due(table, 0, end_ms + live.LINGER_MS) == []
    assert sorted(sweeper.due(table, 0, end_ms + live.LINGER_MS + SWEEP_MS)) == [there, new]
    assert table.read == reads
    del table[there], table[new]
    assert sweeper.due(table, 0, end_ms + live.LINGER_MS + 2 * SWEEP_MS) == []
    assert sweeper.due(table, 0, end_ms + live.ABANDONED_MS + SCAN_MS) == [on]
    assert table.read > reads


def test_a_restored_table_is_swept_at_once_and_a_call_that_has_gone_is_not_deleted_twice() -> None:
    call_id = f"{CALL}1"
    key, call = call_id.encode(), slow_state(call_id, events_of(call_id, (True,), ended=True))
    late_ms = START_MS + 3_600_000
    assert Sweeper(1).due({key: msgspec.json.encode(call)}, 0, late_ms) == [key]
    sweeper = Sweeper(1)
    assert sweeper.due({}, 0, late_ms) == []
    sweeper.note(0, key, call)
    assert sweeper.due({}, 0, late_ms + SWEEP_MS) == []
