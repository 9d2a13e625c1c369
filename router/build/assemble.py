"""Brings about the files of a generation from decks: what the generation before has already is referred to, not made.

    codes-…     the index over the codes of all vendors
    matrix-…    the costs of up to 255 vendors, in their order
    bought-…    the prices of a few vendors' decks
    sold-…      the prices of a few customers' decks, each with its index

A deck's key tells its content: which deck, which version, which of its moments has begun, whether it may be free. A
column's key tells its costs: the deck's key, and how its price is compared.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from numpy.typing import NDArray

from router.snapshot.arrays import numpy_arrays, write_arrays
from router.snapshot.config import PAR, Config, Pack, Peer, Rate
from router.snapshot.manifest import ARRAYS, MANIFEST_VERSION, Filed, Manifest
from router.snapshot.matrix import (
    BLOCK_ARRAYS,
    MOST_VENDORS,
    Block,
    Codes,
    Column,
    change_block,
    kept_keys,
    make_block,
    make_codes,
)
from router.snapshot.prices import Deck, deck_arrays, price_arrays

Integers = NDArray[Any]
_BOUGHT_DECKS: Final = 16  # of a volume, by number: a thousand decks are not a thousand files to map
_SOLD_DECKS: Final = 64


class Decks(Protocol):
    """Where decks come from."""

    def key(self, deck_id: int, *, allow_free: bool) -> str:
        """What tells the content of the deck as it is in force now."""

    def deck(self, deck_id: int, *, allow_free: bool) -> Deck:
        """The prices in force now."""


class _Vendor(NamedTuple):
    """A vendor's column: where its deck stands, the deck's key, and the key of its costs."""

    name: str
    deck_key: str
    key: str
    column: Column


class _Before:
    """The generation before, of which files are read only when something is made from them."""

    def __init__(self, directory: Path, manifest: Manifest | None) -> None:
        self.manifest = manifest
        self.files = frozenset(manifest.files()) if manifest else frozenset()
        matrices = manifest.matrices if manifest else ()
        self.columns = {
            key: (number, at) for number, filed in enumerate(matrices) for at, key in enumerate(filed.parts)
        }  # where each column is
        self._directory = directory / ARRAYS
        self._blocks: dict[int, Block] = {}
        self._codes: Codes | None = None

    def codes(self) -> Codes:
        assert self.manifest is not None  # noqa: S101 (for the type checker: there is a column of it)
        if self._codes is None:
            arrays = numpy_arrays(self._directory / self.manifest.codes.file)
            self._codes = Codes(arrays.pop("keys"), arrays)
        return self._codes

    def block(self, number: int) -> Block:
        assert self.manifest is not None  # noqa: S101 (for the type checker: there is a column of it)
        if number not in self._blocks:
            filed = self.manifest.matrices[number]
            arrays = numpy_arrays(self._directory / filed.file)
            width = len(filed.parts)
            by_code = {name: arrays[name].reshape(-1, width) for name in ("cost", "digits", "order")}
            by_vendor = {name: arrays[name].reshape(width, -1) for name in ("words", "ranks")}
            self._blocks[number] = Block(**by_code, **by_vendor)
        return self._blocks[number]


@dataclass
class Assembly:
    """The making of one generation upon another. `made` names the files that were written, for who wants to know."""

    directory: Path
    decks: Decks
    expected_seconds: int
    before: Manifest | None = None
    rates: Mapping[str, Rate] = field(default_factory=dict)  # by currency, to the comparable one
    progress: Callable[[str, int, int], None] = lambda what, done, of: None
    most_vendors: int = MOST_VENDORS
    made: list[str] = field(default_factory=list)

    def run(self, config: Config) -> Manifest:
        """The manifest of a configuration; all files that it names are there."""
        (self.directory / ARRAYS).mkdir(parents=True, exist_ok=True)
        vendors = [self._vendor(peer) for peer in config.peers if not peer.originator]
        bought = {vendor.name: vendor.deck_key for vendor in vendors}
        # A customer's free codes are judged at the decision, by the pack of the peer that calls.
        sold_decks = sorted({peer.deck_id for peer in config.peers if peer.originator})
        sold = {f"{deck_id}.1": self.decks.key(deck_id, allow_free=True) for deck_id in sold_decks}
        codes, matrices = self._matrices(vendors)
        return Manifest(
            version=MANIFEST_VERSION,
            expected_seconds=self.expected_seconds,
            codes=codes,
            matrices=matrices,
            bought=self._volumes("bought", bought, _BOUGHT_DECKS, price_arrays),
            sold=self._volumes("sold", sold, _SOLD_DECKS, deck_arrays),
            bought_decks=tuple(vendor.name for vendor in vendors),
            sold_decks=tuple(sold_decks),
        )

    def _vendor(self, peer: Peer) -> _Vendor:
        free = peer.pack.allow_free_codes
        rate = self.rates.get(peer.pack.currency, PAR)
        deck_key = self.decks.key(peer.deck_id, allow_free=free)
        key = " ".join((deck_key, _notation(peer.pack), f"{rate[0]}/{rate[1]}"))
        column = Column(partial(self.decks.deck, peer.deck_id, allow_free=free), peer.pack, rate)
        return _Vendor(f"{peer.deck_id}.{free:d}", deck_key, key, column)

    def _matrices(self, vendors: Sequence[_Vendor]) -> tuple[Filed, tuple[Filed, ...]]:
        usable = self.before is not None and self.before.expected_seconds == self.expected_seconds
        before = _Before(self.directory, self.before if usable else None)
        codes_key = _digest(sorted({vendor.deck_key for vendor in vendors}))
        codes, filed_codes = self._codes(before, vendors, codes_key)
        matrices = []
        for number, start in enumerate(range(0, len(vendors), self.most_vendors)):
            of_block = vendors[start : start + self.most_vendors]
            parts = tuple(vendor.key for vendor in of_block)
            file = f"matrix-{_digest([filed_codes.file, self.expected_seconds, *parts])}"
            if file not in before.files:
                self.progress("matrix", number, -(-len(vendors) // self.most_vendors))
                self._write(file, self._block(before, codes(), of_block))
            matrices.append(Filed(file, parts))
        return filed_codes, tuple(matrices)

    def _codes(self, before: _Before, vendors: Sequence[_Vendor], codes_key: str) -> tuple[Callable[[], Codes], Filed]:
        """The codes of all vendors, read from their file only by who needs them."""
        if before.manifest is not None and before.manifest.codes.parts == (codes_key,):
            return before.codes, before.manifest.codes
        fresh = [vendor for vendor in vendors if vendor.key not in before.columns]
        stay: dict[int, list[int]] = {}
        for vendor in vendors:
            if vendor.key in before.columns:
                number, column = before.columns[vendor.key]
                stay.setdefault(number, []).append(column)
        keys = [kept_keys(before.codes(), before.block(number), columns) for number, columns in stay.items()]
        for done, vendor in enumerate(fresh):
            self.progress("codes", done, len(fresh))
            keys.append(vendor.column.deck().keys)
        made = make_codes(keys)
        file = f"codes-{_digest([blake2b(made.keys.tobytes()).hexdigest()])}"
        if file not in before.files:
            self._write(file, {**made.arrays, "keys": made.keys})
        return lambda: made, Filed(file, (codes_key,))

    def _block(self, before: _Before, codes: Codes, vendors: Sequence[_Vendor]) -> dict[str, Integers]:
        at = [before.columns.get(vendor.key) for vendor in vendors]
        numbers = Counter(place[0] for place in at if place is not None)
        if not numbers:
            return _arrays(make_block(codes, [vendor.column for vendor in vendors], self.expected_seconds))
        number = numbers.most_common(1)[0][0]
        columns = [
            place[1] if place is not None and place[0] == number else vendor.column
            for place, vendor in zip(at, vendors, strict=True)
        ]
        return _arrays(change_block(codes, (before.codes(), before.block(number)), columns, self.expected_seconds))

    def _volumes(
        self, kind: str, decks: Mapping[str, str], of_volume: int, arrays_of: Callable[[Deck], dict[str, Integers]]
    ) -> tuple[Filed, ...]:
        """The volumes of these decks (key by name), each made from the one before and the decks that are new."""
        before: tuple[Filed, ...] = getattr(self.before, kind) if self.before else ()
        old = {part: filed.file for filed in before for part in filed.parts}
        grouped: dict[int, list[str]] = {}
        for name in sorted(decks, key=_number_of):
            grouped.setdefault(_number_of(name)[0] // of_volume, []).append(name)
        return tuple(
            self._volume(kind, [(name, decks[name]) for name in names], old, arrays_of) for names in grouped.values()
        )

    def _volume(
        self,
        kind: str,
        decks: Sequence[tuple[str, str]],
        old: Mapping[str, str],
        arrays_of: Callable[[Deck], dict[str, Integers]],
    ) -> Filed:
        parts = tuple(key for _, key in decks)
        file = f"{kind}-{_digest(parts)}"
        if file in old.values():
            return Filed(file, parts)
        arrays: dict[str, Integers] = {}
        mapped: dict[str, dict[str, Integers]] = {}
        for name, key in decks:
            if key in old:
                source = old[key]
                if source not in mapped:
                    mapped[source] = numpy_arrays(self.directory / ARRAYS / source)
                arrays |= {of: array for of, array in mapped[source].items() if of.startswith(f"{name}.")}
            else:
                deck_id, free = _number_of(name)
                made = arrays_of(self.decks.deck(deck_id, allow_free=bool(free)))
                arrays |= {f"{name}.{of}": array for of, array in made.items()}
        self._write(file, arrays)
        return Filed(file, parts)

    def _write(self, file: str, arrays: Mapping[str, Integers]) -> None:
        write_arrays(self.directory / ARRAYS / file, arrays)
        self.made.append(file)


def _arrays(block: Block) -> dict[str, Integers]:
    return {name: getattr(block, name) for name in BLOCK_ARRAYS}


def _number_of(name: str) -> tuple[int, int]:
    deck_id, _, free = name.partition(".")
    return int(deck_id), int(free)


def _notation(pack: Pack) -> str:
    """What of a pack makes the cost of a price."""
    notation = f"{pack.minimum_seconds}/{pack.increment_seconds}/{pack.free_seconds}+{pack.connect_fee_micros}"
    return f"{notation} {pack.rounding_decimals}{pack.duration_rounding}"


def _digest(parts: Sequence[object]) -> str:
    return blake2b("\n".join(map(str, parts)).encode(), digest_size=12).hexdigest()
