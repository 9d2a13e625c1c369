"""A configuration as bytes, its long lists in pieces: a router decodes it beside its calls, one piece at a time.

Decoding is one step of C that keeps the interpreter's lock: ten thousand peers at once would hold up every call for
as many milliseconds. Between two pieces the calls have their turn.
"""

from collections.abc import Iterator
from typing import Any, Final, get_type_hints

import msgspec

from router.snapshot.config import CONFIG_VERSION, Config
from router.snapshot.errors import SnapshotError

_PIECE: Final = 64  # elements: some hundred microseconds at most


class _Piece(msgspec.Struct, frozen=True):
    name: str
    elements: bytes


class _Whole(msgspec.Struct, frozen=True):
    version: int
    config: bytes
    pieces: tuple[_Piece, ...]


_WHOLE: Final = msgspec.msgpack.Decoder(_Whole)
_CONFIG: Final = msgspec.msgpack.Decoder(Config)
_LISTS: Final = {
    name: msgspec.msgpack.Decoder(kind)
    for name, kind in get_type_hints(Config).items()
    if getattr(kind, "__origin__", None) is tuple
}


def encode_config(config: Config) -> bytes:
    """The configuration; see decode_config."""
    long = {name: getattr(config, name) for name in _LISTS}
    short = msgspec.structs.replace(config, **dict.fromkeys(long, ()))
    pieces = tuple(piece for name, elements in long.items() for piece in _cut(name, elements))
    return msgspec.msgpack.encode(_Whole(config.version, msgspec.msgpack.encode(short), pieces))


def decode_config(data: bytes) -> Config:
    """The configuration again. Raises SnapshotError for one of another version, or none at all."""
    try:
        whole = _WHOLE.decode(data)
        if whole.version != CONFIG_VERSION:
            raise SnapshotError(f"the configuration has version {whole.version}: this program reads {CONFIG_VERSION}")
        found: dict[str, list[Any]] = {name: [] for name in _LISTS}
        for piece in whole.pieces:
            found[piece.name] += _LISTS[piece.name].decode(piece.elements)
        lists = {name: tuple(elements) for name, elements in found.items()}
        return msgspec.structs.replace(_CONFIG.decode(whole.config), **lists)
    except (msgspec.MsgspecError, KeyError) as error:
        raise SnapshotError(f"the configuration cannot be read: {error!r}") from error


def _cut(name: str, elements: tuple[Any, ...]) -> Iterator[_Piece]:
    for start in range(0, len(elements), _PIECE):
        yield _Piece(name, msgspec.msgpack.encode(elements[start : start + _PIECE]))
