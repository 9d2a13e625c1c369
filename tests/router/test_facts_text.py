"""The quick FACTS of routes are those of the plain encoder, whatever the vendors are."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshots import EXPECTED_SECONDS, NOW_MS, PACK, RawWorld, make_snapshot, peer, with_changes

from router.answer import route_facts
from router.facts_text import route_facts_texts
from router.routing import Request, World, decide
from router.snapshot.config import Account, Pack
from schemas.facts import encode_facts

seconds = st.integers(0, 86_400)
packs = st.builds(
    Pack, pack_id=st.just(1), currency=st.just("USD"), minimum_seconds=seconds, increment_seconds=st.integers(1, 60),
    free_seconds=seconds, connect_fee_micros=st.integers(0, 10**6), rounding_decimals=st.integers(0, 6),
    duration_rounding=st.sampled_from(["up", "nearest", "none"]), allow_free_codes=st.booleans(),
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(packs, min_size=1, max_size=10))
def test_quick_facts_are_the_plain_ones(tmp_path: Path, vendor_packs: list[Pack]) -> None:
    """Vendors come and go between examples: one that another has had the place of in memory is told apart."""
    vendors = [
        peer(2 + number, originator=False, pack=pack, account=Account(900 - number, False, False))
        for number, pack in enumerate(vendor_packs)
    ]
    customer = with_changes(peer(1, originator=True), profit="allow_losses", pack=PACK)
    prices = {vendor.deck_id: [("44", 0, 1_000 * vendor.peer_id)] for vendor in vendors}
    world = RawWorld(
        [customer, *vendors], {1: [("44", 0, 10**9)], **prices}, [(vendor.peer_id, 1, True) for vendor in vendors]
    )
    snapshot = make_snapshot(tmp_path, world)
    asked = Request("c-c1", "127.0.1.1:5060", "447700900123", "12125550123")
    decision = decide(World(snapshot), asked, NOW_MS, expected_seconds=EXPECTED_SECONDS)
    assert decision.routes
    expected = [encode_facts(route_facts(decision, route)) for route in decision.routes]
    assert route_facts_texts(decision) == expected
    assert route_facts_texts(decision) == expected  # what was kept says the same
