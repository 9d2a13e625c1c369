"""Orders: each metric by hand, what stands for missing quality, chance within its bounds, limits, and the reasons."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from snapshots import EXPECTED_SECONDS, NOW_MS, RawWorld, make_snapshot, peer, with_changes

from router.core import Decision, Request, World, candidates, decide, seed_of
from router.core.limit_keys import code_key, peer_key, route_key, stopped_key
from router.snapshot.config import CodeLimit, HuntingClass, Peer, RouteClass, RouteEntry
from schemas.quality import Quality
from schemas.refusals import Refusal
from tariffs.order import MAX_ORDER, Metric, OrderError, parse_order

ASKED = Request("c-c1", "127.0.1.1:5060", "447700900123", "12125550123")
PRICES = {11: 1_000_000, 12: 1_040_000, 13: 1_060_000, 14: 1_200_000}
Made = Callable[..., World]


def known(peer_id: int, side: Any = "vendor", code: str = "", at_ms: int = NOW_MS, **sums: int) -> Quality:
    return Quality(side=side, peer_id=peer_id, code=code, at_ms=at_ms, window_seconds=900, **sums)


def asr(peer_id: int, percent: int, attempts: int = 100, **more: Any) -> Quality:
    return known(peer_id, attempts=attempts, answered=attempts * percent // 100, **more)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A world of customer 1 who orders so, with vendors 11 to 14, the cheapest first."""

    def make(
        order: str,
        quality: Sequence[Quality] = (),
        entries: Mapping[int, Mapping[str, Any]] | None = None,
        vendors: Mapping[int, Mapping[str, Any]] | None = None,
        prices: Mapping[int, Mapping[str, int | None]] | None = None,
        customer: Mapping[str, Any] | None = None,
        full: frozenset[str] = frozenset(),
        price_priorities: Mapping[int, int] | None = None,
        closed: frozenset[str] = frozenset(),
    ) -> World:
        decks = {1: {"44": 2_000_000}, **{number: {"44": price} for number, price in PRICES.items()}, **(prices or {})}
        peers = [
            with_changes(peer(1, originator=True), hunting_class_id=1, **(customer or {})),
            *(with_changes(peer(number, originator=False), **(vendors or {}).get(number, {})) for number in PRICES),
        ]
        listed = tuple(
            RouteEntry(**{"peer_id": number, "priority": 1, "enabled": True, **(entries or {}).get(number, {})})
            for number in PRICES
        )
        world = RawWorld(
            peers, {deck: [(code, 0, price) for code, price in rows.items()] for deck, rows in decks.items()}, [],
            classes=[RouteClass(1, "all", listed)], hunting_classes=[HuntingClass(1, "by hand", order)],
            price_priorities=price_priorities or {},
            code_limits=[CodeLimit(13, "4477", 5, 0), CodeLimit(14, "4479", 5, 0)],
        )  # fmt: skip
        return World(make_snapshot(tmp_path, world), {one.key: one for one in quality}, full, closed=closed)

    return make


def decided(world: World, seed: int = 0, now_ms: int = NOW_MS) -> Decision:
    return decide(world, ASKED._replace(seed=seed), now_ms, expected_seconds=EXPECTED_SECONDS)


def taken(world: World, seed: int = 0, now_ms: int = NOW_MS) -> list[int]:
    return [route.vendor.peer_id for route in decided(world, seed, now_ms).routes]


def test_cost_strict_and_in_steps(made: Made) -> None:
    priorities = {11: {"priority": 4}, 12: {"priority": 3}, 13: {"priority": 2}, 14: {"priority": 1}}
    assert taken(made("cost, route_priority", entries=priorities)) == [11, 12, 13, 14]
    # 0.0100, 0.0104 and 0.0106, 0.0120 to the nearest tenth of a cent: 0.010, 0.010, 0.011, 0.012.
    assert taken(made("cost/0.001, route_priority", entries=priorities)) == [12, 11, 13, 14]
    assert taken(made("cost/0.1, route_priority", entries=priorities)) == [14, 13, 12, 11]


def test_equal_costs_are_parted_by_the_next_metric(made: Made) -> None:
    prices = {number: {"44": 1_000_000} for number in PRICES}
    world = made("cost, peer_priority", prices=prices, vendors={11: {"priority": 9}, 13: {"priority": 0}})
    assert taken(world) == [13, 12, 14, 11]


