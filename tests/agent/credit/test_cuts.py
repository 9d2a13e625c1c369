"""Which calls are cut, and when: at the end of what is paid, never before, and not where there is money again."""

from hypothesis import given
from hypothesis import strategies as st

from agent.ami.events import Seen
from agent.credit.cuts import AGAIN_MS, LEAD_MS, Cut, Cuts


def seen(at_ms: int, **answered_at_ms: int) -> Seen:
    names = {call: f"PJSIP/{call}" for call in answered_at_ms}
    return Seen(at_ms, [], names, dict(answered_at_ms), {}, {})


def test_a_call_is_cut_when_its_money_ends_and_not_at_the_refusal() -> None:
    cuts = Cuts()
    cuts.seen(seen(45_000, a=5_000, b=0))
    assert cuts.next_at_ms() is None
    cuts.unpaid({"a": 60})  # told at 40 seconds of talk
    assert cuts.next_at_ms() == 65_000 - LEAD_MS
    assert cuts.due(64_800) == []
    assert cuts.due(64_900) == [Cut("a", "PJSIP/a", 60)]
    assert cuts.due(64_950) == []  # asked for already
    assert cuts.next_at_ms() == 64_900 + AGAIN_MS
    assert cuts.due(64_900 + AGAIN_MS) == [Cut("a", "PJSIP/a", 60)]  # it is still there
    cuts.gone("a")
    assert cuts.next_at_ms() is None


def test_money_that_comes_in_time_and_a_call_that_ends_need_no_cut() -> None:
    cuts = Cuts()
    cuts.seen(seen(45_000, a=5_000, b=0))
    cuts.unpaid({"a": 60, "b": 50, "unknown": 1})
    cuts.unpaid({"b": 50})  # the next status: a has been paid for
    assert [one.call_id for one in cuts.due(100_000)] == ["b"]
    cuts.seen(seen(101_000, a=5_000))
    assert cuts.due(200_000) == []
    cuts.seen(seen(201_000, a=5_000, b=0))
    assert [one.call_id for one in cuts.due(201_000)] == ["b"]  # at once: its moment is long past


def test_a_call_that_is_not_answered_talks_for_nothing() -> None:
    cuts = Cuts()
    cuts.seen(Seen(1_000, [], {"a": "PJSIP/a"}, {}, {"a": 1_000}, {}))
    cuts.unpaid({"a": 0})
    assert (cuts.next_at_ms(), cuts.due(10**9)) == (None, [])


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50_000)),
    st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 100)),
    st.lists(st.integers(0, 3_000), max_size=60),
)
def test_nobody_is_cut_early_and_nobody_late(answered: dict[str, int], paid: dict[str, int], steps: list[int]) -> None:
    cuts, now_ms = Cuts(), 0
    cuts.seen(seen(0, **answered))
    cuts.unpaid(paid)
    was_cut = set()
    for step in steps:
        now_ms += step
        was_cut |= {one.call_id for one in cuts.due(now_ms)}
        wanted = {call for call in answered.keys() & paid if answered[call] + paid[call] * 1000 - LEAD_MS <= now_ms}
        assert was_cut == wanted
