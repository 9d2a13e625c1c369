"""A snapshot as a decision reads it: the small values decoded, the arrays mapped from the files of its manifest.

Routers of one machine map the same files.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy
from numpy.typing import NDArray

from router.snapshot.arrays import map_arrays
from router.snapshot.caches import Caches
from router.snapshot.code_index import CodeIndex, build_arrays, sort_codes
from router.snapshot.config import Config, Peer, RouteClass, RouteEntry
from router.snapshot.errors import SnapshotError
from router.snapshot.manifest import ARRAYS, Manifest, read_config_of, read_manifest, read_pointer
from router.snapshot.matrix import BLOCK_ARRAYS, WORD_BITS
from router.snapshot.numbers import Numbers, load_numbers

INWARD: Final = "inward"  # the class of numbers that lead to a terminator of ours
_INDEX: Final = ("codes", "lengths", "parents", "starts", "owners")
_BELOW: Final = tuple((1 << bit) - 1 for bit in range(WORD_BITS))
_BELOW_ARRAY: Final = numpy.array(_BELOW, dtype=numpy.uint64)
_MOST_DIGITS: Final = 16  # more than a code has


@dataclass(frozen=True, slots=True)
class CustomerDeck:
    """A customer's prices."""

    index: CodeIndex
    prices_e8: Sequence[int]  # -1: blocked
    price_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class VendorMatrix:
    """The costs of at most 255 vendors, `first` and those behind it among the snapshot's: see matrix.py.

    Cell (code, vendor) of cost, digits and order stands at code × len(vendors) + vendor.
    """

    index: CodeIndex  # of all matrices the same
    first: int
    vendors: tuple[Peer, ...]
    cost: Sequence[int]
    digits: Sequence[int]  # of the vendor's own code that matches; 0: it has none
    order: bytes | memoryview
    words: Sequence[int]
    ranks: Sequence[int]
    words_of_vendor: int
    prices_e8: tuple[Sequence[int], ...]  # by vendor, in the order of its own codes; -1: blocked
    price_ids: tuple[Sequence[int], ...]
    first_words: NDArray[Any]  # of each vendor in `words`

    def price(self, code: int, vendor: int) -> tuple[int, int]:
        """(price_id, price_e8) of the vendor's own code that `code` falls under; its cell must have digits."""
        digits = self.digits[code * len(self.vendors) + vendor]
        lengths = self.index.lengths
        while lengths[code] != digits:
            code = self.index.parents[code]
        return self.price_at(code, vendor)

    def price_at(self, code: int, vendor: int) -> tuple[int, int]:
        """(price_id, price_e8) of a code that is the vendor's own."""
        word = vendor * self.words_of_vendor + code // WORD_BITS
        place = self.ranks[word] + (self.words[word] & _BELOW[code % WORD_BITS]).bit_count()
        return self.price_ids[vendor][place], self.prices_e8[vendor][place]

    def all_places(self, code: int) -> tuple[list[int], list[int]]:
        """By vendor: the digits of its own code that `code` falls under, and where in its own prices that stands.

        Without digits the place means nothing. As `price`, for all vendors in a dozen calls of numpy.
        """
        width = len(self.vendors)
        digits = numpy.asarray(self.digits[code * width : (code + 1) * width])
        marks = numpy.zeros(_MOST_DIGITS, dtype=numpy.int64)
        for length, covering in self.index.marks(code).items():
            marks[length] = covering
        own = marks[digits]
        words = self.first_words + own // WORD_BITS
        below = numpy.asarray(self.words)[words] & _BELOW_ARRAY[own % WORD_BITS]
        places = numpy.asarray(self.ranks)[words] + numpy.bitwise_count(below)
        return digits.tolist(), places.tolist()


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a decision reads, as of one generation; `caches` are routing's."""

    name: str
    config: Config
    originators: tuple[Peer, ...]
    by_address: Mapping[str, tuple[Peer, ...]]  # originators of one address each, by its text
    by_network: tuple[tuple[Network, Peer], ...]  # the others
    classes: Mapping[int, RouteClass]
    decks: Mapping[int, CustomerDeck]
    index: CodeIndex  # of the codes of all vendors
    vendors: tuple[Peer, ...]
    matrices: tuple[VendorMatrix, ...]  # one behind the other they have all vendors, in their order
    destinations: CodeIndex
    destination_of: Sequence[tuple[int, str]]  # by index of the code: (destination_id, kind)
    numbers: Numbers
    caches: Caches = field(default_factory=Caches, compare=False)

    def matrix_of(self, vendor: int) -> VendorMatrix:
        """The matrix of a vendor, given by its place in `vendors`: all matrices but the last are equally wide."""
        return self.matrices[vendor // len(self.matrices[0].vendors)]


def load(directory: Path, name: str, *, checked: bool = False) -> Snapshot:
    """Map a generation. `checked`: with the checksums of its files, a tenth of a second for ten million prices.

    Raises SnapshotError for one that is damaged or of another version, OSError for one that is gone.
    """
    manifest = read_manifest(directory, name)
    config = read_config_of(directory, name)
    by_address, by_network = by_host(config.peers)
    arrays = {file: map_arrays(directory / ARRAYS / file, checked=checked) for file in manifest.files()}
    codes = arrays[manifest.codes.file]
    index = CodeIndex(**{key: codes[key] for key in _INDEX}, first=codes["first"])
    vendors = tuple(peer for peer in config.peers if not peer.originator)
    return Snapshot(
        name=name,
        config=config,
        originators=tuple(peer for peer in config.peers if peer.originator),
        by_address=by_address,
        by_network=by_network,
        classes=_classes(config),
        decks=_customer_decks(manifest, arrays),
        index=index,
        vendors=vendors,
        matrices=_matrices(manifest, arrays, index, vendors),
        destinations=_destinations(config),
        destination_of=_destination_values(config),
        numbers=load_numbers(
            directory, config.numbers, frozenset(peer.peer_id for peer in config.peers if peer.originator)
        ),
    )


def newest(directory: Path, now_ms: int) -> str:
    """The name of the generation in force, or an empty text. Raises SnapshotError for a pointer that cannot be read."""
    return read_pointer(directory).at(now_ms)


def _classes(config: Config) -> dict[int, RouteClass]:
    """The route classes by id, and one of its own for each terminator that numbers lead to: minus its peer's id."""
    found = {route_class.route_class_id: route_class for route_class in config.route_classes}
    for peer_id in set(config.lookups.dids.values()):
        found[-peer_id] = RouteClass(-peer_id, INWARD, (RouteEntry(peer_id, 1, enabled=True),))
    return found


def by_host(peers: Sequence[Peer]) -> tuple[dict[str, tuple[Peer, ...]], tuple[tuple[Network, Peer], ...]]:
    """The originators among these peers: those of one address each by its text, and the others with their networks."""
    by_address: dict[str, tuple[Peer, ...]] = {}
    by_network = []
    for peer in peers:
        if not peer.originator:
            continue
        network = ipaddress.ip_network(peer.host, strict=False)
        if network.num_addresses == 1:
            address = str(network.network_address)
            by_address[address] = (*by_address.get(address, ()), peer)
        else:
            by_network.append((network, peer))
    return by_address, tuple(by_network)


def _matrices(
    manifest: Manifest, arrays: Mapping[str, Mapping[str, memoryview]], index: CodeIndex, vendors: tuple[Peer, ...]
) -> tuple[VendorMatrix, ...]:
    bought = {name: view for filed in manifest.bought for name, view in arrays[filed.file].items()}
    matrices: list[VendorMatrix] = []
    words_of_vendor = -(-len(index.codes) // WORD_BITS)
    first = 0
    for filed in manifest.matrices:
        of_matrix = vendors[first : first + len(filed.parts)]
        decks = manifest.bought_decks[first : first + len(filed.parts)]
        block = arrays[filed.file]
        _check_sizes(filed.file, block, len(index.codes), len(of_matrix), len(filed.parts))
        matrices.append(
            VendorMatrix(
                index=index,
                first=first,
                vendors=of_matrix,
                prices_e8=tuple(bought[f"{deck}.prices_e8"] for deck in decks),
                price_ids=tuple(bought[f"{deck}.price_ids"] for deck in decks),
                words_of_vendor=words_of_vendor,
                first_words=numpy.arange(len(of_matrix), dtype=numpy.int64) * words_of_vendor,
                **{name: block[name] for name in BLOCK_ARRAYS},
            )
        )
        first += len(of_matrix)
    if first != len(vendors):
        raise SnapshotError(f"the matrices have {first} vendors, the configuration {len(vendors)}")
    return tuple(matrices)


def _check_sizes(file: str, block: Mapping[str, memoryview], codes: int, vendors: int, columns: int) -> None:
    cells, words = codes * columns, -(-codes // WORD_BITS) * columns
    wanted = {"cost": cells, "digits": cells, "order": cells, "words": words, "ranks": words}
    found = {name: len(block[name]) if name in block else None for name in wanted}
    if found != wanted or vendors != columns:
        raise SnapshotError(f"{file}: is of {found}, and not of {vendors} vendors for {codes} codes: {wanted}")


def _customer_decks(manifest: Manifest, arrays: Mapping[str, Mapping[str, memoryview]]) -> dict[int, CustomerDeck]:
    sold = {name: view for filed in manifest.sold for name, view in arrays[filed.file].items()}
    return {
        deck_id: CustomerDeck(
            CodeIndex(**{key: sold[f"{deck_id}.1.{key}"] for key in _INDEX}, first=None),
            sold[f"{deck_id}.1.prices_e8"],
            sold[f"{deck_id}.1.price_ids"],
        )
        for deck_id in manifest.sold_decks
    }


def _destination_order(config: Config) -> tuple[NDArray[Any], NDArray[Any]]:
    codes = numpy.array([int(destination.code) for destination in config.destinations], dtype=numpy.int64)
    lengths = numpy.array([len(destination.code) for destination in config.destinations], dtype=numpy.int64)
    return sort_codes(codes, lengths)


def _destinations(config: Config) -> CodeIndex:
    codes, lengths = _destination_order(config)
    return CodeIndex(**{key: array.tolist() for key, array in build_arrays(codes, lengths, with_first=True).items()})


def _destination_values(config: Config) -> list[tuple[int, str]]:
    codes, lengths = _destination_order(config)
    by_code = {destination.code: destination for destination in config.destinations}
    found = [by_code[str(code).zfill(length)] for code, length in zip(codes.tolist(), lengths.tolist(), strict=True)]
    return [(destination.destination_id, destination.kind) for destination in found]