def test_priorities_of_routes_and_of_peers(made: Made) -> None:
    world = made(
        "peer_priority, route_priority, cost",
        entries={11: {"priority": 2}, 12: {"priority": 1}, 13: {"priority": 7}, 14: {"priority": 1}},
        vendors={11: {"priority": 5}, 12: {"priority": 5}, 13: {"priority": 4}, 14: {"priority": 5}},
    )
    assert taken(world) == [13, 12, 14, 11]
    world = made("route_priority/10, cost", entries={11: {"priority": 14}, 12: {"priority": 15}, 14: {"priority": 9}})
    assert taken(world) == [13, 11, 14, 12]  # 0; 1 (14), 1 (9); 2 (15)


def test_the_longer_code_first(made: Made) -> None:
    prices: dict[int, dict[str, int | None]] = {13: {"4477": 1_500_000}, 14: {"447": 1_600_000}}
    assert taken(made("code_length, cost", prices=prices)) == [13, 14, 11, 12]
    assert [len(route.price.code) for route in decided(made("code_length, cost", prices=prices)).routes] == [4, 3, 2, 2]


def test_priorities_of_prices(made: Made) -> None:
    # Of these decks the one price is row 0: its id is the deck's number and that.
    priorities = {1_100_000: 2, 1_300_000: 1, 1_400_000: 255}
    assert taken(made("price_priority, cost", price_priorities=priorities)) == [12, 13, 11, 14]
    assert taken(made("price_priority/2, cost", price_priorities=priorities)) == [12, 11, 13, 14]
    world = made("price_priority, cost", price_priorities=priorities)
    assert [one.keys[0].value for one in candidates(decided(world))] == ["0", "1", "2", "255"]


@pytest.mark.parametrize(
    ("order", "percents", "expected"),
    [
        ("asr", (30, 50, 70, 49), [13, 12, 14, 11]),
        ("asr/5", (30, 48, 52, 48), [12, 13, 14, 11]),  # 48 and 52 are 50, and the cost decides
        ("asr/5", (30, 47, 52, 48), [13, 14, 12, 11]),  # 47 is 45
    ],
)
def test_asr(made: Made, order: str, percents: tuple[int, ...], expected: list[int]) -> None:
    quality = [asr(number, percent) for number, percent in zip(PRICES, percents, strict=True)]
    assert taken(made(order, quality)) == expected


def test_ner_acd_and_pdd(made: Made) -> None:
    quality = [
        known(11, effective=80, effective_of=100, talk_ms=100_000_000, answered=1000, pdd_ms=400_000, pdd_legs=100),
        known(12, effective=95, effective_of=100, talk_ms=180_000_000, answered=1000, pdd_ms=250_000, pdd_legs=100),
        known(13, effective=90, effective_of=100, talk_ms=300_000_000, answered=1000, pdd_ms=100_000, pdd_legs=100),
        known(14, effective=99, effective_of=100, talk_ms=299_000_000, answered=1000, pdd_ms=149_000, pdd_legs=100),
    ]
    assert taken(made("ner, cost", quality)) == [14, 12, 13, 11]
    assert taken(made("acd, cost", quality)) == [13, 14, 12, 11]
    assert taken(made("acd/10, cost", quality)) == [13, 14, 12, 11]
    assert taken(made("pdd, cost", quality)) == [13, 14, 12, 11]
    assert taken(made("pdd/1, ner", quality)) == [14, 13, 12, 11]  # 4.0; 2.5 -> 3; 1.0, 1.49 -> 1


def test_quality_by_code_is_that_of_the_code_as_bought(made: Made) -> None:
    prices: dict[int, dict[str, int | None]] = {12: {"447": 1_040_000}}
    quality = [
        asr(11, 90), known(11, "vendor_code", "44", attempts=100, answered=20),
        known(12, "vendor_code", "447", attempts=100, answered=60),
        known(13, "vendor_code", "447", attempts=100, answered=99),  # it is bought by 44: nothing is known of that
    ]  # fmt: skip
    world = made("asr_code/5, cost", quality, prices=prices)
    assert taken(world) == [12, 13, 14, 11]  # 60, 50 assumed twice, 20
    assert taken(world) == [12, 13, 14, 11]  # and from what was kept
    keys = {one.vendor: one.keys[0] for one in candidates(decided(world))}
    assert (keys["v12"].value, keys["v12"].sample, keys["v12"].neutral) == ("60.0 %", 100, "")
    assert (keys["v13"].value, keys["v13"].sample, keys["v13"].neutral) == ("50.0 % assumed", 0, "no sample")
    stale = NOW_MS + 900_001
    assert taken(world, now_ms=stale) == [11, 12, 13, 14]


