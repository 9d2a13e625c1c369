"""The builder's arrays: narrow where they fit, and the same values either way."""

from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import RawWorld, make_snapshot, peer

from router.core import Request, World, candidates, decide
from router.snapshot.prices import narrow

MOST = 2**31 - 1


@given(st.lists(st.integers(-2, 2**40) | st.integers(-2, MOST), max_size=30))
def test_narrow_keeps_every_value_that_is_one(values: list[int]) -> None:
    array = numpy.array(values, dtype=numpy.int64)
    narrowed = narrow(array)
    assert narrowed.tolist() == values
    assert narrowed.itemsize == (4 if all(value <= MOST for value in values) else 8)


@pytest.mark.parametrize("dear_e8", [1_500_000_000, 3_000_000_000, 900_000_000_000])
def test_prices_of_any_size_are_routed_alike(tmp_path: Path, dear_e8: int) -> None:
    world = RawWorld(
        peers=[
            peer(1, originator=True, profit="allow_losses"),
            *(peer(number, originator=False) for number in (2, 3, 4)),
        ],
        prices={1: [("44", 0, 5_000_000)], 2: [("44", 0, dear_e8)], 3: [("447", 0, 1_000_000)], 4: [("33", 0, 1)]},
        entries=[(2, 0, True), (3, 0, True), (4, 0, True)],
    )
    snapshot = make_snapshot(tmp_path, world)
    decision = decide(World(snapshot), Request("c-c1", "127.0.1.1:5060", "447700900123", "1"), 0, expected_seconds=180)
    assert [(route.vendor.peer_id, route.price.price_e8, route.comparable_e8) for route in decision.routes] == [
        (3, 1_000_000, 1_000_000), (2, dear_e8, dear_e8)
    ]  # fmt: skip
    assert {candidate.vendor_peer_id: candidate.verdict for candidate in candidates(decision)}[4] == "NO CODE"
