"""Quality: any order, any repeats, any cut and any clock give the sums of a slow count; the rule of each figure."""

import itertools
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.clickhouse import connect
from runtime.connections import ClickHouse
from schemas import events
from schemas.events import CallEnded, LegEnded, decode_event
from sinks.cdrs import write_legs
from sinks.dimensions import Dimensions
from streams.folds import quality
from streams.folds.quality import Figures, Key, count, figures_of, is_suspect, keys_of
from streams.folds.rating import rate_leg
from streams.folds.window import AHEAD_MS, BUCKET_MS, Window
from streams.quality import REFRESH_MS, Published

EXAMPLES = Path(events.__file__).parent / "examples"
LEG: Any = decode_event((EXAMPLES / "leg_ended.json").read_bytes())
CALL: Any = decode_event((EXAMPLES / "call_ended.json").read_bytes())
NOW_MS = 1_795_700_000_000
WINDOW_MS = 60_000
Ended = LegEnded | CallEnded


def leg(**changes: Any) -> LegEnded:
    facts = {name: changes.pop(name) for name in ("vendor_peer_id", "code") if name in changes}
    made: LegEnded = msgspec.structs.replace(LEG, facts=msgspec.structs.replace(LEG.facts, **facts), **changes)
    return made


def call(**changes: Any) -> CallEnded:
    made: CallEnded = msgspec.structs.replace(CALL, **changes)
    return made


def window(**bounds: int) -> Window[Key]:
    return Window(WINDOW_MS, quality.WIDTH, **{"most_legs": 10_000, "most_keys": 1_000, **bounds})


@st.composite
def closings(draw: st.DrawFn) -> list[Ended]:
    """Distinct closed legs around the window, of few vendors, codes and customers."""
    made: list[Ended] = []
    for number in range(draw(st.integers(0, 25))):
        answered = draw(st.booleans())
        ended_at_ms = NOW_MS - draw(st.integers(-20_000, 150_000))
        common: dict[str, Any] = {
            "call_id": f"sim1-1795000000-1795608000.{number + 1}",
            "ended_at_ms": ended_at_ms,
            "answered_at_ms": ended_at_ms - 1_000 if answered else None,
            "duration_ms": draw(st.integers(0, 900_000)) if answered else 0,
            "pdd_ms": draw(st.none() | st.integers(0, 9_000)),
            "dial_status": draw(st.sampled_from(["ANSWER", "CANCEL", "NOANSWER", "CONGESTION", "CHANUNAVAIL"])),
            "cause": draw(st.sampled_from([0, 16, 17, 18, 19, 21, 34])),
            "estimated": draw(st.integers(0, 9)) == 0,
        }
        if draw(st.booleans()):
            sip_code = draw(st.sampled_from([None, 200, 403, 480, 486, 503, 603]))
            vendor, code = draw(st.integers(0, 2)), draw(st.sampled_from(["44", "4477"]))
            made.append(leg(leg=draw(st.integers(1, 2)), sip_code=sip_code, vendor_peer_id=vendor, code=code, **common))
        else:
            made.append(call(reason=draw(st.sampled_from(["", "LIMIT"])), **common))
    return made


def slow(seen: list[Ended], now_ms: int, window_ms: int = WINDOW_MS) -> dict[Key, tuple[int, ...]]:
    """Every distinct leg of the window, added up from nothing."""
    first = now_ms // BUCKET_MS - window_ms // BUCKET_MS + 1
    distinct = {(type(one), one.call_id, getattr(one, "leg", 0)): one for one in seen}
    found: dict[Key, tuple[int, ...]] = {}
    for one in distinct.values():
        if one.ended_at_ms // BUCKET_MS >= first:
            for key in keys_of(one):
                before = found.get(key, (0,) * quality.WIDTH)
                found[key] = tuple(a + b for a, b in zip(before, figures_of(one), strict=True))
    return found


