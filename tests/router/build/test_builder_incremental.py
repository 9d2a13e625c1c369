"""What is built upon the generation before equals what is built from nothing, and only what has changed is built."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshots import EXPECTED_SECONDS, NOW_MS, PACK, PriceRow, RawDecks, RawWorld, config_of, make_snapshot, peer

from router.build.assemble import Assembly
from router.snapshot import store
from router.snapshot.config import Pack, Peer
from router.snapshot.manifest import ARRAYS, Manifest, write_generation
from router.snapshot.prices import Rate

_numbers = itertools.count(1)
PACKS = (
    PACK,
    msgspec.structs.replace(PACK, minimum_seconds=60, increment_seconds=60),
    msgspec.structs.replace(PACK, connect_fee_micros=7, allow_free_codes=True),
    msgspec.structs.replace(PACK, currency="EUR"),
)
codes = st.text("12", min_size=1, max_size=4)
moments = st.sampled_from([0, 0, NOW_MS, NOW_MS + 10])
prices = st.none() | st.integers(0, 400) | st.just(3_000_000_000)  # one that takes eight bytes
decks = st.lists(st.tuples(codes, moments, prices), max_size=8, unique_by=lambda row: row[:2])


class Step(msgspec.Struct, frozen=True):
    """A configuration: vendors with packs in some order, all decks, the time, the rates."""

    vendors: tuple[tuple[int, Pack], ...]
    prices: Mapping[int, Sequence[PriceRow]]
    versions: Mapping[int, int]
    now_ms: int
    rates: Mapping[str, Rate]

    def peers(self) -> list[Peer]:
        customers = [peer(number, originator=True, deck_id=deck) for number, deck in ((1, 1), (2, 1), (3, 130))]
        return customers + [peer(number, originator=False, pack=pack) for number, pack in self.vendors]

    def build(self, directory: Path, before: Manifest | None, most_vendors: int) -> tuple[Manifest, Assembly]:
        config = config_of(RawWorld(self.peers(), self.prices, []))
        source = RawDecks(self.prices, self.now_ms, self.versions)
        assembly = Assembly(directory, source, EXPECTED_SECONDS, before, rates=self.rates, most_vendors=most_vendors)
        manifest = assembly.run(config)
        name = f"g{next(_numbers)}"
        write_generation(directory, name, config, manifest)
        return manifest, assembly

    def arrays(self, directory: Path, manifest: Manifest) -> dict[str, object]:
        """All that a router would read of it."""
        config = config_of(RawWorld(self.peers(), self.prices, []))
        name = f"g{next(_numbers)}"
        write_generation(directory, name, config, manifest)
        return everything(store.load(directory, name, checked=True))


def everything(snapshot: store.Snapshot) -> dict[str, object]:
    found: dict[str, object] = {}
    for number, matrix in enumerate(snapshot.matrices):
        for name in ("cost", "digits", "order", "words", "ranks"):
            view = getattr(matrix, name)
            found[f"{number}.{name}"] = (view.format, view.tolist())
        found[f"{number}.prices"] = [list(view) for view in matrix.prices_e8]
        found[f"{number}.ids"] = [list(view) for view in matrix.price_ids]
    for name in ("codes", "lengths", "parents", "starts", "owners"):
        found[name] = list(getattr(snapshot.index, name))
    for deck_id, deck in snapshot.decks.items():
        found[f"deck {deck_id}"] = (list(deck.index.codes), list(deck.prices_e8), list(deck.price_ids))
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Configurations, each a few changes from the one before."""
    now: dict[int, Sequence[PriceRow]] = {deck: draw(decks) for deck in (1, 130, 11, 12, 13, 14, 40)}
    versions = dict.fromkeys(now, 1)
    vendors = dict.fromkeys(draw(st.lists(st.sampled_from([11, 12, 13, 14, 40]), unique=True)), PACKS[0])
    now_ms, rates = NOW_MS, {"EUR": (1, 1)}
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 5))):
        for what in draw(st.lists(st.sampled_from(["deck", "deck", "pack", "vendor", "time", "rate"]), max_size=3)):
            number = draw(st.sampled_from(sorted(now)))
            if what == "deck":
                now[number] = draw(decks)
                versions[number] += 1
            elif what == "pack" and number in vendors:
                vendors[number] = draw(st.sampled_from(PACKS))
            elif what == "vendor" and number >= 11 and number != 130:
                vendors = (
                    {at: pack for at, pack in vendors.items() if at != number}
                    if number in vendors
                    else {**vendors, number: PACKS[0]}
                )
            elif what == "time":
                now_ms = NOW_MS + draw(st.sampled_from([0, 20]))
            elif what == "rate":
                rates = {"EUR": draw(st.sampled_from([(1, 1), (11, 10), (3, 7)]))}
        steps.append(Step(tuple(sorted(vendors.items())), dict(now), dict(versions), now_ms, rates))
    return steps


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(history=histories(), most_vendors=st.sampled_from([2, 255]))
def test_built_upon_the_one_before_equals_built_from_nothing(
    tmp_path: Path, history: list[Step], most_vendors: int
) -> None:
    place = tmp_path / str(next(_numbers))
    before: Manifest | None = None
    for step in history:
        before, _ = step.build(place / "upon", before, most_vendors)
        whole, _ = step.build(place / "whole", None, most_vendors)
        assert step.arrays(place / "upon", before) == step.arrays(place / "whole", whole)


