"""Calls without an end: up, young, on a silent node, or missing; each against the rule written down at length."""

from hypothesis import given
from hypothesis import strategies as st

from sinks.audit.continuous.calls import (
    MAX_NAMED,
    MAX_OF_NODE,
    NO_END,
    NOT_UP,
    NOT_VERIFIED,
    Heard,
    OpenCall,
    Patience,
    judge,
)

NOW_MS = 1_000_000
PATIENCE = Patience(young_ms=30_000, settle_ms=60_000, silent_ms=50_000)
OLD_MS = NOW_MS - 500_000


def heard(*calls: str, ago_ms: int = 1_000) -> dict[str, Heard]:
    return {"ast1": Heard(NOW_MS - ago_ms, frozenset(calls))}


def said(*calls: OpenCall, by: dict[str, Heard]) -> list[tuple[str, str]]:
    return [(one.kind, one.subject) for one in judge(calls, by, NOW_MS, PATIENCE).differences]


def test_a_call_is_named_once_it_has_been_missing_for_the_time_to_settle() -> None:
    new = OpenCall(NO_END, "a", "ast1", OLD_MS)
    judged = judge([new], heard("b"), NOW_MS, PATIENCE)
    assert (judged.missing, judged.differences) == ({"a": NOW_MS}, [])
    (one,) = judge([new._replace(missing_ms=NOW_MS - 60_000)], heard("b"), NOW_MS, PATIENCE).differences
    assert (one.kind, one.subject, one.since_ms) == (NO_END, "a/0", NOW_MS - 60_000)


def test_a_call_that_comes_up_again_is_not_missing() -> None:
    judged = judge([OpenCall(NO_END, "a", "ast1", OLD_MS, OLD_MS)], heard("a"), NOW_MS, PATIENCE)
    assert (judged.missing, judged.differences, judged.counts, judged.admitted) == ({}, [], {"up": 1}, 1)


def test_a_hold_is_named_as_one() -> None:
    assert said(OpenCall(NOT_UP, "a", "ast1", OLD_MS, OLD_MS), by=heard()) == [(NOT_UP, "a/0")]


def test_a_silent_node_is_named_with_its_calls_and_says_nothing_of_them() -> None:
    calls = [OpenCall(kind, "a", "ast1", OLD_MS, OLD_MS) for kind in (NO_END, NOT_UP)]
    for by in (heard("a", ago_ms=50_001), heard(ago_ms=50_001), {}):
        judged = judge(calls, by, NOW_MS, PATIENCE)
        assert [(one.kind, one.subject, one.detail) for one in judged.differences] == [(NOT_VERIFIED, "ast1", "a")]
        assert judged.missing == {}
    many = [OpenCall(NO_END, f"c{number:03}", "ast1", OLD_MS) for number in range(MAX_OF_NODE + 3)]
    (one,) = judge(many, {}, NOW_MS, PATIENCE).differences
    assert one.detail.endswith("c009 and 3 more")


def test_many_are_named_up_to_a_limit() -> None:
    calls = [OpenCall(NO_END, f"c{number:04}", "ast1", OLD_MS, OLD_MS) for number in range(MAX_NAMED + 5)]
    found = judge(calls, heard(), NOW_MS, PATIENCE).differences
    assert len(found) == MAX_NAMED + 1
    assert found[-1].subject == "5 more"


_moments = st.sampled_from(
    [NOW_MS - ms for ms in (0, 1, 29_999, 30_000, 30_001, 50_000, 50_001, 60_000, 60_001, 80_000, 80_001, 110_000)]
)
_calls = st.builds(
    OpenCall, st.sampled_from([NO_END, NOT_UP]), st.sampled_from("abc"), st.sampled_from(["ast1", "ast2"]), _moments,
    st.none() | _moments,
)  # fmt: skip
_heard = st.dictionaries(
    st.sampled_from(["ast1", "ast2"]), st.builds(Heard, _moments, st.frozensets(st.sampled_from("abc")))
)


@given(_calls, _heard)
def test_each_call_is_judged_by_the_rule(call: OpenCall, by: dict[str, Heard]) -> None:
    judged = judge([call], by, NOW_MS, PATIENCE)
    age_ms = NOW_MS - call.admitted_at_ms
    silent_for_ms = NOW_MS - by[call.node].at_ms if call.node in by else 10**9
    nobody_can_have_heard = age_ms < 30_000
    heard_too_soon = age_ms - silent_for_ms < 30_000
    may_have_just_ended = call.missing_ms is None or NOW_MS - call.missing_ms < 60_000
    kinds = [one.kind for one in judged.differences]
    if not nobody_can_have_heard and silent_for_ms > 50_000:
        assert kinds == [NOT_VERIFIED]
    elif nobody_can_have_heard or call.call_id in by[call.node].calls or heard_too_soon or may_have_just_ended:
        assert kinds == []
    else:
        assert kinds == [call.kind]
