"""Any class, order, rate and quality against the slow oracle; and what must hold whatever the world is."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from slow_routing import bill_micros, oracle, rate_of
from snapshots import EXPECTED_SECONDS, NOW_MS, PACK, PriceRow, RawWorld, make_snapshot, peer

from router.core import Decision, Request, World, candidates, decide
from router.snapshot.caches import Caches
from router.snapshot.comparable import terms_of
from router.snapshot.config import HuntingClass, Pack, RouteClass, RouteEntry
from schemas.quality import Quality

SLOW = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=50
)
NUMBER = "1212"
# In steps and strict, so that ties and chains of metrics come up.
METRICS = (
    "cost", "cost/0.0000005", "peer_priority", "route_priority/2", "route_priority", "code_length", "random", "portion",
    "asr/20", "asr", "acd/60 else 100", "ner/10", "pdd/1", "asr_code/20", "acd_code/60", "ner_code", "pdd_code",
    "target/10", "target else 30",
)  # fmt: skip
TIMES = ("", "", "", "wed 00:00-23:59", "sat 00:00-23:59")
orders = st.lists(st.sampled_from(METRICS), max_size=4, unique_by=lambda text: text.split("/")[0].split(" ")[0]).map(
    ", ".join
)
packs = st.builds(
    lambda notation, fee, currency, free, decimals: Pack(
        1, currency, notation[0], notation[1], notation[2], fee, decimals, "up", free
    ),
    st.sampled_from([(1, 1, 0), (30, 6, 0), (60, 60, 0), (1, 1, 200)]), st.sampled_from([0, 1]),
    st.sampled_from(["USD", "USD", "EUR", "GBP"]), st.booleans(), st.sampled_from([6, 6, 5, 4]),
)  # fmt: skip
codes = st.text("12", min_size=1, max_size=4)
decks = st.lists(
    st.tuples(codes, st.just(0), st.none() | st.integers(0, 400)), max_size=8, unique_by=lambda row: row[0]
)
wide_decks = st.builds(
    lambda rows, price: [("1", 0, price), *(row for row in rows if row[0] != "1")], decks, st.integers(100, 400)
)


def entries(numbers: list[int], *, wide: bool) -> st.SearchStrategy[tuple[RouteEntry, ...]]:
    moments = st.just(0) if wide else st.sampled_from([0, 0, NOW_MS, NOW_MS + 1])
    one = st.builds(
        RouteEntry, st.sampled_from(numbers), st.integers(0, 3),
        st.just(True) if wide else st.sampled_from([True, True, True, False]), active_from_ms=moments,
        active_until_ms=moments, timetable=st.just("") if wide else st.sampled_from(TIMES),
        portion=st.sampled_from([0, 20, 80]),
    )  # fmt: skip
    least = len(numbers) // 2 if wide else 0
    return st.lists(one, min_size=least, max_size=len(numbers), unique_by=lambda entry: entry.peer_id).map(tuple)


@st.composite
def worlds(draw: st.DrawFn, *, wide: bool = False) -> RawWorld:
    """A customer 1, vendors, up to three classes one behind the other, an order, rates; `wide`: most are routes."""
    numbers = list(range(11, 11 + draw(st.integers(2, 11))))
    metric = draw(st.sampled_from(["", "asr", "acd", "ner"]))
    customer = peer(
        1, originator=True, pack=draw(packs),
        profit="no_losses" if wide else draw(st.sampled_from(["profit_only", "no_losses", "allow_losses"])),
        minimum_margin_e8=draw(st.integers(-50, 50)), minimum_margin_ppm=draw(st.sampled_from([0, 0, 1, 200_000])),
        hunting_class_id=draw(st.sampled_from([0, 1, 1, 1])), target_metric=metric,
        target_value_e2=5000 if metric else 0,
    )  # fmt: skip
    vendors = [
        peer(
            number, originator=False, pack=draw(packs), priority=draw(st.integers(0, 2)),
            company_id=number if wide else draw(st.sampled_from([1, number, number, number])),
            enabled=wide or draw(st.sampled_from([True, True, True, False])),
        )
        for number in numbers
    ]  # fmt: skip
    prices: dict[int, list[PriceRow]] = {1: [("1", 0, draw(st.integers(200, 900) if wide else st.integers(50, 500)))]}
    prices |= {number: draw(wide_decks if wide else decks) for number in numbers}
    depth = draw(st.integers(1, 3))
    classes = [
        RouteClass(
            at, f"class {at}", draw(entries(numbers, wide=wide)), base_class_id=at + 1 if at < depth else 0,
            timetable="" if wide else draw(st.sampled_from(TIMES)),
            time_zone=draw(st.sampled_from(["UTC", "Pacific/Auckland"])),
        )
        for at in range(1, depth + 1)
    ]  # fmt: skip
    hunting = HuntingClass(1, "any", draw(orders.filter(bool)), minimum_sample=30, quality_max_age_seconds=900)
    more = [{"EUR": (13, 12), "GBP": (1_234_567, 1_000_000)}, *([] if wide else [{}, {"EUR": (27, 25)}])]
    rates = {"USD": (1, 1)} | draw(st.sampled_from(more))
    return RawWorld([customer, *vendors], prices, [], classes=classes, hunting_classes=[hunting], rates=rates)


@st.composite
def known(draw: st.DrawFn) -> dict[str, Quality]:
    found: dict[str, Quality] = {}
    for _ in range(draw(st.integers(0, 12))):
        side: Any = draw(st.sampled_from(["vendor", "vendor", "vendor_code", "customer"]))
        attempts = draw(st.sampled_from([0, 29, 30, 100]))
        answered = draw(st.integers(0, attempts))
        one = Quality(
            side=side, peer_id=1 if side == "customer" else draw(st.integers(11, 21)),
            code=draw(codes) if side == "vendor_code" else "",
            at_ms=NOW_MS - draw(st.sampled_from([-1, 0, 0, 900_000, 900_001])),
            window_seconds=900, attempts=attempts, answered=answered, effective=answered, effective_of=attempts,
            talk_ms=answered * draw(st.integers(0, 300_000)), pdd_ms=attempts * draw(st.integers(0, 9_000)),
            pdd_legs=attempts,
        )  # fmt: skip
        found[one.key] = one
    return found


def decided(
    directory: Path,
    world: RawWorld,
    quality: Mapping[str, Quality],
    seed: int,
    number: str = NUMBER,
    most_vendors: int = 255,
) -> Decision:
    snapshot = make_snapshot(directory, world, most_vendors=most_vendors)
    request = Request("c-c1", "127.0.1.1:5060", number, "12125550123", seed)
    return decide(World(snapshot, quality), request, NOW_MS, expected_seconds=EXPECTED_SECONDS)


def vendors_of(decision: Decision) -> list[int]:
    return [route.vendor.peer_id for route in decision.routes]


@SLOW
@given(
    world=worlds() | worlds(wide=True),
    quality=known(),
    seed=st.integers(0, 3),
    number=st.text("12", min_size=3, max_size=5),
    most=st.sampled_from([255, 4, 2]),
)
def test_any_order_equals_the_oracle(
    tmp_path: Path, world: RawWorld, quality: dict[str, Quality], seed: int, number: str, most: int
) -> None:
    """Also over several matrices."""
    decision = decided(tmp_path, world, quality, seed, number, most)
    found = [(route.vendor.peer_id, route.price.code) for route in decision.routes]
    assert (decision.refusal or "", found) == oracle(world, number, NOW_MS, quality, seed)
    seen = candidates(decision)
    assert [one.vendor_peer_id for one in seen if one.position] == vendors_of(decision)
    others = [one for one in seen if not one.position]
    assert others == sorted(
        others, key=lambda one: (one.priority, one.comparable_cost_e8 is None, one.comparable_cost_e8 or 0, one.vendor)
    )
    listed = {entry.peer_id for one in world.classes for entry in one.entries}
    assert {one.vendor_peer_id for one in seen} == (listed if decision.plan is not None else set())


@SLOW
@given(world=worlds(wide=True), quality=known(), seed=st.integers(0, 3))
def test_no_route_of_a_no_losses_customer_bills_a_loss(
    tmp_path: Path, world: RawWorld, quality: dict[str, Quality], seed: int
) -> None:
    decision = decided(tmp_path, world, quality, seed)
    assume(decision.routes)
    customer, price = decision.inbound.peer, decision.inbound.price
    assert customer is not None
    assert price is not None
    income = bill_micros(customer, price.price_e8) * rate_of(world, customer.pack.currency)
    for route in decision.routes:
        cost = bill_micros(route.vendor, route.price.price_e8) * rate_of(world, route.vendor.pack.currency)
        assert cost <= income
        if customer.minimum_margin_ppm and route.comparable_e8:
            assert income - cost >= income * customer.minimum_margin_ppm / 1_000_000 - 1


@SLOW
@given(
    world=worlds(wide=True), quality=known(), seed=st.integers(0, 3), at=st.integers(0, 10), more=st.integers(1, 300)
)
def test_a_dearer_vendor_is_never_placed_better(
    tmp_path: Path, world: RawWorld, quality: dict[str, Quality], seed: int, at: int, more: int
) -> None:
    before = vendors_of(decided(tmp_path, world, quality, seed))
    assume(before)
    dearer = before[at % len(before)]
    deck: list[PriceRow] = [
        (code, from_ms, None if price is None else price + more) for code, from_ms, price in world.prices[dearer]
    ]
    after = vendors_of(decided(tmp_path, replace(world, prices={**world.prices, dearer: deck}), quality, seed))
    assert dearer not in after or after.index(dearer) >= before.index(dearer)


@SLOW
@given(world=worlds(wide=True), quality=known(), seed=st.integers(0, 3), at=st.integers(0, 10))
def test_a_vendor_that_goes_leaves_the_others_in_their_order(
    tmp_path: Path, world: RawWorld, quality: dict[str, Quality], seed: int, at: int
) -> None:
    before = vendors_of(decided(tmp_path, world, quality, seed))
    assume(before)
    gone = before[at % len(before)]
    classes = [
        msgspec.structs.replace(one, entries=tuple(entry for entry in one.entries if entry.peer_id != gone))
        for one in world.classes
    ]
    peers = [one for one in world.peers if one.peer_id != gone]
    after = vendors_of(decided(tmp_path, replace(world, classes=classes, peers=peers), quality, seed))
    assert after[: len(before) - 1] == [number for number in before if number != gone]


@SLOW
@given(world=worlds(), quality=known(), seed=st.integers(0, 3))
def test_the_same_inputs_decide_the_same(
    tmp_path: Path, world: RawWorld, quality: dict[str, Quality], seed: int
) -> None:
    first = decided(tmp_path, world, quality, seed)
    again = decide(first.world, first.request, NOW_MS, expected_seconds=EXPECTED_SECONDS)
    assert (vendors_of(again), candidates(again)) == (vendors_of(first), candidates(first))


@SLOW
@given(
    world=worlds() | worlds(wide=True),
    quality=known(),
    seeds=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    numbers=st.tuples(st.text("12", min_size=3, max_size=5), st.text("12", min_size=3, max_size=5)),
    most=st.sampled_from([255, 2]),
)
def test_what_was_decided_before_leaves_no_trace(
    tmp_path: Path,
    world: RawWorld,
    quality: dict[str, Quality],
    seeds: tuple[int, int],
    numbers: tuple[str, str],
    most: int,
) -> None:
    """Neither in the routes nor in their explanation, though both keep what is the same for every call."""
    used = make_snapshot(tmp_path, world, most_vendors=most)
    for number, seed in zip(numbers, seeds, strict=True):
        request = Request("c-c1", "127.0.1.1:5060", number, "12125550123", seed)
        fresh = World(replace(used, caches=Caches()), quality)
        first, again = (
            decide(one, request, NOW_MS, expected_seconds=EXPECTED_SECONDS) for one in (fresh, World(used, quality))
        )
        assert (vendors_of(again), candidates(again)) == (vendors_of(first), candidates(first))
        assert [route.price for route in again.routes] == [route.price for route in first.routes]


@given(
    price_e8=st.integers(0, 10**7) | st.integers(0, 10**13),
    fee=st.integers(0, 10**9),
    decimals=st.integers(0, 6),
    notation=st.sampled_from([(0, 1, 0), (1, 1, 0), (30, 6, 0), (60, 60, 0), (1, 1, 200)]),
    rate=st.sampled_from([(1, 1), (27, 25), (10**12 - 1, 10**12), (1, 17_000), (999_999_999_999, 1_000_000)]),
)
def test_costs_of_an_array_are_those_of_each(
    price_e8: int, fee: int, decimals: int, notation: tuple[int, int, int], rate: tuple[int, int]
) -> None:
    pack = msgspec.structs.replace(
        PACK, minimum_seconds=notation[0], increment_seconds=notation[1], free_seconds=notation[2],
        connect_fee_micros=fee, rounding_decimals=decimals,
    )  # fmt: skip
    terms = terms_of(pack, EXPECTED_SECONDS, rate)
    prices = numpy.array([price_e8, 0, 1, price_e8 // 2], dtype=numpy.int64)
    assert terms.cost_e8(prices).tolist() == [terms.cost_e8(price) for price in prices.tolist()]
    assert terms.income_e8(price_e8) <= terms.cost_e8(price_e8) < 1 << 62
