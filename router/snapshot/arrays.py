"""A file of named arrays, mapped by all routers of a machine: written whole, checked when it is opened, never changed.

The file begins with a mark, the length of its header and the header: where each array lies, how long the file is, and
a checksum of all that follows. Sizes are checked always; the checksum where the caller may wait for it.
"""

import mmap
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy
from numpy.typing import NDArray

from router.snapshot.errors import SnapshotError

_MARK: Final = b"streamco arrays 1\n"
_LENGTH_BYTES: Final = 4
_ALIGNED: Final = 64
_TYPES: Final = {"B": "uint8", "i": "int32", "q": "int64", "I": "uint32", "Q": "uint64"}
_KINDS: Final = {name: kind for kind, name in _TYPES.items()}


class _Place(msgspec.Struct, frozen=True):
    kind: str
    offset: int  # from the first byte behind the header
    count: int


class _Header(msgspec.Struct, frozen=True):
    arrays: dict[str, _Place]
    data_bytes: int
    checksum: int


_DECODER: Final = msgspec.msgpack.Decoder(_Header)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays (of one dimension or more: rows one behind the other) and give the file its name at the end."""
    places: dict[str, _Place] = {}
    parts: list[Any] = []
    at, checksum = 0, 0
    for name, array in arrays.items():
        data: Any = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8).data
        filler = bytes(-len(data) % _ALIGNED)
        places[name] = _Place(_KINDS[array.dtype.name], at, array.size)
        parts += [data, filler]
        at += len(data) + len(filler)
        checksum = zlib.crc32(filler, zlib.crc32(data, checksum))
    header = msgspec.msgpack.encode(_Header(places, at, checksum))
    head = _MARK + len(header).to_bytes(_LENGTH_BYTES, "little") + header
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(head + bytes(-len(head) % _ALIGNED))
        for data in parts:
            file.write(data)
    part.replace(path)


def map_arrays(path: Path, *, checked: bool) -> dict[str, memoryview]:
    """The arrays of a file by name, as memory that is mapped. `checked`: the checksum, too.

    Raises SnapshotError for a file that is not whole, OSError for one that cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header, start = _header(path, file.read(len(_MARK) + _LENGTH_BYTES), file, size)
        mapped = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    data = mapped[start:]
    if checked and zlib.crc32(data) != header.checksum:
        raise SnapshotError(f"{path}: its checksum is not that of its content: the file is damaged")
    return {name: _slice(path, data, name, place) for name, place in header.arrays.items()}


def numpy_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The same for the builder, checksum checked."""
    return {name: numpy.asarray(view) for name, view in map_arrays(path, checked=True).items()}


def _header(path: Path, head: bytes, file: Any, size: int) -> tuple[_Header, int]:
    if not head.startswith(_MARK) or len(head) != len(_MARK) + _LENGTH_BYTES:
        raise SnapshotError(f"{path}: does not begin as a file of arrays of this version does")
    length = int.from_bytes(head[len(_MARK) :], "little")
    try:
        header = _DECODER.decode(file.read(min(length, size)))
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"{path}: its header cannot be read: {error}") from error
    start = -(-(len(head) + length) // _ALIGNED) * _ALIGNED
    if size != start + header.data_bytes:
        raise SnapshotError(f"{path}: has {size} bytes, its header says {start + header.data_bytes}: it is torn")
    return header, start


def _slice(path: Path, data: memoryview, name: str, place: _Place) -> memoryview:
    dtype = _TYPES.get(place.kind)
    end = place.offset + place.count * (numpy.dtype(dtype).itemsize if dtype else 0)
    if dtype is None or place.offset < 0 or place.count < 0 or place.offset % 8 or end > len(data):
        raise SnapshotError(f"{path}: array {name!r} lies outside of the file")
    part: Any = data[place.offset : end]  # its kind is known only here
    view: memoryview = part.cast(place.kind)
    return view
