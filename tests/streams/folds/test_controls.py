"""Controllers' judgement: beyond the threshold N times on end, with the sample, once; and the same after any replay."""

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.events import LegEnded, RatedLeg, decode_event
from schemas.live import LiveCall, LiveLeg
from streams.folds.behaviour import HISTORY_MS, Behaviour, Seen
from streams.folds.controls import (
    E6,
    LATE_MS,
    SPARE_MS,
    Action,
    Known,
    OriginationControl,
    Scope,
    TerminationControl,
    check_vendor,
    figure_of,
    moment_of,
    origination_actions,
    reach_ms,
    termination_actions,
)
from streams.folds.quality import Figures, Key

EXAMPLES = Path(events.__file__).parent / "examples"
LEG: Any = decode_event((EXAMPLES / "leg_ended.json").read_bytes())
RATED: Any = decode_event((EXAMPLES / "rated_leg.json").read_bytes())
CALL: Any = decode_event((EXAMPLES / "call_ended.json").read_bytes())
ROUTED: Any = decode_event((EXAMPLES / "call_routed.json").read_bytes())
NOW_MS = 1_795_700_000_000
DAY_MS = 86_400_000


def termination(**changes: Any) -> TerminationControl:
    made = TerminationControl(
        control_id=3, name="bad ASR", peer_id=0, scope="vendor", code_prefix="", metric="asr", threshold_e2=2_000,
        checks=3, check_seconds=60, window_seconds=300, minimum_sample=10, action="block", release_minutes=30,
        most_actions=10, notify=True,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def origination(**changes: Any) -> OriginationControl:
    made = OriginationControl(
        control_id=4, name="surge", peer_id=0, measure="cps", threshold_e6=2 * E6, timetable="", time_zone="UTC",
        timetable_e6=None, window_seconds=60, check_seconds=10, action="block", cap_concurrent=None,
        release_minutes=None, most_actions=10, notify=True,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def rated(number: int, vendor: int, ended_at_ms: int, *, answered: bool, code: str = "44") -> RatedLeg:
    ended: LegEnded = msgspec.structs.replace(
        LEG,
        call_id=f"sim1-1795000000-1795608000.{number + 1}",
        leg=1,
        facts=msgspec.structs.replace(LEG.facts, vendor_peer_id=vendor, code=code),
        ended_at_ms=ended_at_ms,
        answered_at_ms=ended_at_ms - 900 if answered else None,
        duration_ms=900 if answered else 0,
        dial_status="ANSWER" if answered else "CONGESTION",
    )
    made: RatedLeg = msgspec.structs.replace(RATED, leg_id=f"{ended.call_id}/1", side="payable", ended=ended)
    return made


def behaviour(known: Mapping[tuple[int, int], Seen] = {}) -> Behaviour:
    return Behaviour(7_200_000, known)


def acted_by(
    control: TerminationControl,
    seen: Behaviour,
    moment_ms: int,
    known: Known = Known(frozenset(), {}),  # noqa: B008
) -> list[Action]:
    """What a control does, of what was seen."""
    return termination_actions(control, seen.vendors.totals(), partial(seen.figures, control.metric), moment_ms, known)


def legs_of(vendor: int, asr_percent: int, *, code: str = "44", begin: int = 0) -> list[RatedLeg]:
    """A leg every two seconds over the last ten minutes, so many of each hundred answered."""
    return [
        rated(begin + number, vendor, NOW_MS - 2_000 * number - 1, answered=number % 100 < asr_percent, code=code)
        for number in range(300)
    ]


@pytest.mark.parametrize(
    ("metric", "value"), [("asr", 2_500), ("acd", 3_000), ("ner", 5_000), ("pdd", 250), ("fas", 1_000)]
)
def test_figures(metric: Any, value: int) -> None:
    figures = Figures(40, 10, 15, 30, 300_000, 50_000, 20, 1)
    sample = {"asr": 40, "acd": 10, "ner": 30, "pdd": 20, "fas": 10}[metric]
    assert figure_of(metric, figures) == (value, sample)
    assert figure_of(metric, Figures()) == (None, 0)


@pytest.mark.parametrize("metric", ["asr", "acd", "ner", "pdd", "fas"])
@given(value=st.integers(0, 10_000), threshold=st.integers(0, 10_000), sample=st.integers(0, 40))
def test_beyond_the_threshold_with_the_sample(metric: Any, value: int, threshold: int, sample: int) -> None:
    """Oracle: the words of the rule, in floating point with values that have none of its errors."""
    figures = {
        "asr": Figures(attempts=sample * 10_000, answered=sample * value),
        "ner": Figures(effective_of=sample * 10_000, effective=sample * value),
        "fas": Figures(answered=sample * 10_000, suspects=sample * value),
        "acd": Figures(answered=sample, talk_ms=sample * value * 10),
        "pdd": Figures(pdd_legs=sample, pdd_ms=sample * value * 10),
    }[metric]
    per_leg = 1 if metric in ("acd", "pdd") else 10_000
    control = termination(metric=metric, threshold_e2=threshold, checks=1, minimum_sample=20 * per_leg)
    low = metric in ("asr", "acd", "ner")
    wanted = sample >= 20 and (value < threshold if low else value > threshold)
    assert bool(check_vendor(control, lambda _from, _until: figures, NOW_MS)) == wanted


def test_n_checks_on_end_each_with_its_own_window() -> None:
    control = termination()
    asked: list[tuple[int, int]] = []
    bad = Figures(attempts=50, answered=5)

    def between(from_ms: int, until_ms: int) -> Figures:
        asked.append((from_ms, until_ms))
        return bad

    reason = check_vendor(control, between, NOW_MS)
    assert reason == "ASR 10 % of 50 legs in 300 s, below 20 %, in 3 checks on end"
    assert asked[:3] == [(NOW_MS - 300_000 - 60_000 * number, NOW_MS - 60_000 * number) for number in range(3)]
    good_then = {NOW_MS - 120_000: Figures(50, 25)}
    assert not check_vendor(control, lambda _, until_ms: good_then.get(until_ms, bad), NOW_MS)
    few_then = {NOW_MS - 60_000: Figures(9, 0)}
    assert not check_vendor(control, lambda _, until_ms: few_then.get(until_ms, bad), NOW_MS)


def test_what_was_released_is_judged_by_what_came_after() -> None:
    seen = behaviour()
    for leg in legs_of(7, 5):
        seen.take(leg, NOW_MS)
    control = termination(checks=2)
    moment_ms = NOW_MS // 60_000 * 60_000
    assert [one.peer_id for one in acted_by(control, seen, moment_ms)] == [7]
    just = Known(frozenset(), {Scope(7): moment_ms - 60_000})
    assert acted_by(control, seen, moment_ms, just) == []  # one check since then
    longer = Known(frozenset(), {Scope(7): moment_ms - 130_000})
    (again,) = acted_by(control, seen, moment_ms, longer)
    assert "of 65 legs" in again.reason  # not of 150: what it was blocked for does not count again
    assert acted_by(control, seen, moment_ms, Known(frozenset([Scope(7)]), {})) == []


def test_scopes_peers_prefixes_and_the_most_at_once() -> None:
    seen = behaviour()
    for vendor, asr, code, begin in (
        (7, 5, "44", 0),
        (8, 60, "44", 1_000),
        (9, 5, "4477", 2_000),
        (9, 60, "49", 3_000),
    ):
        for leg in legs_of(vendor, asr, code=code, begin=begin):
            seen.take(leg, NOW_MS)
    moment_ms = NOW_MS // 60_000 * 60_000

    def acted(control: TerminationControl, known: Known = Known(frozenset(), {})) -> list[Scope]:  # noqa: B008
        return [Scope(one.peer_id, one.code) for one in acted_by(control, seen, moment_ms, known)]

    assert acted(termination()) == [Scope(7)]  # vendor 9 as a whole has 32 %
    assert acted(termination(threshold_e2=4_000)) == [Scope(9), Scope(7)]
    assert acted(termination(threshold_e2=4_000, peer_id=9)) == [Scope(9)]
    assert acted(termination(threshold_e2=4_000, most_actions=1)) == [Scope(9)]
    assert acted(termination(threshold_e2=4_000, most_actions=1), Known(frozenset([Scope(8)]), {})) == []
    assert set(acted(termination(scope="code"))) == {Scope(7, "44"), Scope(9, "4477")}
    assert acted(termination(scope="code", code_prefix="447")) == [Scope(9, "4477")]
    (one,) = acted_by(termination(), seen, moment_ms)
    assert one.action_id == f"termination/3/7//{moment_ms // 1000}"
    assert (one.since_ms, one.until_ms) == (moment_ms, moment_ms + 30 * 60_000)
    by_hand = acted_by(termination(release_minutes=None, action="demote"), seen, moment_ms)
    assert [(one.action, one.until_ms) for one in by_hand] == [("demote", None)]


@given(st.randoms(use_true_random=False), st.integers(0, 40), st.integers(0, 100_000))
def test_any_order_any_repeats_and_a_restart_find_the_same_actions(
    chosen: random.Random, asr_percent: int, offset_ms: int
) -> None:
    made = [leg for vendor in (7, 8) for leg in legs_of(vendor, asr_percent, begin=1_000 * vendor)][::4]
    again = [leg for leg in made for _ in range(chosen.randint(1, 2))]
    chosen.shuffle(again)
    first, second = behaviour(), behaviour()
    for leg in made:
        first.take(leg, NOW_MS)
    for leg in again:
        second.take(leg, NOW_MS)
    control = termination(checks=2)
    moment_ms = moment_of(control, NOW_MS + offset_ms)
    found = acted_by(control, first, moment_ms)
    assert found == acted_by(control, second, moment_ms)
    assert len({one.action_id for one in found}) == len(found)


def test_the_window_reaches_as_far_as_the_checks() -> None:
    assert reach_ms([]) == SPARE_MS
    both = [termination(window_seconds=300, checks=3, check_seconds=60), origination(window_seconds=470)]
    assert reach_ms(both) == 480_000 + SPARE_MS
    assert reach_ms(both[1:]) == 470_000 + SPARE_MS


def test_the_moment_of_a_check_is_everybodys_and_waits_for_late_legs() -> None:
    control = termination(check_seconds=60)
    full = NOW_MS // 60_000 * 60_000
    assert moment_of(control, full + LATE_MS) == full
    assert moment_of(control, full + LATE_MS - 1) == full - 60_000


def test_a_leg_counts_at_its_outcome_and_while_it_talks() -> None:
    """A vendor who has just got his first calls: what failed has ended, what was answered still talks."""
    seen = behaviour()
    for number in range(20):
        seen.take(rated(number, 7, NOW_MS - 30_000, answered=False), NOW_MS)
    control = termination(checks=1, minimum_sample=10, window_seconds=60, check_seconds=10)
    assert acted_by(control, seen, NOW_MS)
    facts = msgspec.structs.replace(LEG.facts, vendor_peer_id=7, code="44")
    call_facts = msgspec.structs.replace(CALL.facts, customer_peer_id=1)
    for number in range(20, 40):
        call_id = f"sim1-1795000000-1795608000.{number + 1}"
        legs = (LiveLeg(leg=1, facts=facts, answered_at_ms=NOW_MS - 30_000),)
        seen.take_live(call_id.encode(), LiveCall(call_id=call_id, call_facts=call_facts, legs=legs))
    assert not acted_by(control, seen, NOW_MS)
    figures = seen.figures("asr", Key("vendor_code", 7, "44"), NOW_MS - 60_000, NOW_MS)
    assert (figures.attempts, figures.answered, figures.effective_of) == (40, 20, 40)
    # They end one after the other, much later: each still counts once, at the moment of its answer.
    later = NOW_MS + 200_000
    for number in range(20, 40):
        ended = rated(number, 7, later, answered=True)
        moved = msgspec.structs.replace(ended.ended, answered_at_ms=NOW_MS - 30_000, duration_ms=230_000)
        seen.take(msgspec.structs.replace(ended, ended=moved), later)
        seen.take_live(ended.ended.call_id.encode(), None if number % 2 else seen_live(ended.ended.call_id, call_facts))
    assert seen.figures("asr", Key("vendor", 7), NOW_MS - 60_000, NOW_MS)[:2] == (40, 20)
    assert seen.figures("asr", Key("vendor", 7), NOW_MS, later + 10_000).attempts == 0
    assert seen.figures("acd", Key("vendor", 7), later, later + 10_000)[:5] == (20, 20, 20, 20, 20 * 230_000)


def seen_live(call_id: str, call_facts: Any) -> LiveCall:
    """The live view is late: it still shows a leg that was rated already."""
    facts = msgspec.structs.replace(LEG.facts, vendor_peer_id=7, code="44")
    legs = (LiveLeg(leg=1, facts=facts, answered_at_ms=NOW_MS - 30_000),)
    return LiveCall(call_id=call_id, call_facts=call_facts, legs=legs)


# ---- customers


def routed(number: int, at_ms: int, peer: int = 1, destination: int = 5) -> Any:
    return msgspec.structs.replace(
        ROUTED, call_id=f"sim1-1795000000-1795608000.{number + 1}", routed_at_ms=at_ms, customer_peer_id=peer,
        destination_id=destination,
    )  # fmt: skip


def billed(number: int, ended_at_ms: int, talk_ms: int, micros: int, peer: int = 1) -> RatedLeg:
    ended = msgspec.structs.replace(
        CALL, call_id=f"sim1-1795000000-1795608000.{number + 1}", ended_at_ms=ended_at_ms, duration_ms=talk_ms,
        answered_at_ms=ended_at_ms - talk_ms, reason="",
        facts=msgspec.structs.replace(CALL.facts, customer_peer_id=peer),
    )  # fmt: skip
    made: RatedLeg = msgspec.structs.replace(
        RATED, leg_id=f"{ended.call_id}/0", side="receivable", ended=ended, amount_micros=micros
    )
    return made


def test_calls_a_second_minutes_and_spend_of_the_window() -> None:
    seen = behaviour()
    for number in range(240):
        seen.take(routed(number, NOW_MS - 250 * number - 1), NOW_MS)
        seen.take(routed(number, NOW_MS - 250 * number - 1), NOW_MS)
    seen.take(routed(9_000, NOW_MS - 90_000), NOW_MS)
    assert seen.measured(origination(measure="cps"), NOW_MS) == {1: 4 * E6}
    for number, peer in ((1, 1), (2, 1), (3, 2)):
        seen.take(billed(number, NOW_MS - 10_000, 90_000, 1_250_000, peer), NOW_MS)
        seen.take(billed(number, NOW_MS - 10_000, 90_000, 1_250_000, peer), NOW_MS)
    assert seen.measured(origination(measure="spend"), NOW_MS) == {1: 2_500_000, 2: 1_250_000}
    live = LiveCall(
        call_id="x", call_facts=msgspec.structs.replace(CALL.facts, customer_peer_id=2),
        legs=(LiveLeg(leg=1, answered_at_ms=NOW_MS - 30_000),),
    )  # fmt: skip
    seen.take_live(b"x", live)
    # A minute and a half that ended, and half a minute that goes on.
    assert seen.measured(origination(measure="minutes"), NOW_MS) == {1: 3 * E6, 2: 2 * E6}
    assert seen.measured(origination(measure="minutes", window_seconds=10), NOW_MS)[2] == 1_666_666
    assert seen.measured(origination(measure="concurrent"), NOW_MS) == {2: E6}
    seen.take_live(b"x", msgspec.structs.replace(live, ended_at_ms=NOW_MS))
    assert seen.measured(origination(measure="concurrent"), NOW_MS) == {}


def test_destinations_are_new_to_whoever_has_a_history() -> None:
    old = Seen(NOW_MS - 20 * DAY_MS, NOW_MS - 2 * DAY_MS)
    forgotten = Seen(NOW_MS - 300 * DAY_MS, NOW_MS - HISTORY_MS - DAY_MS)
    seen = behaviour({(1, 5): old, (1, 6): forgotten})
    control = origination(measure="new_destinations", window_seconds=600)
    for number, destination in enumerate((5, 6, 7, 7, 8)):
        seen.take(routed(number, NOW_MS - 1_000 * number - 1, destination=destination), NOW_MS)
    for number in range(20):
        seen.take(routed(100 + number, NOW_MS - 1_000, peer=2, destination=number + 1), NOW_MS)
    assert seen.measured(control, NOW_MS) == {1: 3 * E6}  # customer 2 began to call a minute ago
    assert seen.take_changed()[1, 5] == Seen(old.first_ms, NOW_MS - 1)
    assert seen.take_changed() == {}
    later = NOW_MS + 700_000
    assert seen.measured(control, later) == {}


def test_above_the_threshold_once_and_after_a_release_only_when_the_window_is_over() -> None:
    control = origination(action="cap", cap_concurrent=5, release_minutes=10)
    measured = {1: 3 * E6, 2: 2 * E6, 3: 9_500_000}
    found = origination_actions(control, control.threshold_e6, measured, NOW_MS)
    assert [(one.peer_id, one.action, one.cap_concurrent) for one in found] == [(3, "cap", 5), (1, "cap", 5)]
    assert found[0].reason == "9.5 calls a second in 60 s, above 2"
    assert found[0].action_id == f"origination/4/3//{NOW_MS // 1000}"
    known = Known(frozenset([Scope(3)]), {Scope(1): NOW_MS - 59_000})
    assert origination_actions(control, control.threshold_e6, measured, NOW_MS, known) == []
    over = Known(frozenset([Scope(3)]), {Scope(1): NOW_MS - 60_000})
    assert [one.peer_id for one in origination_actions(control, control.threshold_e6, measured, NOW_MS, over)] == [1]
    assert origination_actions(msgspec.structs.replace(control, peer_id=2), 0, measured, NOW_MS)[0].peer_id == 2