def test_missing_small_and_stale_quality_stand_at_the_assumed_value_and_say_so(made: Made) -> None:
    quality = [asr(11, 40), asr(12, 90, attempts=29), asr(13, 90, at_ms=NOW_MS - 900_001)]
    world = made("asr, cost", [*quality, asr(14, 60)])
    assert taken(world) == [14, 12, 13, 11]
    assert taken(made("asr else 65, cost", [*quality, asr(14, 60)])) == [12, 13, 14, 11]
    said = {
        one.vendor: (one.keys[0].value, one.keys[0].sample, one.keys[0].neutral) for one in candidates(decided(world))
    }
    assert said == {
        "v11": ("40.0 %", 100, ""), "v12": ("50.0 % assumed", 29, "small sample"),
        "v13": ("50.0 % assumed", 100, "stale"), "v14": ("60.0 %", 100, ""),
    }  # fmt: skip
    assert taken(made("asr, cost")) == [11, 12, 13, 14]


def test_quality_grows_stale_in_its_moment_without_any_new_one(made: Made) -> None:
    world = made("asr, cost", [asr(11, 20), asr(14, 60)])
    assert taken(world, now_ms=NOW_MS + 900_000) == [14, 12, 13, 11]
    assert taken(world, now_ms=NOW_MS + 900_001) == [11, 12, 13, 14]
    assert taken(world, now_ms=NOW_MS) == [14, 12, 13, 11]


def test_new_quality_counts_at_once(made: Made) -> None:
    world = made("asr, cost", [asr(14, 60)])
    assert taken(world)[0] == 14
    better = asr(13, 80)
    assert taken(world._replace(quality={**world.quality, better.key: better}))[0] == 13


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (50, [12, 11, 13, 14]),  # at the target: 50 is wanted; 11 and 13 are 10 away, the cheaper first
        (40, [13, 12, 11, 14]),  # 10 below it: 60 is wanted; 11 and 14 are 20 away
        (60, [11, 12, 13, 14]),  # above it: 40
        (0, [14, 13, 12, 11]),  # 100
        (100, [11, 12, 13, 14]),  # 0
        (None, [11, 12, 13, 14]),  # nothing is known of him: the cost decides
    ],
)
def test_a_customer_is_steered_to_his_target(made: Made, own: int | None, expected: list[int]) -> None:
    quality = [asr(11, 40), asr(12, 50), asr(13, 60), asr(14, 80)]
    if own is not None:
        quality.append(known(1, "customer", attempts=100, answered=own))
    world = made("target/5, cost", quality, customer={"target_metric": "asr", "target_value_e2": 5000})
    assert taken(world) == expected
    key = candidates(decided(world))[0].keys[0]
    assert key.neutral == ("customer: no sample" if own is None else "")
    if own == 40:
        assert key.value == "asr 60.0 %, wanted 60.0 %"


def test_a_target_of_the_acd_is_in_seconds(made: Made) -> None:
    quality = [known(number, talk_ms=number * 1_000_000, answered=100) for number in PRICES]  # 110 to 140 s
    quality.append(known(1, "customer", talk_ms=10_000_000, answered=100))  # 100 s
    world = made("target, cost", quality, customer={"target_metric": "acd", "target_value_e2": 11_500})
    assert taken(world) == [13, 12, 14, 11]  # wanted: 130


def test_who_has_no_target_goes_on_to_the_next_metric(made: Made) -> None:
    assert taken(made("target, cost", [asr(14, 90)])) == [11, 12, 13, 14]


def test_chance_puts_each_in_front_as_often(made: Made) -> None:
    world = made("random")
    count = 12_000
    orders = Counter(tuple(taken(world, seed_of(f"ast1-1-{call}"))) for call in range(count))
    assert len(orders) == 24
    assert all(abs(times - count / 24) < 5 * (count / 24) ** 0.5 for times in orders.values())
    assert taken(world, 7) == taken(world, 7)


@pytest.mark.parametrize("left_out", [None, 12])
def test_portions_are_kept_within_the_binomial_interval(made: Made, left_out: int | None) -> None:
    portions = {11: 50, 12: 30, 13: 20}
    world = made(
        "portion, cost",
        entries={number: {"portion": portion} for number, portion in portions.items()},
        full=frozenset() if left_out is None else frozenset({peer_key(left_out)}),
    )
    count = 10_000
    decisions = [taken(world, seed_of(f"ast1-1-{call}")) for call in range(count)]
    first, second = Counter(one[0] for one in decisions), Counter(tuple(one[:2]) for one in decisions)
    there = {number: portion for number, portion in portions.items() if number != left_out}
    for number, portion in there.items():
        share = portion / sum(there.values())
        assert abs(first[number] - count * share) < 4 * (count * share * (1 - share)) ** 0.5
    if left_out is None:  # and of the second place: 11 first, then 12 of 12 and 13
        share = 0.5 * 0.3 / 0.5
        assert abs(second[11, 12] - count * share) < 4 * (count * share * (1 - share)) ** 0.5
    assert all(one[-1] == 14 for one in decisions)  # no portion: behind those that have one


