"""The decision, against a slow oracle that scans all raw prices, and by hand for what an engineer would ask."""

import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slow_routing import oracle
from snapshots import EXPECTED_SECONDS, NOW_MS, PACK, PriceRow, RawWorld, make_snapshot, peer

from router.core import Decision, Request, World, candidates, decide
from router.snapshot.config import Destination, Peer
from schemas.agi import MAX_ROUTES
from schemas.refusals import Refusal

CUSTOMER = peer(1, originator=True)
Decide = Callable[..., Decision]


def request(callee: str = "447700900123", address: str = "127.0.1.1:5060", endpoint: str = "c-c1") -> Request:
    return Request(endpoint, address, callee, "12125550123")


@pytest.fixture
def routed(tmp_path: Path) -> Decide:
    """Decide in a world of customer 1 and the vendors given as {peer: prices by code}."""
    numbers = itertools.count()

    def run(
        vendors: dict[Peer, dict[str, int | None]],
        customer: Peer = CUSTOMER,
        sells: dict[str, int | None] | None = None,
        priorities: dict[int, int] | None = None,
        asked: Request | None = None,
        destinations: list[Destination] | None = None,
        disabled: frozenset[int] = frozenset(),
    ) -> Decision:
        prices: dict[int, list[PriceRow]] = {
            vendor.peer_id: [(code, 0, price) for code, price in deck.items()] for vendor, deck in vendors.items()
        }
        prices[customer.deck_id] = [(code, 0, price) for code, price in (sells or {"44": 2_000_000}).items()]
        entries = [
            (vendor.peer_id, (priorities or {}).get(vendor.peer_id, 1), vendor.peer_id not in disabled)
            for vendor in vendors
        ]
        world = RawWorld([customer, *vendors], prices, entries, destinations or [])
        snapshot = make_snapshot(tmp_path / str(next(numbers)), world)
        return decide(World(snapshot), asked or request(), NOW_MS, expected_seconds=EXPECTED_SECONDS)

    return run


def vendor(number: int, **changes: object) -> Peer:
    return peer(number, originator=False, **changes)


def names(decision: Decision) -> list[str]:
    return [route.vendor.name for route in decision.routes]


def verdicts(decision: Decision) -> dict[str, str]:
    return {candidate.vendor: str(candidate.verdict) for candidate in candidates(decision)}


def test_the_cheapest_first_and_each_other_with_its_reason(routed: Decide) -> None:
    decision = routed(
        {
            vendor(11): {"447": 1_500_000},
            vendor(12): {"44": 1_200_000},
            vendor(13): {"4477": 2_500_000},
            vendor(14): {"1": 100},
            vendor(15): {"44": 1_000_000, "4477": None},
            vendor(16, pack=msgspec.structs.replace(PACK, currency="EUR")): {"44": 1_000_000},
            vendor(17, company_id=1): {"44": 1_000_000},
            vendor(18, enabled=False): {"44": 1_000_000},
            vendor(19): {"44": 1_000_000},
        },
        disabled=frozenset({19}),
    )
    assert decision.refusal is None
    assert names(decision) == ["v12", "v11"]
    assert [(r.price.code, r.price.price_e8) for r in decision.routes] == [("44", 1_200_000), ("447", 1_500_000)]
    assert verdicts(decision) == {
        "v12": "TAKEN", "v11": "TAKEN", "v13": "NO PROFIT", "v14": "NO CODE", "v15": "BLOCKED CODE",
        "v16": "OTHER CURRENCY", "v17": "OWN COMPANY", "v18": "DISABLED", "v19": "DISABLED",
    }  # fmt: skip
    taken = candidates(decision)[:2]
    assert [(c.position, c.margin_e8) for c in taken] == [(1, 800_000), (2, 500_000)]


def test_priority_goes_before_price(routed: Decide) -> None:
    decision = routed(
        {vendor(11): {"44": 1_000_000}, vendor(12): {"44": 1_900_000}, vendor(13): {"44": 1_100_000}},
        priorities={11: 2, 12: 1, 13: 2},
    )
    assert names(decision) == ["v12", "v11", "v13"]


def test_the_connect_fee_and_the_increment_count(routed: Decide) -> None:
    # Over 180 s: 0.0150 a minute flat, against 0.0100 a minute and 0.0180 for the connection: 0.0160 a minute.
    dear = vendor(12, pack=msgspec.structs.replace(PACK, connect_fee_micros=18_000))
    decision = routed({dear: {"44": 1_000_000}, vendor(11): {"44": 1_500_000}})
    assert names(decision) == ["v11", "v12"]
    assert [route.comparable_e8 for route in decision.routes] == [1_500_000, 1_600_000]


