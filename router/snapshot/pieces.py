"""A configuration as bytes, its long lists in pieces: a router decodes it beside its calls, one piece at a time.

Decoding is one step of C that keeps the interpreter's lock: ten thousand peers at once would hold up every call for
as many milliseconds. Between two pieces the calls have their turn.
"""

import itertools
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
_KINDS: Final = {
    name: kind for name, kind in get_type_hints(Config).items() if getattr(kind, "__origin__", None) in (tuple, dict)
}
_DECODERS: Final = {name: msgspec.msgpack.Decoder(kind) for name, kind in _KINDS.items()}


def encode_config(config: Config) -> bytes:
    """The configuration; see decode_config."""
    long = {name: getattr(config, name) for name in _KINDS}
    short = msgspec.structs.replace(config, **{name: _KINDS[name].__origin__() for name in long})
    pieces = tuple(piece for name, elements in long.items() for piece in _cut(name, elements))
    return msgspec.msgpack.encode(_Whole(config.version, msgspec.msgpack.encode(short), pieces))


def decode_config(data: bytes) -> Config:
    """The configuration again. Raises SnapshotError for one of another version, or none at all."""
    try:
        whole = _WHOLE.decode(data)
        if whole.version != CONFIG_VERSION:
            raise SnapshotError(f"the configuration has version {whole.version}: this program reads {CONFIG_VERSION}")
        found: dict[str, Any] = {name: {} if kind.__origin__ is dict else [] for name, kind in _KINDS.items()}
        for piece in whole.pieces:
            elements = _DECODERS[piece.name].decode(piece.elements)
            if isinstance(elements, dict):
                found[piece.name].update(elements)
            else:
                found[piece.name] += elements
        long = {name: tuple(held) if isinstance(held, list) else held for name, held in found.items()}
        return msgspec.structs.replace(_CONFIG.decode(whole.config), **long)
    except (msgspec.MsgspecError, KeyError) as error:
        raise SnapshotError(f"the configuration cannot be read: {error!r}") from error


def _cut(name: str, elements: tuple[Any, ...] | dict[Any, Any]) -> Iterator[_Piece]:
    several = iter(elements.items() if isinstance(elements, dict) else elements)
    while part := list(itertools.islice(several, _PIECE)):
        yield _Piece(name, msgspec.msgpack.encode(dict(part) if isinstance(elements, dict) else part))
