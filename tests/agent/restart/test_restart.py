"""Calls that died with their Asterisk: found in the journal against a slow oracle, and closed once, never absurdly."""

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from crashed_calls import (
    CALL_FACTS,
    LEG_FACTS,
    NEW,
    OLD,
    START_MS,
    call_id_of,
    call_lines,
    closed_legs,
    crashed_journal,
)
from hypothesis import given
from hypothesis import strategies as st
from journal_events import events_of

from agent.journal.marks import AgentState
from agent.journal.open_calls import OpenCalls
from agent.relay import Relay
from agent.restart.estimates import LONGEST_MS, close_call
from agent.restart.last_heartbeat import (
    KEPT_EPOCHS,
    LastHeartbeat,
    Talk,
    load_heartbeat,
    next_heartbeat,
    store_heartbeat,
)
from agent.restart.restart import NewStart, crashed_calls
from agent.state_file import AgentError, load_state, store_state
from schemas.events import ActiveChannel, CallEnded, LegEnded, LegStarted, NodeRestarted, decode_event, encode_event
from schemas.journal import decode_line
from streams.folds.rating import rate_leg

NEVER = threading.Event()


def open_by_decoding(lines: list[bytes]) -> dict[str, list[bytes]]:
    """The slow oracle: every line decoded; a call is open until its end and the results of all its legs are there."""
    calls: dict[str, list[bytes]] = {}
    started: dict[str, set[int]] = {}
    for line in lines:
        event = decode_line(line)
        if event is None:
            continue
        calls.setdefault(event.call_id, []).append(line)
        if isinstance(event, LegStarted):
            started.setdefault(event.call_id, set()).add(event.leg)
    found = {}
    for call_id, own in calls.items():
        events = events_of(own)
        results = {event.leg for event in events if isinstance(event, LegEnded)}
        ended = any(isinstance(event, CallEnded) for event in events)
        if call_id in started and not (ended and started[call_id] <= results):
            found[call_id] = own
    return found


@pytest.mark.parametrize("seed", range(20))
def test_open_calls_are_those_that_decoding_finds_however_the_bytes_are_cut(seed: int) -> None:
    chosen = random.Random(seed)
    lines, _ = crashed_journal(seed, 60)
    if seed % 4 == 1:  # lines that got lost: a leg's result of a call that ended
        lines = [line for line in lines if b"LEG_RESULT" not in line or chosen.random() < 0.9]
    raw = b"".join(lines)
    if seed % 2:
        raw = b"garbage \xff\n" + raw.replace(lines[5], lines[5][:40] + b"\n" + lines[5], 1) + b'"USER_DEFINED","1'
    calls = OpenCalls("sim1", OLD, NEW)
    while raw:
        cut = chosen.choice([1, 7, 300, 5_000])
        calls.take(raw[:cut])
        raw = raw[cut:]
    calls.end_file()
    assert calls.lines() == open_by_decoding(lines)


def test_only_calls_of_the_node_and_its_earlier_epochs_are_looked_for() -> None:
    lines = [
        call_lines(1, ["answers"], epoch=OLD - 1)[0],
        call_lines(2, ["answers"], epoch=OLD)[0],
        call_lines(3, ["answers"], epoch=NEW - 1)[0],
        call_lines(4, ["answers"], epoch=NEW)[0],
        call_lines(5, ["answers"], node="sim2")[0],
        call_lines(6, [])[0],  # refused: closed by its one line
    ]
    calls = OpenCalls("sim1", OLD, NEW)
    calls.take(b"".join(lines))
    assert set(calls.lines()) == {call_id_of(2, OLD), call_id_of(3, NEW - 1)}


def test_a_torn_line_closes_nothing_and_hides_nothing() -> None:
    lines = {number: call_lines(number, ["answers"], epoch=OLD) for number in range(1, 7)}
    whole = b"".join(line for number in range(1, 6) for line in lines[number][:-1])
    end = {number: lines[number][-1] for number in lines}
    calls = OpenCalls("sim1", OLD, NEW)
    # The end of the first is cut off, and the end of the second stands behind it. Of the third only the line end is
    # missing, and the sixth begins behind it. The end of the fourth is cut off; to the fifth's something was added.
    calls.take(whole + end[1][:-9] + end[2] + end[3].rstrip(b"\n") + lines[6][0])
    calls.take(end[4][:-9] + b"\n" + end[5].rstrip(b"\n") + b"garbage\n")
    assert set(calls.lines()) == {call_id_of(number, OLD) for number in (1, 4, 5, 6)}