@pytest.mark.parametrize(
    ("profit", "margin_e8", "taken"),
    [
        ("no_losses", 0, ["v11", "v12"]), ("profit_only", 0, ["v11"]), ("allow_losses", 0, ["v11", "v12", "v13"]),
        ("no_losses", 500_000, ["v11"]), ("no_losses", 1_000_001, []), ("profit_only", 1_000_000, ["v11"]),
    ],
)  # fmt: skip
def test_profit_control(routed: Decide, profit: str, margin_e8: int, taken: list[str]) -> None:
    customer = peer(1, originator=True, profit=profit, minimum_margin_e8=margin_e8)
    decision = routed(
        {vendor(11): {"44": 1_000_000}, vendor(12): {"44": 2_000_000}, vendor(13): {"44": 2_000_001}}, customer
    )
    assert names(decision) == taken
    assert decision.refusal is (None if taken else Refusal.NO_PROFITABLE_ROUTE)


def test_no_more_than_the_longest_hunt(routed: Decide) -> None:
    decision = routed({vendor(11 + n): {"44": 1_000_000 + n} for n in range(MAX_ROUTES + 3)})
    assert len(decision.routes) == MAX_ROUTES
    assert list(verdicts(decision).values()).count("SURPLUS") == 3


@pytest.mark.parametrize(
    ("asked", "customer", "sells", "reason"),
    [
        (request(address="127.0.9.9:5060"), CUSTOMER, None, "UNAUTHORISED"),
        (request(address="nonsense"), CUSTOMER, None, "UNAUTHORISED"),
        (request(), peer(1, originator=True, enabled=False), None, "DISABLED"),
        (request("44&7700"), CUSTOMER, None, "BAD NUMBER"),
        (request("44"), CUSTOMER, None, "BAD NUMBER"),
        (request(), CUSTOMER, {"1": 100}, "NOT BILLABLE"),
        (request(), CUSTOMER, {"44": 0}, "NOT BILLABLE"),
        (request(), CUSTOMER, {"44": 2_000_000, "447": None}, "BLOCKED"),
        (request("4420"), CUSTOMER, {"442": 100}, "NO PROFITABLE ROUTE"),
        (request("331234567"), CUSTOMER, {"33": 100}, "NO ROUTE"),
        (request("44"+"1" * 14), CUSTOMER, None, "BAD NUMBER"),
    ],
)  # fmt: skip
def test_refusals(routed: Decide, asked: Request, customer: Peer, sells: dict[str, int | None], reason: str) -> None:
    decision = routed({vendor(11): {"44": 1_000_000}}, customer, sells, asked=asked)
    assert decision.refusal == reason
    assert not decision.routes


def test_premium_numbers_need_leave_and_a_price_of_their_own(routed: Decide) -> None:
    premium = [Destination(5, "4490", "premium")]
    asked = request("449012345678")
    vendors: dict[Peer, dict[str, int | None]] = {vendor(11): {"44": 1_000_000}}
    allowed = peer(1, originator=True, allow_special=True)
    whole, own = {"44": 2_000_000}, {"44": 2_000_000, "4490": 9_000_000}
    assert routed(vendors, CUSTOMER, own, asked=asked, destinations=premium).refusal is Refusal.BLOCKED
    assert routed(vendors, allowed, whole, asked=asked, destinations=premium).refusal is Refusal.BLOCKED
    decision = routed(vendors, allowed, own, asked=asked, destinations=premium)
    assert decision.refusal is None
    assert decision.inbound.destination_id == 5


def test_the_most_specific_originator_wins(tmp_path: Path) -> None:
    wide = peer(1, originator=True, host="127.0.0.0/16", endpoint="c-wide")
    narrow = peer(2, originator=True, host="127.0.1.0/24", endpoint="c-narrow")
    prefixed = peer(3, originator=True, host="127.0.0.0/16", endpoint="c-prefixed", tech_prefix="9001")
    world = RawWorld(
        [wide, narrow, prefixed, vendor(11)], {number: [("44", 0, 10)] for number in (1, 2, 3, 11)}, [(11, 1, True)]
    )
    snapshot = make_snapshot(tmp_path, world)

    def who(address: str, callee: str, endpoint: str = "anonymous") -> str:
        decision = decide(
            World(snapshot), request(callee, address, endpoint), NOW_MS, expected_seconds=EXPECTED_SECONDS
        )
        return decision.peer.name if decision.peer else ""

    assert who("127.0.1.7:5060", "447700900123") == "c2"
    assert who("127.0.2.7:5060", "447700900123") == "c1"
    assert who("127.0.1.7:5060", "9001447700900123") == "c3"
    assert who("127.1.0.1:5060", "447700900123") == ""
    # What Asterisk calls the endpoint is one of those at the address: it neither narrows nor replaces it.
    assert who("127.0.1.7:5060", "447700900123", "c-wide") == "c2"
    assert who("127.0.1.7:5060", "9001447700900123", "c-wide") == "c3"
    assert who("127.1.1.7:5060", "447700900123", "c-wide") == ""