@given(closings(), st.randoms(use_true_random=False))
def test_any_order_any_repeats_and_any_clock_give_the_sums_of_a_slow_count(
    made: list[Ended], chosen: random.Random
) -> None:
    shuffled = [one for one in made for _ in range(chosen.randint(1, 3))]
    chosen.shuffle(shuffled)
    folded = window()
    now_ms = NOW_MS - 40_000
    for one in shuffled:
        now_ms = min(NOW_MS, now_ms + chosen.choice([0, 0, 1, 7_000, 25_000]))
        count(folded, one, now_ms)
    folded.expire(NOW_MS)
    wanted = slow(made, NOW_MS)
    assert folded.totals() == wanted
    for key, total in wanted.items():
        assert folded.between(key, NOW_MS - WINDOW_MS, NOW_MS + 30_000) == total
    # And what was read is gone when the window has passed over it: nothing is left behind.
    folded.expire(NOW_MS + WINDOW_MS + 40_000)
    assert (folded.totals(), folded.legs, folded.lost, len(folded)) == ({}, 0, 0, 0)


@given(closings(), st.randoms(use_true_random=False))
def test_a_replay_from_the_log_comes_to_the_same_state(made: list[Ended], chosen: random.Random) -> None:
    """A worker that has died is made anew from the log; a second one beside it reads in another order."""
    first, second = window(), window()
    for one in made:
        count(first, one, NOW_MS)
    again = [*made, *chosen.sample(made, len(made) // 2)]
    chosen.shuffle(again)
    for one in again:
        count(second, one, NOW_MS)
    assert first.totals() == second.totals()


def test_a_repeat_that_is_older_than_its_bucket_is_not_counted_again() -> None:
    folded, one = window(), leg(ended_at_ms=NOW_MS)
    assert count(folded, one, NOW_MS)
    assert not count(folded, one, NOW_MS)
    assert not count(folded, one, NOW_MS + WINDOW_MS + BUCKET_MS)
    assert not folded.totals()


def test_a_leg_that_claims_to_be_of_tomorrow_is_not_counted() -> None:
    folded = window()
    assert not count(folded, leg(ended_at_ms=NOW_MS + AHEAD_MS + 1), NOW_MS)
    assert count(folded, leg(ended_at_ms=NOW_MS + AHEAD_MS), NOW_MS)


def test_at_the_bound_of_legs_the_window_gets_shorter_and_says_so() -> None:
    folded = window(most_legs=10)
    for number in range(12):
        at_ms = NOW_MS - 50_000 + number * 4_000
        count(folded, leg(call_id=f"sim1-1795000000-1795608000.{number + 1}", ended_at_ms=at_ms), NOW_MS)
    assert folded.legs <= 10
    assert folded.lost == 12 - folded.legs
    assert folded.since_ms() > NOW_MS - WINDOW_MS
    assert folded.total(Key("vendor", LEG.facts.vendor_peer_id))[0] == folded.legs


def test_at_the_bound_of_keys_new_ones_are_not_counted() -> None:
    folded = window(most_keys=2)
    for number in (1, 2):
        count(
            folded,
            leg(call_id=f"sim1-1795000000-1795608000.{number}", vendor_peer_id=number, code="44"),
            LEG.ended_at_ms,
        )
    assert {key.peer_id for key in folded.totals()} == {1}
    assert folded.lost == 2


def test_an_answered_call_then_an_unanswered_one_of_the_same_customer_expire() -> None:
    folded, published = window(), Published()
    customer = Key("customer", CALL.facts.customer_peer_id)
    answered: dict[str, Any] = {"reason": "", "answered_at_ms": NOW_MS - 60_000, "duration_ms": 60_000, "pdd_ms": 900}
    unanswered = {"reason": "", "answered_at_ms": None, "duration_ms": 0, "pdd_ms": None}
    count(folded, call(call_id="sim1-1795000000-1795608000.1", ended_at_ms=NOW_MS, **answered), NOW_MS)
    later = NOW_MS + 10_000
    count(folded, call(call_id="sim1-1795000000-1795608000.2", ended_at_ms=later, **unanswered), later)
    assert Figures(*folded.total(customer))[:2] == (2, 1)
    assert published.due(folded, later, WINDOW_MS).keys() == {customer.text}
    # The answered call is too old, the unanswered one is not: its customer still has figures.
    made = published.due(folded, NOW_MS + WINDOW_MS, WINDOW_MS)[customer.text]
    assert made is not None
    assert (made.attempts, made.answered, made.talk_ms) == (1, 0, 0)
    assert published.due(folded, later + WINDOW_MS, WINDOW_MS) == {customer.text: None}
    assert (len(folded), folded.legs) == (0, 0)


RINGING = {"pdd_ms": 900}
SILENT: dict[str, Any] = {"pdd_ms": None}


@pytest.mark.parametrize(
    ("said", "effective", "judged"),
    [
        ({"dial_status": "BUSY", "cause": 17, "sip_code": 486, **SILENT}, 1, 1),
        ({"dial_status": "CONGESTION", "cause": 34, "sip_code": 600, **SILENT}, 1, 1),
        ({"dial_status": "CONGESTION", "cause": 21, "sip_code": 603, **SILENT}, 1, 1),
        ({"dial_status": "CONGESTION", "cause": 21, "sip_code": 403, **SILENT}, 0, 1),  # our account, not the party
        ({"dial_status": "CONGESTION", "cause": 18, "sip_code": 408, **SILENT}, 0, 1),
        ({"dial_status": "NOANSWER", "cause": 18, "sip_code": 408, **RINGING}, 1, 1),
        ({"dial_status": "CONGESTION", "cause": 19, "sip_code": 480, **SILENT}, 0, 1),
        ({"dial_status": "NOANSWER", "cause": 19, "sip_code": 480, **RINGING}, 1, 1),
        ({"dial_status": "NOANSWER", "cause": 0, "sip_code": None, **RINGING}, 1, 1),
        ({"dial_status": "NOANSWER", "cause": 0, "sip_code": None, **SILENT}, 0, 1),  # our PDD time-out
        ({"dial_status": "CANCEL", "cause": 127, "sip_code": None, **RINGING}, 1, 1),  # after ringing: no answer
        ({"dial_status": "CANCEL", "cause": 127, "sip_code": None, **SILENT}, 0, 0),  # before: on neither side
        ({"dial_status": "CONGESTION", "cause": 34, "sip_code": 503, **RINGING}, 0, 1),
        ({"dial_status": "CONGESTION", "cause": 3, "sip_code": 404, **SILENT}, 0, 1),
    ],
)
def test_ner_of_legs_that_were_not_answered(said: dict[str, Any], effective: int, judged: int) -> None:
    figures = figures_of(leg(answered_at_ms=None, duration_ms=0, **said))
    assert (figures.attempts, figures.answered) == (1, 0)
    assert (figures.effective, figures.effective_of) == (effective, judged)
    assert figures.pdd_legs == (said["pdd_ms"] is not None)


def test_an_answered_leg_is_effective_and_talks_unrounded_milliseconds() -> None:
    figures = figures_of(leg(answered_at_ms=5, duration_ms=1_234, pdd_ms=700, release_side="callee"))
    assert figures == Figures(1, 1, 1, 1, 1_234, 700, 1, 0)


def test_whose_quality_a_closing_tells_of() -> None:
    facts = {"vendor_peer_id": 7, "code": "4477"}
    assert keys_of(leg(**facts)) == [Key("vendor", 7), Key("vendor_code", 7, "4477")]
    assert [key.text for key in keys_of(leg(**facts))] == ["vendor/7/", "vendor_code/7/4477"]
    assert keys_of(call(reason="")) == [Key("customer", CALL.facts.customer_peer_id)]
    assert keys_of(leg(**facts, estimated=True)) == []
    # One that no channel could be made for, and one that was silent until its limit, count as in the CDRs: against him.
    for cause in (0, 18):
        silent = leg(**facts, dial_status="CHANUNAVAIL", cause=cause, sip_code=None, pdd_ms=None, answered_at_ms=None)
        assert len(keys_of(silent)) == 2
        assert figures_of(silent) == Figures(attempts=1, effective_of=1)
    assert keys_of(call(reason="LIMIT", answered_at_ms=None)) == []
    assert keys_of(call(reason="BALANCE EXHAUSTED", answered_at_ms=5)) != []
    assert keys_of(call(facts=None)) == []


def test_what_looks_like_a_false_answer() -> None:
    def suspect(wait_ms: int, pdd_ms: int | None, talk_ms: int, side: str) -> bool:
        return is_suspect(
            leg(
                started_at_ms=1_000, answered_at_ms=1_000 + wait_ms, pdd_ms=pdd_ms, duration_ms=talk_ms,
                release_side=side,
            )
        )  # fmt: skip

    assert suspect(3_000, 2_000, 5_000, "caller")  # picked up a second after it rang, and hung up on
    assert suspect(400, None, 5_000, "caller")  # without any ringing
    assert suspect(400, 400, 19_999, "caller")
    assert not suspect(8_000, 2_000, 5_000, "caller")  # rang for six seconds
    assert not suspect(3_000, 2_000, 20_000, "caller")
    assert not suspect(3_000, 2_000, 5_000, "callee")
    assert not is_suspect(leg(answered_at_ms=None, duration_ms=0))


def test_published_is_what_has_changed_what_is_old_and_what_is_gone() -> None:
    folded, published = window(), Published(["vendor/99/", "customer/5/"])
    one = leg(vendor_peer_id=7, code="44", ended_at_ms=NOW_MS)
    count(folded, one, NOW_MS)
    first = published.due(folded, NOW_MS, WINDOW_MS)
    assert {key: made is None for key, made in first.items()} == {
        "vendor/7/": False, "vendor_code/7/44": False, "vendor/99/": True, "customer/5/": True,
    }  # fmt: skip
    made = first["vendor/7/"]
    assert made is not None
    assert (made.at_ms, made.window_seconds, made.attempts, made.key) == (NOW_MS, 50, 1, "vendor/7/")
    assert published.due(folded, NOW_MS + 5_000, WINDOW_MS) == {}
    count(folded, leg(vendor_peer_id=7, code="45", call_id="sim1-1795000000-1795608000.77", ended_at_ms=NOW_MS), NOW_MS)
    assert set(published.due(folded, NOW_MS + 10_000, WINDOW_MS)) == {"vendor/7/", "vendor_code/7/45"}
    long = Window[Key](3 * REFRESH_MS, quality.WIDTH, most_legs=9, most_keys=9)
    again = Published()
    count(long, one, NOW_MS)
    assert len(again.due(long, NOW_MS, 3 * REFRESH_MS)) == 2
    assert again.due(long, NOW_MS + REFRESH_MS - 1, 3 * REFRESH_MS) == {}
    assert len(again.due(long, NOW_MS + REFRESH_MS, 3 * REFRESH_MS)) == 2  # unchanged, but told to be true still
    gone = again.due(long, NOW_MS + 5 * REFRESH_MS, 3 * REFRESH_MS)
    assert gone == {"vendor/7/": None, "vendor_code/7/44": None}


@pytest.mark.servers
def test_the_view_of_the_cdrs_says_the_same_of_every_kind_of_end(clickhouse: ClickHouse) -> None:
    """judged_legs is what pages and analysts count by, this fold what routers go by."""
    statuses = ("ANSWER", "CANCEL", "NOANSWER", "BUSY", "CONGESTION", "CHANUNAVAIL")
    causes = (0, 1, 16, 17, 18, 19, 21, 34, 127)
    codes = (None, 200, 401, 402, 403, 404, 407, 480, 486, 487, 503, 600, 603)
    ends = [
        leg(
            call_id=f"sim1-1795000000-1795608000.{number}", leg=1, dial_status=status, cause=cause, sip_code=code,
            pdd_ms=pdd_ms, answered_at_ms=answered_at_ms, duration_ms=0,
        )
        for number, (status, cause, code, pdd_ms, answered_at_ms) in enumerate(
            itertools.product(statuses, causes, codes, (None, 0, 900), (None, LEG.started_at_ms + 1_000))
        )
    ]  # fmt: skip
    calls = [
        call(call_id=one.call_id, dial_status=one.dial_status, cause=one.cause, pdd_ms=one.pdd_ms,
             answered_at_ms=one.answered_at_ms, duration_ms=0)
        for one in ends
        if one.sip_code is None
    ]  # fmt: skip
    wanted = {}
    with connect(clickhouse) as client:
        rated = [rate_leg(one) for one in (*ends, *calls)]
        for first in range(0, len(rated), 2_000):
            write_legs(client, rated[first : first + 2_000], Dimensions({}, {}, {}))
        for one in rated:
            figures = figures_of(one.ended)
            wanted[one.leg_id] = (not figures.effective_of, bool(figures.effective))
        rows = client.query("SELECT leg_id, early_cancel, NOT early_cancel AND reached FROM judged_legs").result_rows
    assert {leg_id: (bool(early), bool(effective)) for leg_id, early, effective in rows} == wanted
    assert len(wanted) > 4_000
