"""A snapshot on disk: one directory a build, and a small file that names the newest. Written whole, then renamed.

Routers of one machine map the same files. A directory is never changed once it is named; old ones are removed when
two newer stand, and a router that still maps one keeps its pages until it lets go.
"""

import ipaddress
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy
from numpy.typing import NDArray

from router.snapshot.code_index import CodeIndex, build_arrays, sort_codes
from router.snapshot.config import CONFIG_DECODER, CONFIG_VERSION, Config, Peer, RouteClass
from router.snapshot.numbers import Numbers, load_numbers
from router.snapshot.prices import SnapshotError

POINTER: Final = "generation"
_KEPT: Final = 2
_INDEX: Final = ("codes", "lengths", "parents", "starts", "owners", "first")


@dataclass(frozen=True, slots=True)
class CustomerDeck:
    """A customer's prices."""

    index: CodeIndex
    prices_e8: Sequence[int]  # -1: blocked
    price_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class VendorMatrix:
    """The vendors' costs: cell (code, vendor) stands at code × vendors + vendor."""

    index: CodeIndex
    vendors: tuple[Peer, ...]
    cost: Sequence[int]
    row: Sequence[int]
    order: bytes | memoryview
    row_price_e8: Sequence[int]
    row_price_id: Sequence[int]
    row_code: Sequence[int]


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a decision reads, as of one generation. `plans` is a cache that routing fills."""

    name: str
    config: Config
    originators: tuple[Peer, ...]
    by_address: Mapping[Address, tuple[Peer, ...]]  # originators of one address each
    by_network: tuple[tuple[Network, Peer], ...]  # the others
    classes: Mapping[int, RouteClass]
    decks: Mapping[int, CustomerDeck]
    matrix: VendorMatrix
    destinations: CodeIndex
    destination_of: Sequence[tuple[int, str]]  # by index of the code: (destination_id, kind)
    plans: dict[tuple[int, int, str], Any]
    numbers: Numbers


def write(
    directory: Path,
    name: str,
    config: Config,
    vendors: Mapping[str, NDArray[Any]],
    decks: Mapping[int, Mapping[str, NDArray[Any]]],
) -> None:
    """Write a snapshot and make it the newest. `vendors` as of vendor_arrays, `decks` as of deck_arrays by deck id."""
    part = directory / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / "config.msgpack").write_bytes(msgspec.msgpack.encode(config))
    for key, array in vendors.items():
        numpy.save(part / f"vendors.{key}.npy", array)
    # All customers' decks one behind the other: a thousand decks are not six thousand files.
    for key in next(iter(decks.values()), {}):
        numpy.save(part / f"decks.{key}.npy", numpy.concatenate([arrays[key] for arrays in decks.values()]))
    sizes = {str(deck_id): (len(arrays["codes"]), len(arrays["starts"])) for deck_id, arrays in decks.items()}
    (part / "decks.json").write_bytes(msgspec.json.encode(sizes))
    part.rename(directory / name)
    pointer = directory / f"{POINTER}.part"
    pointer.write_text(name)
    pointer.replace(directory / POINTER)
    others = [path for path in directory.glob("g*") if path.is_dir() and path.name != name]
    for old in sorted(others, key=lambda path: path.stat().st_mtime_ns)[: 1 - _KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def newest(directory: Path) -> str:
    """The name of the newest snapshot, or an empty text."""
    try:
        return (directory / POINTER).read_text().strip()
    except FileNotFoundError:
        return ""


def load(directory: Path, name: str) -> Snapshot:
    """Map a snapshot. Raises SnapshotError for one of another version, OSError for one that is gone."""
    path = directory / name
    config = CONFIG_DECODER.decode((path / "config.msgpack").read_bytes())
    if config.version != CONFIG_VERSION:
        raise SnapshotError(f"snapshot {name} has version {config.version}: this program reads {CONFIG_VERSION}")
    vendors = tuple(peer for peer in config.peers if not peer.originator)
    originators = tuple(peer for peer in config.peers if peer.originator)
    by_address: dict[Address, tuple[Peer, ...]] = {}
    by_network = []
    for peer in originators:
        network = ipaddress.ip_network(peer.host, strict=False)
        if network.num_addresses == 1:
            by_address[network.network_address] = (*by_address.get(network.network_address, ()), peer)
        else:
            by_network.append((network, peer))
    arrays = {
        key: _map(path / f"vendors.{key}.npy")
        for key in (*_INDEX, "cost", "row", "row_price_e8", "row_price_id", "row_code")
    }
    order = _map(path / "vendors.order.npy")
    return Snapshot(
        name=name,
        config=config,
        originators=originators,
        by_address=by_address,
        by_network=tuple(by_network),
        classes={route_class.route_class_id: route_class for route_class in config.route_classes},
        decks=_load_decks(path),
        matrix=VendorMatrix(
            index=CodeIndex(**{key: arrays.pop(key) for key in _INDEX}), vendors=vendors, order=order, **arrays
        ),
        destinations=_destinations(config),
        destination_of=_destination_values(config),
        plans={},
        numbers=load_numbers(directory, config.numbers),
    )


def _load_decks(path: Path) -> dict[int, CustomerDeck]:
    sizes = msgspec.json.decode((path / "decks.json").read_bytes(), type=dict[str, tuple[int, int]])
    if not sizes:
        return {}
    maps = {key: _map(path / f"decks.{key}.npy") for key in (*_INDEX[:-1], "prices_e8", "price_ids")}
    decks: dict[int, CustomerDeck] = {}
    code, start = 0, 0
    for deck_id, (codes, starts) in sizes.items():
        by_code = slice(code, code + codes)
        by_start = slice(start, start + starts)
        index = CodeIndex(
            codes=maps["codes"][by_code],
            lengths=maps["lengths"][by_code],
            parents=maps["parents"][by_code],
            starts=maps["starts"][by_start],
            owners=maps["owners"][by_start],
            first=None,
        )
        decks[int(deck_id)] = CustomerDeck(index, maps["prices_e8"][by_code], maps["price_ids"][by_code])
        code, start = code + codes, start + starts
    return decks


def _map(path: Path) -> Any:
    try:
        return memoryview(numpy.load(path, mmap_mode="r"))
    except ValueError:  # an empty array cannot be mapped
        return memoryview(numpy.load(path))


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