def test_a_limit_that_is_full_is_not_taken(made: Made) -> None:
    for order in ("cost", "random", "cost/0.001, random"):
        full = frozenset({peer_key(11), route_key(1, 12), code_key(13, "4477"), route_key(2, 14), code_key(14, "4479")})
        world = made(order, full=full)
        assert taken(world) == [14]
        assert {one.vendor: one.verdict for one in candidates(decided(world))} == {
            "v11": "LIMIT", "v12": "LIMIT", "v13": "LIMIT", "v14": "TAKEN",
        }  # fmt: skip
        everybody = frozenset(peer_key(number) for number in PRICES)
        # With nobody left, what was known a second ago counts for nothing, and those who are closed to calls for all.
        assert taken(made(order, full=everybody)) == taken(made(order))
        closed = frozenset({stopped_key(12)})
        assert sorted(taken(made(order, full=everybody, closed=closed))) == [11, 13, 14]
        every = frozenset(stopped_key(number) for number in PRICES)
        assert decided(made(order, full=everybody, closed=every)).refusal is Refusal.LIMIT
        # Neither is one with too many open dead letters.
        world = made(order, closed=frozenset({stopped_key(11), stopped_key(14)}))
        assert sorted(taken(world)) == [12, 13]
        assert {one.vendor: one.verdict for one in candidates(decided(world))} == {
            "v11": "DEAD LETTERS", "v12": "TAKEN", "v13": "TAKEN", "v14": "DEAD LETTERS",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"minimum_margin_ppm": 450_000}, [11, 12, 13]),  # 0.0200 less 45 % is 0.0110
        ({"minimum_margin_ppm": 480_001}, [11]),
        ({"minimum_margin_ppm": 500_000}, [11]),
        ({"minimum_margin_ppm": 500_001}, []),
        ({"minimum_margin_ppm": 100_000, "minimum_margin_e8": 950_000}, [11, 12]),  # the higher of the two
        ({"minimum_margin_ppm": 1_000_000, "profit": "allow_losses"}, [11, 12, 13, 14]),
    ],
)
def test_a_margin_in_percent_of_the_price(made: Made, changes: dict[str, Any], expected: list[int]) -> None:
    assert taken(made("cost", customer=changes)) == expected
    assert sorted(taken(made("random", customer=changes))) == expected


def test_orders_are_read() -> None:
    assert parse_order("route_priority, cost/0.001, asr/5 else 45.5, random") == (
        Metric("route_priority"), Metric("cost", 100_000), Metric("asr", 500_000_000, 4_550_000_000), Metric("random"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "must be one of"), ("price", "must be one of"), ("cost,asr", "must be one of"),
        ("cost/", "must be one of"), ("cost/-1", "must be one of"), ("asr/٥", "must be one of"),
        ("random/5", "no steps"), ("cost else 5", "quality only"),
        ("cost, asr, cost/2", "twice"), ("cost, " * MAX_ORDER, "at most"),
    ],
)  # fmt: skip
def test_what_is_no_order_is_refused(text: str, rule: str) -> None:
    with pytest.raises(OrderError, match=rule):
        parse_order(text)


def test_peers_keep_their_own_strategies(tmp_path: Path) -> None:
    customers: list[Peer] = [
        with_changes(peer(1, originator=True), hunting_class_id=1), with_changes(peer(2, originator=True)),
    ]  # fmt: skip
    world = RawWorld(
        [*customers, *(peer(number, originator=False) for number in (11, 12))],
        {1: [("44", 0, 200)], 2: [("44", 0, 200)], 11: [("44", 0, 100)], 12: [("447", 0, 120)]},
        [(11, 1, True), (12, 1, True)],
        hunting_classes=[HuntingClass(1, "long", "code_length")],
    )
    snapshot = make_snapshot(tmp_path, world)
    for _ in range(2):
        assert taken(World(snapshot)) == [12, 11]
        other = decide(World(snapshot), ASKED._replace(remote_address="127.0.1.2"), NOW_MS, expected_seconds=180)
        assert [route.vendor.peer_id for route in other.routes] == [11, 12]
