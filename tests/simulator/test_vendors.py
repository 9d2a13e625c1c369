"""Vendors: the same seed makes the same quality; plans are possible ones; incidents do what they say."""

import random
from statistics import mean

from hypothesis import given
from hypothesis import strategies as st

from simulator.people import draw_callee_plan
from simulator.plans import CalleePlan
from simulator.vendors import GRADES, Effects, Quality, Vendors, plan_leg

GOOD = Quality(delivered=1.0, pdd_ms=1_000, false_answers=0.0, early_media=0.0)
ANSWERS = CalleePlan(True, True, 4_000, 200, 30_000, "caller")


def test_quality_comes_from_the_seed_the_vendor_and_the_destination_alone() -> None:
    first, second = Vendors(7, {}), Vendors(7, {})
    second.quality_of(9, "1")  # what was asked before does not matter
    assert first.quality_of(3, "44770") == second.quality_of(3, "44771")
    qualities = {Vendors(seed, {}).quality_of(3, "447") for seed in range(20)}
    assert len(qualities) > 15
    assert len({first.quality_of(3, code) for code in ("447", "331", "121", "971")}) == 4


def test_all_grades_appear_among_some_tens_of_vendors() -> None:
    vendors = Vendors(1, {})
    assert {vendors.grade_of(peer_id) for peer_id in range(60)} == set(GRADES)


def test_a_name_tells_its_grade() -> None:
    vendors = Vendors(1, {5: "kestrel-grey", 6: "poor-kestrel", 7: "sipp-vendor-1"})
    assert vendors.grade_of(5) == "grey"
    assert vendors.grade_of(6) == Vendors(1, {}).grade_of(6)


@given(st.integers(0, 10**9), st.floats(0, 1), st.floats(100, 9_000), st.floats(0, 1), st.floats(0, 1))
def test_every_plan_is_possible(seed: int, delivered: float, pdd_ms: float, false: float, media: float) -> None:
    rng = random.Random(seed)
    callee = draw_callee_plan(rng, 35.0)
    plan = plan_leg(rng, Quality(delivered, pdd_ms, false, media), callee)
    if plan.final_ms is None:
        assert plan.ring_ms is None
        assert plan.progress_ms is None
        return
    assert plan.final_ms >= 0
    assert 200 <= plan.sip_code <= 699
    assert plan.sip_code != 200 or plan.talk_ms > 0
    for moment in (plan.ring_ms, plan.progress_ms):
        assert moment is None or moment >= 0


def share_answered(effects: Effects, quality: Quality = GOOD) -> float:
    rng = random.Random(5)
    return mean(plan_leg(rng, quality, ANSWERS, effects).sip_code == 200 for _ in range(2_000))


def test_a_vendor_that_is_down_refuses_with_503() -> None:
    plan = plan_leg(random.Random(1), GOOD, ANSWERS, Effects(down=True))
    assert (plan.sip_code, plan.ring_ms) == (503, None)
    assert plan.final_ms is not None
    assert plan.final_ms < 1_000


def test_an_unreachable_vendor_says_nothing() -> None:
    plan = plan_leg(random.Random(1), GOOD, ANSWERS, Effects(unreachable=True))
    assert plan.final_ms is None


def test_a_slow_vendor_is_later_by_so_much() -> None:
    usual = plan_leg(random.Random(1), GOOD, ANSWERS)
    slow = plan_leg(random.Random(1), GOOD, ANSWERS, Effects(extra_ms=6_000))
    assert usual.ring_ms is not None
    assert usual.final_ms is not None
    assert (slow.ring_ms, slow.final_ms) == (usual.ring_ms + 6_000, usual.final_ms + 6_000)


def test_a_drop_of_asr_keeps_its_share_of_answers() -> None:
    assert share_answered(Effects()) == 1.0
    assert 0.25 < share_answered(Effects(answers_kept=0.3)) < 0.35


def test_false_answers_answer_what_nobody_answered() -> None:
    nobody = CalleePlan(False, True, 60_000, 480, 0, "callee")
    rng = random.Random(5)
    plans = [plan_leg(rng, GOOD, nobody, Effects(false_answers=0.5)) for _ in range(2_000)]
    answered = [plan for plan in plans if plan.sip_code == 200]
    assert 0.45 < len(answered) / len(plans) < 0.55
    assert all(plan.ended_by == "caller" and plan.talk_ms <= 16_000 for plan in answered)


def test_the_quality_is_what_is_seen() -> None:
    poor = Quality(delivered=0.5, pdd_ms=1_000, false_answers=0.0, early_media=0.0)
    assert 0.46 < share_answered(Effects(), poor) < 0.54
