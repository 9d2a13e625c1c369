"""Traffic: seeded, Poisson at the rate asked for, within the world's codes, with some of everything a switch sees."""

import itertools
from collections import Counter
from dataclasses import replace
from statistics import mean

import pytest

from simulator.incidents import parse_incident
from simulator.plans import CallIntent
from simulator.traffic import ANONYMOUS_ENDPOINT, Profile, Traffic, customer_sizes
from simulator.world import Customer, World

NOON_MS = 1_795_608_000_000  # a whole hour


def make(world: World, *, seed: int = 1, cps: float = 50.0, profile: Profile = "flat", incidents: str = "") -> Traffic:
    texts = incidents.split()
    return Traffic(
        world,
        seed=seed,
        cps=cps,
        start_ms=NOON_MS,
        profile=profile,
        incidents=[parse_incident(text) for text in texts],
    )


def arrivals(traffic: Traffic, seconds: int) -> list[int]:
    now_ms, calls = NOON_MS, []
    while now_ms < NOON_MS + seconds * 1_000:
        arrival = traffic.next_arrival(now_ms)
        assert arrival.at_ms >= now_ms
        if arrival.is_call:
            calls.append(arrival.at_ms)
        now_ms = arrival.at_ms
    return calls


def calls_of(world: World, count: int = 4_000, seed: int = 1) -> list[CallIntent]:
    traffic = make(world, seed=seed)
    return [traffic.make_call(number, NOON_MS + number * 20) for number in range(1, count + 1)]


@pytest.mark.parametrize("cps", [0.3, 50.0, 1_000.0])
def test_calls_come_at_the_rate_asked_for(small_world: World, cps: float) -> None:
    seconds = max(20, int(2_000 / cps))
    count = len(arrivals(make(small_world, cps=cps), seconds))
    assert count == pytest.approx(cps * seconds, rel=0.12)


def test_gaps_are_those_of_a_poisson_stream(small_world: World) -> None:
    times = arrivals(make(small_world, cps=20.0), 300)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    variance = mean((gap - 50) ** 2 for gap in gaps)
    assert variance == pytest.approx(50**2, rel=0.15)  # of an exponential: the square of its mean


def test_the_same_seed_makes_the_same_calls_whatever_came_before(small_world: World) -> None:
    first, again = calls_of(small_world, 50), make(small_world)
    assert again.make_call(37, NOON_MS + 37 * 20) == first[36]
    assert calls_of(small_world, 50, seed=2) != first


def test_a_surge_multiplies_the_rate_while_it_lasts(small_world: World) -> None:
    traffic = make(small_world, incidents="surge=4@10s+5s")
    rates = [traffic.rate_at(NOON_MS + second * 1_000) for second in (5, 12, 16)]
    assert rates == pytest.approx([50.0, 200.0, 50.0])


def test_a_customer_s_surge_is_his_alone(small_world: World) -> None:
    traffic = make(small_world, incidents="surge:customer-2=50@0")
    assert traffic.rate_at(NOON_MS) > 55
    share = mean(traffic.make_call(n, NOON_MS).endpoint == "c-customer-2" for n in range(1, 500))
    assert share > 0.8


def test_the_daily_profile_is_at_its_rate_at_the_busiest_and_below_else(small_world: World) -> None:
    traffic = make(small_world, profile="daily")
    rates = [traffic.rate_at(NOON_MS + hour * 3_600_000) for hour in range(24)]
    assert max(rates) <= 50.0
    assert min(rates) < 0.6 * max(rates)
    flat = make(small_world)
    assert [flat.rate_at(NOON_MS + hour * 3_600_000) for hour in range(24)] == pytest.approx([50.0] * 24)


def test_customers_call_from_their_own_nodes_within_their_codes(small_world: World) -> None:
    by_endpoint = {customer.endpoint: customer for customer in small_world.customers}
    known = priced = 0
    for call in calls_of(small_world):
        customer = by_endpoint.get(call.endpoint)
        if customer is None:
            assert call.endpoint == ANONYMOUS_ENDPOINT
            assert call.remote_address.startswith("127.9.")
            continue
        assert call.node in customer.nodes
        assert call.remote_address == customer.remote_address
        known += 1
        number = call.callee.removeprefix(customer.tech_prefix).removeprefix("+").removeprefix("00")
        priced += number.startswith(customer.codes)
    assert 0.93 < priced / known < 0.98  # the rest: bad numbers, unknown and unrouted codes


def test_a_tech_prefix_is_dialled(small_world: World) -> None:
    calls = [call for call in calls_of(small_world) if call.endpoint == "c-customer-2"]
    assert mean(call.callee.startswith("9001") for call in calls) > 0.95


def test_there_is_some_of_everything(small_world: World) -> None:
    calls = calls_of(small_world)
    kinds = Counter(
        {
            "stranger": sum(call.endpoint == ANONYMOUS_ENDPOINT for call in calls),
            "disabled": sum(call.endpoint == "c-customer-4" for call in calls),
            "no digits": sum(not call.callee.lstrip("+").isdigit() for call in calls),
            "unknown": sum(call.callee.lstrip("+0").startswith(small_world.unknown_codes) for call in calls),
            "unrouted": sum(call.callee.lstrip("+0").startswith("8816") for call in calls),
            "withheld": sum(call.caller == "anonymous" for call in calls),
            "impatient": sum(call.patience_ms < 6_000 for call in calls),
            "answered": sum(call.callee_plan.answers for call in calls),
            "busy": sum(call.callee_plan.sip_code == 486 for call in calls),
        }
    )
    assert all(kinds[kind] > 5 for kind in kinds), kinds
    assert 0.6 < kinds["answered"] / len(calls) < 0.72


def test_calls_talk_as_long_as_asked_on_average(small_world: World) -> None:
    talks = [call.callee_plan.talk_ms / 1_000 for call in calls_of(small_world, 12_000) if call.callee_plan.answers]
    assert mean(talks) == pytest.approx(35.0, rel=0.1)
    assert sorted(talks)[len(talks) // 2] < 25  # most are shorter than the mean


def test_sizes_share_the_traffic_and_respect_limits(small_world: World) -> None:
    plain: Customer = small_world.customers[0]
    customers = [
        plain,
        replace(plain, peer_id=11),
        replace(plain, peer_id=12, max_concurrent=31),
        replace(plain, peer_id=13, max_cps=1),
    ]
    sizes = customer_sizes(customers, seed=3, cps=100.0, talk_seconds=35.0)
    assert sum(sizes) == pytest.approx(1.0)
    assert sizes[2] <= 31 * 0.9 / 31 / 100 + 1e-9
    assert sizes[3] <= 0.6 / 100 + 1e-9
    assert sum(customer_sizes(customers[2:], 3, 100.0, 35.0)) == pytest.approx(1.0)