ROWS: dict[int, Sequence[PriceRow]] = {
    1: [("1", 0, 10)], 130: [("1", 0, 11)], 11: [("1", 0, 5), ("12", 0, 6)], 12: [("1", 0, 7)], 40: [("12", 0, 3)],
}  # fmt: skip
FIRST = Step(((11, PACK), (12, PACK), (40, PACK)), ROWS, dict.fromkeys(ROWS, 1), NOW_MS, {})


def kinds(made: Sequence[str]) -> list[str]:
    return sorted(name.partition("-")[0] for name in made)


@pytest.mark.parametrize(
    ("deck", "rows", "made"),
    [
        (None, [], []),
        (1, [("1", 0, 99)], ["sold"]),
        (12, [("1", 0, 8)], ["bought", "matrix"]),
        (12, [("1", 0, 7), ("12", 0, 7)], ["bought", "matrix"]),
        (12, [("1", 0, 7), ("2", 0, 7)], ["bought", "codes", "matrix"]),
    ],
    ids=["nothing", "a customer's price", "a vendor's price", "a code that others have", "a new code"],
)
def test_only_what_changed_is_made(tmp_path: Path, deck: int | None, rows: list[PriceRow], made: list[str]) -> None:
    before, first = FIRST.build(tmp_path, None, 255)
    assert kinds(first.made) == ["bought", "bought", "codes", "matrix", "sold", "sold"]
    changed = FIRST
    if deck is not None:
        changed = msgspec.structs.replace(FIRST, prices={**ROWS, deck: rows}, versions={**FIRST.versions, deck: 2})
    _, assembly = changed.build(tmp_path, before, 255)
    assert kinds(assembly.made) == made


def test_a_damaged_file_is_not_taken(tmp_path: Path) -> None:
    manifest, _ = FIRST.build(tmp_path, None, 255)
    path = tmp_path / ARRAYS / manifest.matrices[0].file
    whole = path.read_bytes()
    name = next(tmp_path.glob("g*")).name
    store.load(tmp_path, name, checked=True)
    for damaged, checked, said in (
        (whole[:-1], False, "it is torn"),
        (whole + b"x", False, "it is torn"),
        (b"", False, "does not begin"),
        (b"streamco arrays 9\n" + whole[18:], False, "does not begin"),
        (whole[:-70] + bytes([whole[-70] ^ 1]) + whole[-69:], True, "checksum"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(store.SnapshotError, match=said):
            store.load(tmp_path, name, checked=checked)


def test_a_thousand_costs_equal_or_not_stand_in_order(tmp_path: Path) -> None:
    """Costs of all sizes, those of eight bytes too: the cheapest first, of equal ones the first vendor."""
    price_of = {11 + number: [3, 2**31 - 1, 2**31, 3, 2**40, 0, 2**55, 2**56, 7][number % 9] for number in range(200)}
    world = RawWorld(
        [peer(number, originator=False, pack=PACKS[2]) for number in price_of],
        {number: [("1", 0, price)] for number, price in price_of.items()},
        [],
    )
    snapshot = make_snapshot(tmp_path, world)
    (matrix,) = snapshot.matrices
    costs = list(matrix.cost)
    assert list(matrix.order) == sorted(range(200), key=lambda vendor: (costs[vendor], vendor))
