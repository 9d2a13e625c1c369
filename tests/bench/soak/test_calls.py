"""Which calls are made: every kind by its share, each to numbers that only its vendors sell."""

from collections import Counter
from decimal import Decimal

import pytest

from bench.soak.calls import CALLERS, CODE, KINDS, TIMED, VENDORS, kind_of, make_calls
from bench.soak.product import make_decks, make_world
from configuration.entities.document import World
from simulator.sipp import scenarios as common


def test_every_kind_has_its_share_and_comes_at_least_once() -> None:
    assert sum(kind.share for kind in KINDS) == 100
    calls = make_calls(2_000, 1, (29_800, 30_200), 40)
    times = Counter(call.kind.name for call in calls)
    assert len(calls) == 2_000
    assert times[TIMED.name] == 40
    for kind in KINDS:
        assert times[kind.name] == pytest.approx(1_960 * kind.share / 100, rel=0.02, abs=2)
    assert {call.kind for call in make_calls(100, 1)} == set(KINDS)


def test_a_seed_makes_the_same_calls_and_another_makes_others() -> None:
    assert make_calls(100, 1) == make_calls(100, 1) != make_calls(100, 2)


def test_numbers_are_the_calls_own_and_name_their_kind() -> None:
    calls = make_calls(500, 3, (2_800,), 10)
    assert len({call.number for call in calls}) == 500
    assert all(kind_of(call.number) is call.kind for call in calls)
    assert all(call.kind.ms[0] <= call.ms <= call.kind.ms[1] for call in calls if call.kind is not TIMED)
    endings = {call.number[-1] for call in calls if call.kind is not TIMED}
    assert {common.EARLY_MEDIA_ENDING, common.VENDOR_ENDS_ENDING} < endings
    assert all(call.number.endswith("0") for call in calls if call.kind is TIMED)  # no vendor cuts it short
    assert all(call.ms == 2_800 for call in calls if call.kind is TIMED)
    assert max(at for at, call in enumerate(calls) if call.kind is TIMED) < 300


def test_kinds_name_scenarios_that_there_are() -> None:
    assert {vendor for kind in KINDS for vendor in kind.vendors} == VENDORS.keys()
    assert {kind.caller for kind in KINDS} == CALLERS.keys()
    for make in (*VENDORS.values(), *CALLERS.values()):
        assert make().count("<scenario") == 1


def test_a_kinds_vendors_alone_sell_its_numbers_the_first_hunted_is_the_cheapest() -> None:
    decks = {peer: dict(rows) for peer, rows in make_decks().items()}
    assert decks.pop("buyer") == {CODE: "0.06"}
    for call in make_calls(300, 1, (1,), 3):
        code = call.number[: len(CODE) + 2]
        sellers = sorted((Decimal(rows[code]), peer) for peer, rows in decks.items() if code in rows)
        assert [peer for _, peer in sellers] == [f"seller-{vendor}" for vendor in call.kind.vendors]


def test_the_parties_are_a_world_that_loads() -> None:
    world = World.model_validate(make_world(dict.fromkeys(VENDORS, ("127.91.9.1", 7000))))
    peers = [peer for company in world.companies for peer in company.peers]
    assert {peer.name for peer in peers} == {"buyer", "buyer-never-hangs-up", "buyer-cut-off"} | {
        f"seller-{name}" for name in VENDORS
    }