def test_originators_at_one_address_are_told_apart_by_their_prefix(tmp_path: Path) -> None:
    peers = [
        peer(number, originator=True, host="192.0.2.1", endpoint=f"c-{number}", tech_prefix=prefix)
        for number, prefix in ((1, ""), (2, "90"), (3, "9001"))
    ]
    six = peer(4, originator=True, host="2001:db8::1", endpoint="c-six")
    decks = {number: [("44", 0, 10)] for number in (1, 2, 3, 4, 11)}
    snapshot = make_snapshot(tmp_path, RawWorld([*peers, six, vendor(11)], decks, [(11, 1, True)]))

    def who(address: str, callee: str) -> str:
        decision = decide(World(snapshot), request(callee, address, "c-1"), NOW_MS, expected_seconds=EXPECTED_SECONDS)
        return decision.peer.name if decision.peer else ""

    assert [who("192.0.2.1:5060", prefix + "447700900123") for prefix in ("", "90", "9001")] == ["c1", "c2", "c3"]
    assert who("[2001:db8::1]:5060", "447700900123") == "c4"
    assert who("192.0.2.2:5060", "447700900123") == ""


mostly = st.sampled_from([True, True, True, True, False])
codes = st.text("12", min_size=1, max_size=4)
moments = st.sampled_from([0, NOW_MS - 10, NOW_MS, NOW_MS + 10, NOW_MS + 1000])
deck_of = st.lists(
    st.tuples(codes, moments, st.none() | st.integers(0, 400)), max_size=14, unique_by=lambda row: row[:2]
)
packs = st.builds(
    lambda notation, fee, currency, free, decimals: msgspec.structs.replace(
        PACK, minimum_seconds=notation[0], increment_seconds=notation[1], free_seconds=notation[2],
        connect_fee_micros=fee, currency=currency, allow_free_codes=free, rounding_decimals=decimals,
    ),
    st.sampled_from([(1, 1, 0), (30, 6, 0), (60, 60, 0), (1, 1, 200)]), st.sampled_from([0, 1]),
    st.sampled_from(["USD", "USD", "USD", "EUR"]), st.booleans(), st.sampled_from([6, 6, 5]),
)  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> RawWorld:
    count = draw(st.integers(0, 11))
    customer = peer(
        1, originator=True, pack=draw(packs),
        profit=draw(st.sampled_from(["profit_only", "no_losses", "allow_losses"])),
        minimum_margin_e8=draw(st.integers(-50, 50)),
    )  # fmt: skip
    vendors = [
        vendor(
            11 + n, pack=draw(packs), company_id=draw(st.sampled_from([1, 50 + n, 50 + n])), enabled=draw(mostly)
        )
        for n in range(count)
    ]  # fmt: skip
    prices = {one.deck_id: draw(deck_of) for one in [customer, *vendors]}
    entries = [
        (one.peer_id, draw(st.integers(0, 2)), draw(st.integers(0, 5)) > 0)
        for one in vendors
        if draw(st.integers(0, 5))
    ]
    return RawWorld([customer, *vendors], prices, entries)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    world=worlds(),
    numbers=st.lists(st.text("123", min_size=3, max_size=6), min_size=1, max_size=8),
    later=st.sampled_from([0, 10, 5000]),
    most_vendors=st.sampled_from([1, 4, 255]),
)
def test_decisions_equal_the_oracle(
    tmp_path: Path, world: RawWorld, numbers: list[str], later: int, most_vendors: int
) -> None:
    snapshot = make_snapshot(tmp_path, world, NOW_MS + later, most_vendors)
    for number in numbers:
        decision = decide(World(snapshot), request(number), NOW_MS, expected_seconds=EXPECTED_SECONDS)
        found = [(route.vendor.peer_id, route.price.code) for route in decision.routes]
        assert (decision.refusal or "", found) == oracle(world, number, NOW_MS + later)
        seen = candidates(decision)
        if decision.plan is not None:
            assert {c.vendor_peer_id for c in seen} == {entry[0] for entry in world.entries}
        assert [c.vendor_peer_id for c in seen if c.position] == [peer_id for peer_id, _ in found]
