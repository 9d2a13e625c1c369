"""Legs on the wire against closed legs, against a slow oracle; and what a leg should have been billed."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bench.soak.matching import ClosedLeg, Pair, billed_otherwise, figures, match, whole_seconds
from bench.soak.wire import Side, WireLeg


def wire(call_id: str, talk_ms: float | None = 1_000, side: Side = "customer", *, ended: bool = True) -> WireLeg:
    """`talk_ms` None: it was not answered."""
    answered_us = None if talk_ms is None else 5_000
    ended_us = None if talk_ms is None or not ended else 5_000 + round(talk_ms * 1000)
    return WireLeg(call_id, side, ("127.91.1.1", 6000), "44", 1_000, 200, answered_us, ended_us)


def closed(call_id: str, duration_ms: int = 1_000, side: Side = "customer", *, answered: bool = True) -> ClosedLeg:
    return ClosedLeg(call_id, side, f"leg of {call_id}", answered, duration_ms, -(-duration_ms // 1000))


def test_all_of_it_matches() -> None:
    found = match("customer", [wire("a"), wire("b", None)], [closed("a", 1_040), closed("b", 0, answered=False)])
    assert found.ok
    assert (found.wire, found.closed, found.differences_ms) == (1, 1, [40])


def test_a_leg_lost_a_leg_made_up_and_a_leg_twice() -> None:
    lost = match("vendor", [wire("a", side="vendor")], [closed("a", 0, "vendor", answered=False), closed("a")])
    assert (lost.ok, [leg.call_id for leg in lost.only_wire]) == (False, ["a"])
    made_up = match("customer", [wire("a", None)], [closed("a")])
    assert (made_up.ok, [leg.sip_call_id for leg in made_up.only_closed]) == (False, ["a"])
    twice = match("customer", [wire("a")], [closed("a"), closed("a")])
    assert (twice.ok, twice.repeated) == (False, ["a"])
    unanswered_twice = match("customer", [wire("a")], [closed("a"), closed("a", 0, answered=False)])
    assert unanswered_twice.repeated == ["a"]


def test_where_a_cancel_crossed_the_answer_the_leg_must_be_there_answered_or_not() -> None:
    cancelled = wire("a")._replace(cancelled_us=4_000)
    unanswered = wire("a", None)._replace(cancelled_us=4_000)
    for on_the_wire, cdr in ((cancelled, closed("a", 0, answered=False)), (unanswered, closed("a"))):
        found = match("customer", [on_the_wire], [cdr])
        assert (found.ok, found.crossed) == (True, [on_the_wire])
    both = match("customer", [cancelled], [closed("a")])
    assert (both.ok, both.crossed, len(both.pairs)) == (True, [], 1)
    assert not match("customer", [cancelled], []).ok  # lost
    assert not match("customer", [cancelled], [closed("a", 0, answered=False)] * 2).ok
    assert not match("customer", [wire("a")], [closed("a", 0, answered=False)]).ok  # nobody cancelled
    assert match("customer", [unanswered], [closed("a", 0, answered=False)]).crossed == []


def test_a_200_that_was_unread_when_we_gave_up_is_crossed_unless_the_customer_was_answered() -> None:
    given_up = wire("v", 3, "vendor")._replace(ended_by="node", number="4477")
    unanswered = closed("v", 0, "vendor", answered=False)
    customer = wire("c", None)._replace(number="4477")
    assert match("vendor", [customer, given_up], [unanswered]).crossed == [given_up]
    assert match("vendor", [wire("c")._replace(number="4477"), given_up], [unanswered]).only_wire == [given_up]
    by_vendor = given_up._replace(ended_by="peer")
    assert match("vendor", [customer, by_vendor], [unanswered]).only_wire == [by_vendor]
    assert match("vendor", [customer, given_up], []).only_wire == [given_up]


def test_an_answered_leg_without_call_id_is_not_lost_among_others() -> None:
    found = match("customer", [], [closed(""), closed("")])
    assert not found.ok
    assert (found.closed, found.repeated) == (2, [""])


CALL_IDS = st.lists(st.sampled_from("abcdefgh"), unique=True)
SIDES: tuple[Side, Side] = ("customer", "vendor")


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.sampled_from(SIDES), st.booleans())),
       st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(SIDES), st.booleans())))  # fmt: skip
def test_matching_agrees_with_counting(
    on_the_wire: dict[str, tuple[Side, bool]], ours: list[tuple[str, Side, bool]]
) -> None:
    legs = [wire(call_id, 1_000 if answered else None, side) for call_id, (side, answered) in on_the_wire.items()]
    cdrs = [closed(call_id, 1_000, side, answered=answered) for call_id, side, answered in ours]
    for side in SIDES:
        found = match(side, legs, cdrs)
        seen = {call_id for call_id, (which, answered) in on_the_wire.items() if which == side and answered}
        have = {call_id for call_id, which, answered in ours if which == side and answered}
        times = Counter(call_id for call_id, which, _ in ours if which == side)
        assert {pair.wire.call_id for pair in found.pairs} == seen & have
        assert {leg.call_id for leg in found.only_wire} == seen - have
        assert {leg.sip_call_id for leg in found.only_closed} == have - seen
        assert set(found.repeated) == {call_id for call_id, count in times.items() if count > 1}
        assert found.ok == (seen == have and max(times.values(), default=1) == 1)


def test_seconds_are_billed_as_they_begin() -> None:
    assert [whole_seconds(ms) for ms in (0, 0.2, 999.9, 1_000, 1_000.1, 29_800, 30_200)] == [1, 1, 1, 1, 2, 30, 31]


def test_a_bill_beside_the_wires_is_found_unless_the_talk_was_near_a_whole_second() -> None:
    def pair(talk_ms: float, billed_seconds: int) -> Pair:
        leg = closed("a")._replace(billed_seconds=billed_seconds)
        return Pair(wire("a", talk_ms), leg)

    right = [pair(29_800, 30), pair(30_200, 31), pair(0.1, 1), pair(29_990, 31), pair(30_010, 30)]
    wrong = [pair(29_800, 31), pair(30_200, 30), pair(30_010, 29), pair(500, 0), pair(500, 2)]
    assert billed_otherwise([*right, *wrong], 100) == wrong
    assert billed_otherwise([Pair(wire("a", 1_500, ended=False), closed("a", 99_000))], 100) == []


def test_the_figures_of_a_side() -> None:
    legs = [wire(f"{at}") for at in range(100)] + [wire("no end", ended=False)]
    cdrs = [closed(f"{at}", 1_000 - at) for at in range(100)] + [closed("no end")]
    found = figures([match("customer", legs, cdrs)])["customer"]
    assert (found["answered_on_the_wire"], found["matched"], found["without_bye"]) == (101, 101, 1)
    assert (found["talk_difference_p50_ms"], found["talk_difference_max_ms"]) == (50, 99)
    assert figures([match("vendor", [], [])])["vendor"]["talk_difference_max_ms"] is None