HUNG_UP = f'"USER_DEFINED","1795608001.5","HANGUP","","{call_id_of(2, OLD)}/1"\n'.encode()


@pytest.mark.parametrize("behind", [*call_lines(2, ["answers"], epoch=OLD), HUNG_UP, b"garbage\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_what_opens_a_call_opens_it_whatever_stands_behind_it(behind: bytes, size: int) -> None:
    """Its line end is missing, as Asterisk died; the next one writes on."""
    calls, raw = OpenCalls("sim1", OLD, NEW), call_lines(1, ["answers"], epoch=OLD)[0].rstrip(b"\n") + behind
    for start in range(0, len(raw), size):
        calls.take(raw[start : start + size])
    wanted = behind != b"garbage\n"  # what was written on is no end of the line
    assert (call_id_of(1, OLD) in calls.lines()) == wanted


def test_a_last_line_without_its_end_may_open_and_never_closes() -> None:
    lines = {number: call_lines(number, ["answers"], epoch=OLD) for number in range(1, 4)}
    calls = OpenCalls("sim1", OLD, NEW)
    calls.take(lines[1][0].rstrip(b"\n"))
    calls.end_file()
    calls.take(b"".join([*lines[2][:-1], lines[2][-1].rstrip(b"\n")]))
    calls.end_file()
    calls.take(lines[3][0][:-2])
    calls.end_file()
    assert set(calls.lines()) == {call_id_of(number, OLD) for number in (1, 2)}


def test_what_never_ends_is_no_line_and_costs_no_memory() -> None:
    calls = OpenCalls("sim1", OLD, NEW)
    for _ in range(50):
        calls.take(b"x" * (1 << 20))
    assert len(calls._rest) <= 1 << 20
    calls.take(b"\n" + call_lines(1, ["answers"])[0])
    assert set(calls.lines()) == {call_id_of(1)}


def heartbeat(at_ms: int, *numbers: int) -> LastHeartbeat:
    """One that saw these calls answered, and never before."""
    return LastHeartbeat(OLD, at_ms, 0, {call_id_of(number): Talk(at_ms, 0) for number in numbers})


_cuts = st.tuples(st.integers(0, 3), st.booleans(), st.integers(1, 99))


@given(_cuts, st.none() | st.integers(-(10**9), 10**9), st.booleans())
def test_a_call_cut_anywhere_is_closed_once_leg_by_leg(
    story: tuple[int, bool, int], seen_after_ms: int | None, listed: bool
) -> None:
    fails, answers, cut = story
    legs = ["fails"] * fails + (["answers"] if answers else [])
    lines = call_lines(7, legs)
    lines = lines[: 1 + cut % max(1, len(lines) - 1)]
    last = None if seen_after_ms is None else heartbeat(START_MS + seen_after_ms, *([7] if listed else []))
    events = events_of(lines)
    closings = close_call(events, last)
    truly = [event for event in events if isinstance(event, LegEnded | CallEnded)]
    started = {event.leg for event in events if isinstance(event, LegStarted)}
    if not started:
        assert closings == []
        return
    wanted = [f"{call_id_of(7)}/{leg}" for leg in (0, *sorted(started))]
    assert sorted([*closed_legs(closings), *closed_legs(truly)]) == sorted(wanted)
    assert close_call(events, last) == closings  # the same again, whenever it is made
    for one in closings:
        assert one.estimated
        assert one.event_id.endswith(":leg_estimated" if isinstance(one, LegEnded) else "0:call_estimated")
        assert 0 <= one.duration_ms <= LONGEST_MS
        assert one.ended_at_ms >= max(one.started_at_ms, one.answered_at_ms or 0)
        assert decode_event(encode_event(one)) == one
        assert rate_leg(one).revision == 0
        assert one.facts == (CALL_FACTS if isinstance(one, CallEnded) else LEG_FACTS)
    inbound = closings[-1]
    assert isinstance(inbound, CallEnded)
    assert (inbound.legs, inbound.last_facts) == (max(started), LEG_FACTS)
    answered = [leg for leg in [*truly, *closings[:-1]] if leg.answered_at_ms is not None]
    if answered:  # both sides are billed for the same talk
        assert inbound.duration_ms == answered[0].duration_ms
        assert inbound.answered_at_ms == answered[0].answered_at_ms
    else:
        assert inbound.answered_at_ms is None


def test_the_estimate_by_hand() -> None:
    """Answered at 2.04 s; seen at 20 s; the next heartbeat never came."""
    events = events_of(call_lines(7, ["answers"])[:2])
    leg, call = close_call(events, heartbeat(START_MS + 20_000, 7))
    assert isinstance(leg, LegEnded)
    assert (leg.started_at_ms, leg.answered_at_ms, leg.ended_at_ms) == (
        START_MS + 40, START_MS + 2_040, START_MS + 20_000,
    )  # fmt: skip
    assert (leg.duration_ms, leg.dial_status, leg.cause, leg.release_side) == (17_960, "ANSWER", 41, "us")
    assert (call.started_at_ms, call.duration_ms, call.cause) == (START_MS, 17_960, 41)
    # Seen by no heartbeat: it ends where its last line stands, and its talk is nothing.
    leg, call = close_call(events, heartbeat(START_MS + 20_000))
    assert (leg.ended_at_ms, leg.duration_ms, call.duration_ms) == (START_MS + 2_040, 0, 0)
    # Never answered: it is on neither side of a vendor's figures.
    leg, call = close_call(events[:1], heartbeat(START_MS + 9_000, 7))
    assert (leg.answered_at_ms, leg.duration_ms, leg.dial_status, leg.pdd_ms) == (None, 0, "CANCEL", None)
    assert call.ended_at_ms == START_MS + 9_000


def test_a_call_whose_answered_leg_was_closed_truly_ends_as_the_leg_did() -> None:
    events = events_of(call_lines(7, ["fails", "answers"])[:-1])
    (call,) = close_call(events, heartbeat(START_MS + 900_000, 7))
    result = next(event for event in events if isinstance(event, LegEnded) and event.leg == 2)
    assert (call.answered_at_ms, call.ended_at_ms, call.duration_ms) == (
        result.answered_at_ms, result.ended_at_ms, result.duration_ms,
    )  # fmt: skip
    assert (call.cause, call.release_side, call.dial_status) == (16, "caller", "ANSWER")


def test_a_leg_whose_line_is_lost_while_its_calls_is_there_is_billed_as_its_call() -> None:
    events = events_of(line for line in call_lines(7, ["fails", "answers"]) if b"LEG_RESULT" not in line)
    first, second = close_call(events, heartbeat(START_MS + 900_000, 7))
    end = events[-1]
    assert isinstance(end, CallEnded)
    assert (first.answered_at_ms, first.duration_ms) == (None, 0)
    assert (second.answered_at_ms, second.duration_ms) == (end.answered_at_ms, end.duration_ms)


HOUR_MS = 3_600_000


@given(
    st.lists(st.sampled_from([0, 0, 0, HOUR_MS, -HOUR_MS, 5_000, -86_400_000]), min_size=1, max_size=30),
    st.integers(0, 4_999),
    st.integers(0, 3),
)
def test_a_clock_that_is_set_while_they_talk_makes_no_talk(steps: list[int], early_ms: int, ringing: int) -> None:
    """A heartbeat each 5 s, the wall clock set now and then: the talk is what has really gone by."""
    ahead_ms = START_MS
    kept: LastHeartbeat | None = None
    for place in range(-ringing, len(steps)):
        ahead_ms += steps[place] if place > 0 else 0
        monotonic_ms = 1_000_000 + place * 5_000
        call = ActiveChannel(call_id=call_id_of(7), leg=1, answered=place >= 0, seconds=0)
        kept = next_heartbeat(kept, OLD, ahead_ms + place * 5_000, monotonic_ms, [call])
    assert kept is not None
    # Answered a little before the heartbeat that saw it first.
    lines = call_lines(7, ["answers"], at_ms=START_MS - 2_040 - early_ms)[:2]
    leg, call_ended = close_call(events_of(lines), kept)
    assert leg.duration_ms == call_ended.duration_ms == early_ms + (len(steps) - 1) * 5_000
    assert leg.ended_at_ms == max(kept.at_ms, START_MS - early_ms)


def test_answered_after_the_last_heartbeat_is_no_talk_whatever_the_clock_says() -> None:
    call = ActiveChannel(call_id=call_id_of(7), leg=1, answered=False, seconds=0)
    kept = next_heartbeat(None, OLD, START_MS + HOUR_MS, 5_000, [call])
    leg, _ = close_call(events_of(call_lines(7, ["answers"])[:2]), kept)
    assert (leg.duration_ms, leg.answered_at_ms) == (0, START_MS + 2_040)
    assert next_heartbeat(kept, NEW, START_MS, 0, []).calls == {}
    talking = ActiveChannel(call_id=call_id_of(7), leg=1, answered=True, seconds=0)
    of_old = next_heartbeat(kept, OLD, 1, 2, [talking])
    assert next_heartbeat(of_old, NEW, 5, 6, [talking]).calls == {call_id_of(7): Talk(5, 6)}  # a new start has its own


def test_heartbeats_are_kept_for_each_of_the_last_epochs(tmp_path: Path) -> None:
    for epoch in range(1, KEPT_EPOCHS + 21):
        store_heartbeat(tmp_path, LastHeartbeat(epoch, 7, 0, {"a": Talk(1, 2), "b": None}))
    assert load_heartbeat(tmp_path, 20) is None
    assert load_heartbeat(tmp_path, 21) == LastHeartbeat(21, 7, 0, {"a": Talk(1, 2), "b": None})
    (tmp_path / "heartbeats" / "21.json").write_text('{"epoch": 21')
    with pytest.raises(AgentError, match=r"21\.json"):
        load_heartbeat(tmp_path, 21)
    store_heartbeat(tmp_path, LastHeartbeat(50, 7, 0, {}))
    (tmp_path / "heartbeats" / "50.json").rename(tmp_path / "heartbeats" / "51.json")
    with pytest.raises(AgentError, match="epoch 50: must be 1 of 51"):
        load_heartbeat(tmp_path, 51)


# ---- the agent


class Crash:
    """A node's directory after a crash: the old epoch's journal in two files, its last heartbeat, and a new start."""

    def __init__(self, directory: Path, seed: int, settings_of: Any, broker: Any) -> None:
        self.directory, self.settings_of, self.broker = directory, settings_of, broker
        lines, cut_off = crashed_journal(seed, 50)
        journal = directory / "journal"
        journal.mkdir(parents=True)
        (journal / "Master.csv.1").write_bytes(b"".join(lines[:60]))
        # Asterisk's last line is torn, and the new one's first lines stand behind it.
        new = b"\n" + b"".join(call_lines(9_001, ["answers"], NEW) + call_lines(9_002, ["answers"], NEW)[:2])
        (journal / "Master.csv").write_bytes(b"".join(lines[60:]) + b'"USER_DEFINED","1.0","LEG_RES' + new)
        self.cut_off = cut_off
        seen = LastHeartbeat(
            OLD, START_MS + 20_000, 0, {call_id: Talk(START_MS + 20_000, 0) for call_id in [*cut_off][::2]}
        )
        store_heartbeat(directory, seen)
        store_state(directory, AgentState(epoch=OLD, started="before"))
        event = NodeRestarted(event_id="r", node="sim1", epoch=NEW, previous_epoch=OLD, at_ms=START_MS + 60_000)
        self.start_found = NewStart(event, NEW, "after", frozenset())

    def agent(self) -> Relay:
        """An agent that has found the new start."""
        relay = Relay(self.settings_of(self.directory, batch_bytes=1 << 16), self.broker)
        if relay.state.epoch != NEW:
            relay.begin(self.start_found)
        return relay

    def estimates(self) -> list[LegEnded | CallEnded]:
        return [event for event in self.broker.events() if getattr(event, "estimated", False)]


def run_until_stored(crash: Crash, relay: Relay) -> None:
    deadline = time.monotonic() + 10
    while load_state(crash.directory).epoch != NEW:
        relay.round()
        assert time.monotonic() < deadline


def test_the_dead_calls_are_closed_once_after_their_journal(tmp_path: Path, settings_of: Any, broker: Any) -> None:
    crash = Crash(tmp_path / "sim1", 3, settings_of, broker)
    relay = crash.agent()
    assert relay.known_start == (NEW, "after")  # it is not found twice
    run_until_stored(crash, relay)
    state = load_state(crash.directory)
    assert (state.epoch, state.started) == (NEW, "after")
    assert [event.epoch for event in broker.events("nodes")] == [NEW]
    events = broker.events()
    truly = [event for event in events if isinstance(event, LegEnded | CallEnded) and not event.estimated]
    started = {f"{event.call_id}/{leg}" for event in events if isinstance(event, LegStarted) for leg in (0, event.leg)}
    live = {f"{call_id_of(9_002, NEW)}/{leg}" for leg in (0, 1)}
    assert sorted([*closed_legs(crash.estimates()), *closed_legs(truly)]) == sorted(started - live)
    first = min(events.index(one) for one in crash.estimates())
    assert not [event for event in events[first:] if not getattr(event, "estimated", False)]  # the journal first
    assert relay.estimated == len(crash.estimates()) > 20
    seen = [call_id for call_id in [*crash.cut_off][::2] if len(crash.cut_off[call_id]) == 1]
    ends = {one.call_id: one.ended_at_ms for one in crash.estimates()}
    assert {ends[call_id] for call_id in seen} == {START_MS + 20_000}
    sent = len(broker.messages)
    for _ in range(3):
        relay.round()
    assert len(broker.messages) == sent


@pytest.mark.parametrize("seed", range(8))
def test_an_agent_killed_at_any_point_makes_the_same_closings_again(
    tmp_path: Path, settings_of: Any, broker_type: Any, killed: Any, seed: int
) -> None:
    whole = Crash(tmp_path / "whole" / "sim1", seed, settings_of, broker_type())
    run_until_stored(whole, whole.agent())
    wanted = {one.event_id: encode_event(one) for one in whole.estimates()}
    crash = Crash(tmp_path / "killed" / "sim1", seed, settings_of, broker_type())
    chosen = random.Random(seed)
    kills = 0
    while load_state(crash.directory).epoch != NEW:
        relay = crash.agent()
        try:
            sends = [(None, 0)] * chosen.randint(0, 1)
            crash.broker.then = [*sends, (killed, chosen.randint(0, 2))] if kills < 12 else []
            deadline = time.monotonic() + 10
            while load_state(crash.directory).epoch != NEW:
                relay.round()
                assert time.monotonic() < deadline
        except killed:
            kills += 1
    assert kills
    crash.broker.then = []
    made = crash.estimates()
    assert {one.event_id: encode_event(one) for one in made} == wanted
    assert len({(one.event_id, encode_event(one)) for one in made}) == len(wanted)  # a repeat says the same
    store_state(crash.directory, AgentState())  # the state is lost: all is read, and closed, anew
    run_until_stored(crash, crash.agent())
    assert {one.event_id: encode_event(one) for one in crash.estimates()} == wanted


def test_calls_that_are_really_there_and_true_ends_that_came_since_are_left_alone(
    tmp_path: Path, settings_of: Any, broker: Any
) -> None:
    crash = Crash(tmp_path / "sim1", 5, settings_of, broker)
    alive, late = sorted(crash.cut_off)[:2]
    found = crashed_calls("sim1", crash.directory, OLD, NEW, frozenset({alive}), NEVER)
    assert alive not in {one.call_id for one in found}
    assert late in {one.call_id for one in found}
    number = int(late.rpartition(".")[2])
    before = crash.cut_off[late]
    whole = next(
        lines
        for fails in range(4)
        for legs in (["fails"] * fails, ["fails"] * fails + ["answers"])
        if (lines := call_lines(number, legs))[: len(before)] == before and len(lines) > len(before)
    )  # fmt: skip
    with (crash.directory / "journal" / "Master.csv").open("ab") as journal:
        journal.write(b"".join(whole[len(before) :]))
    again = crashed_calls("sim1", crash.directory, OLD, NEW, frozenset({alive}), NEVER)
    assert {one.call_id for one in found} - {one.call_id for one in again} == {late}


def test_a_newer_start_takes_the_place_of_one_that_is_not_done(tmp_path: Path, settings_of: Any, broker: Any) -> None:
    crash = Crash(tmp_path / "sim1", 6, settings_of, broker)
    relay = crash.agent()
    relay.round()
    newest = NEW + 100
    event = NodeRestarted(event_id="r2", node="sim1", epoch=newest, previous_epoch=NEW, at_ms=START_MS + 90_000)
    relay.begin(NewStart(event, newest, "later", frozenset()))
    deadline = time.monotonic() + 10
    while load_state(crash.directory).epoch != newest:
        relay.round()
        assert time.monotonic() < deadline
    closed = closed_legs(crash.estimates())
    assert f"{call_id_of(9_002, NEW)}/0" in closed  # died with the start between
    assert {one.rpartition("/")[0] for one in closed} == {*crash.cut_off, call_id_of(9_002, NEW)}


def test_a_journal_that_cannot_be_read_ends_the_agent_and_stores_nothing(
    tmp_path: Path, settings_of: Any, broker: Any
) -> None:
    crash = Crash(tmp_path / "sim1", 6, settings_of, broker)
    (crash.directory / "heartbeats" / f"{OLD}.json").write_text("{")
    with pytest.raises(AgentError, match="closed at their last line"):
        run_until_stored(crash, crash.agent())
    assert load_state(crash.directory).epoch == OLD
