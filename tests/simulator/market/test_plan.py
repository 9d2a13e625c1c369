"""The made-up world before any database: the same for one seed, reachable for every customer."""

from collections.abc import Mapping

import pytest

from configuration.entities.countries import destinations
from simulator.market.plan import SIZES, Plan, make_plan
from simulator.market.pricing import ALWAYS, ANNOUNCED, CHANGED, Price, market_price_e8, seeded, split_codes

COMMON = {
    "United States": "12125550100",
    "United Kingdom": "442079460000",
    "United Kingdom mobile": "447700900123",
    "Germany": "493012345678",
    "Germany mobile": "4915112345678",
    "Mexico": "525512345678",
}


def _now(prices: list[Price]) -> dict[str, int | None]:
    """What is in force today, by code: rows come by code, and the later moment after the earlier."""
    return {price.code: price.price_e8 for price in prices if price.effective_from != ANNOUNCED}


def _price(deck: Mapping[str, int | None], number: str) -> int | None:
    """By the slow way: the longest code that is there decides, and a blocked one blocks."""
    return next((deck[number[:length]] for length in range(len(number), 0, -1) if number[:length] in deck), None)


def _decks(plan: Plan) -> dict[str, list[Price]]:
    return {name: list(rows) for name, rows in plan.decks()}


@pytest.mark.parametrize("seed", [1, 2, 3, 7, 2**53 - 1])
def test_every_customer_reaches_a_price_and_two_vendors_of_his_currency(seed: int) -> None:
    plan = make_plan("small", seed)
    decks = {name: _now(rows) for name, rows in _decks(plan).items()}
    company_of = {peer.name: company for company in plan.world.companies for peer in company.peers}
    vendors = {peer.name: peer for company in plan.world.companies for peer in company.peers}
    classes = {route_class.name: route_class for route_class in plan.world.route_classes}
    looked_at = 0
    blocked = []
    for company in plan.world.companies:
        for peer in company.peers:
            if peer.role != "originator" or peer.route_class == "sipp":
                continue
            currency = next(account.currency for account in company.accounts if account.kind == "customer")
            for place, number in COMMON.items():
                if not _price(decks[peer.deck], number):
                    blocked.append((peer.name, place))
                ways = [
                    entry.peer
                    for entry in classes[str(peer.route_class)].entries
                    if company_of[entry.peer] is not company
                    and company_of[entry.peer].accounts[0].currency == currency
                    and _price(decks[vendors[entry.peer].deck], number)
                ]
                # Of the vendors in euro there is one, so the customer in euro has one way.
                assert len(ways) >= (2 if currency == "USD" else 1), f"{peer.name} to {place}: {ways}"
                looked_at += 1
    assert looked_at >= 16 * len(COMMON)
    # Customers' decks block a code now and then, on purpose; in the world that all start from, none of these.
    assert len(blocked) <= (0 if seed == 1 else looked_at // 50), blocked


def test_a_seed_is_a_world_and_another_seed_another() -> None:
    first, again, other = make_plan("small", 3), make_plan("small", 3), make_plan("small", 4)
    assert first.world == again.world
    assert first.payments == again.payments
    assert _decks(first) == _decks(again)
    assert {company.name for company in first.world.companies} != {company.name for company in other.world.companies}
    markets = [[market_price_e8(seed, place) for place in destinations()] for seed in (3, 4)]
    assert sum(one != two for one, two in zip(*markets, strict=True)) > len(markets[0]) * 9 // 10


@pytest.mark.parametrize("size", list(SIZES))
def test_who_is_in_a_world(size: str) -> None:
    plan = make_plan(size, 1)
    companies = [company for company in plan.world.companies if not company.name.startswith("SIPp")]
    sells = [company for company in companies if any(peer.role == "terminator" for peer in company.peers)]
    buys = [company for company in companies if any(peer.role == "originator" for peer in company.peers)]
    assert (len(sells), len(buys)) == (SIZES[size].vendors, SIZES[size].customers)
    assert [company for company in sells if company in buys], "no partner buys and sells"
    accounts = [account for company in companies for account in company.accounts]
    assert {account.payment for account in accounts if account.kind == "customer"} == {"prepaid", "postpaid"}
    assert [account.currency for account in accounts if account.kind == "vendor"].count("EUR") == 1
    prepaid = {a.name for a in accounts if a.kind == "customer" and a.payment == "prepaid"}
    assert prepaid == plan.payments.keys()
    assert min(plan.payments.values()) < 2, "no customer has nearly used up his money"
    grades = {peer.name.rpartition("-")[2] for company in sells for peer in company.peers if peer.role == "terminator"}
    assert grades == {"premium", "standard", "grey", "poor", "mexico"}


def test_hosts_and_nodes_keep_simulated_and_real_parties_apart() -> None:
    for company in make_plan("medium", 1).world.companies:
        for peer in company.peers:
            sipp = company.name.startswith("SIPp")
            network = "127.0.0." if sipp else {"originator": "127.1.", "terminator": "127.2."}[peer.role]
            assert peer.host.startswith(network), peer
            assert peer.nodes == (("ast1",) if sipp else ("sim1", "sim2")), peer


def test_decks_are_a_to_z_with_mobile_and_fixed_and_moments() -> None:
    decks = _decks(make_plan("small", 1))
    kinds = {place.code: place.kind for place in destinations()}
    countries = {place.code: place.country for place in destinations()}
    for name, rows in decks.items():
        if name.startswith("sipp") or name.endswith("-mexico"):
            continue
        codes = {row.code for row in rows}
        assert {"fixed", "mobile"} <= {kinds[code] for code in codes if code in kinds}, name
        assert len({countries[code] for code in codes if code in countries}) > 100, name
        assert {row.effective_from for row in rows} == {ALWAYS, CHANGED, ANNOUNCED}, name
        assert len({(row.code, row.effective_from) for row in rows}) == len(rows), name
        prices = [row.price_e8 for row in rows if row.price_e8 is not None]
        assert min(prices) > 0
        assert max(prices) < 10**13
        assert any(row.price_e8 is None for row in rows), f"{name} blocks nothing"


def test_the_vendor_of_mexico_sells_mexico_alone() -> None:
    decks = _decks(make_plan("small", 1))
    (rows,) = [rows for name, rows in decks.items() if name.endswith("-mexico")]
    assert {row.code[:2] for row in rows} == {"52"}


def test_splitting_makes_as_many_new_codes_as_are_wanted() -> None:
    begun = ["44", "447", "1"]
    made = list(split_codes(seeded("test"), begun, 500))
    assert len(made) == 497
    have = set(begun)
    for code in made:
        assert code[:-1] in have, "a code is one digit longer than one before it"
        assert code not in have
        have.add(code)
