"""What a generation consists of: the files of arrays that it refers to, and what each was made from.

Files are named by what is in them and never changed, so that a generation refers to those of the one before wherever
nothing has changed, and a change of anything but prices is a new small directory.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from router.snapshot.config import Config
from router.snapshot.errors import SnapshotError
from router.snapshot.pieces import decode_config, encode_config

MANIFEST_VERSION: Final = 1
ARRAYS: Final = "arrays"
_POINTER: Final = "generation"
_MANIFEST: Final = "manifest.msgpack"
_CONFIG: Final = "config.msgpack"
_KEPT: Final = 3


class Filed(msgspec.Struct, frozen=True):
    """A file of arrays, and the keys of what is in it: of the columns of a matrix, or of the decks of a volume."""

    file: str
    parts: tuple[str, ...]


class Manifest(msgspec.Struct, frozen=True):
    """The files of a generation. A deck stands in a volume under DECK.ALLOW_FREE; see assemble.py for the keys."""

    version: int
    expected_seconds: int
    codes: Filed
    matrices: tuple[Filed, ...]
    bought: tuple[Filed, ...]  # volumes of vendors' prices
    sold: tuple[Filed, ...]  # volumes of customers' decks
    bought_decks: tuple[str, ...]  # of each vendor, in order
    sold_decks: tuple[int, ...]

    def files(self) -> Iterator[str]:
        """All files that the generation refers to."""
        for filed in (self.codes, *self.matrices, *self.bought, *self.sold):
            yield filed.file


class Pointer(msgspec.Struct, frozen=True):
    """What is published: the generation in force, and the one that follows it at a moment, if it is ready already."""

    name: str = ""
    next_name: str = ""
    next_from_ms: int = 0

    def at(self, now_ms: int) -> str:
        """The name of the generation in force at a moment, or an empty text."""
        return self.next_name if self.next_name and now_ms >= self.next_from_ms else self.name


_DECODER: Final = msgspec.msgpack.Decoder(Manifest)


def read_pointer(directory: Path) -> Pointer:
    """What is published in a directory. Raises SnapshotError for a pointer that cannot be read."""
    try:
        return msgspec.json.decode((directory / _POINTER).read_bytes(), type=Pointer)
    except FileNotFoundError:
        return Pointer()
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"{directory / _POINTER}: {error}") from error


def write_pointer(directory: Path, pointer: Pointer) -> None:
    """Publish: from now on the routers take this."""
    part = directory / f"{_POINTER}.part"
    part.write_bytes(msgspec.json.encode(pointer))
    part.replace(directory / _POINTER)


def write_generation(directory: Path, name: str, config: Config, manifest: Manifest) -> None:
    """Write the small files of a generation; its arrays are there already. It is not published by this."""
    part = directory / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / _CONFIG).write_bytes(encode_config(config))
    (part / _MANIFEST).write_bytes(msgspec.msgpack.encode(manifest))
    shutil.rmtree(directory / name, ignore_errors=True)
    part.rename(directory / name)


def read_manifest(directory: Path, name: str) -> Manifest:
    """The manifest of a generation. Raises SnapshotError for one of another version, OSError for one that is gone."""
    try:
        manifest = _DECODER.decode((directory / name / _MANIFEST).read_bytes())
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"snapshot {name}: {error}") from error
    if manifest.version != MANIFEST_VERSION:
        raise SnapshotError(f"snapshot {name} has version {manifest.version}: this program reads {MANIFEST_VERSION}")
    return manifest


def read_config_of(directory: Path, name: str) -> Config:
    """The configuration of a generation. Raises as read_manifest does."""
    return decode_config((directory / name / _CONFIG).read_bytes())


def generations(directory: Path) -> list[str]:
    """The names of the generations on disk, the oldest first."""
    found = [path for path in directory.glob("g*") if path.is_dir() and path.suffix != ".part"]
    return [path.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))]


def clean_up(directory: Path) -> None:
    """Remove generations that are neither published nor among the last ones, and files that no other refers to.

    A router that still maps a file keeps its pages until it lets go.
    """
    pointer = read_pointer(directory)
    names = generations(directory)
    kept = {*names[-_KEPT:], pointer.name, pointer.next_name} & set(names)
    for name in set(names) - kept:
        shutil.rmtree(directory / name, ignore_errors=True)
    for part in directory.glob("g*.part"):
        shutil.rmtree(part, ignore_errors=True)
    used: set[str] = set()
    for name in kept:
        try:
            used.update(read_manifest(directory, name).files())
        except (SnapshotError, OSError):
            continue  # it cannot be taken anyway
    for path in (directory / ARRAYS).glob("*"):
        if path.name not in used:
            path.unlink(missing_ok=True)
