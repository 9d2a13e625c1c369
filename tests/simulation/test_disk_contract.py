"""The fake disk does what a file system does: the same random steps by the fake modules and by the real ones."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.simulation.disk import Disk, FakeOs

NAMES = ("Master.csv", "Master.csv.1", "Master.csv.2", "state.json", "other")


class Side:
    """A directory by one pair of modules."""

    def __init__(self, system: Any, folder: Any) -> None:
        self.os, self.folder = system, folder
        self.descriptors: list[int] = []

    def told(self, step: Callable[["Side"], Any]) -> Any:
        try:
            return step(self)
        except OSError as error:
            return type(error).__name__

    def seen(self) -> Any:
        """All that is there, and of each open file its content and its names: its inode is nobody else's."""
        with self.os.scandir(self.folder) as entries:
            names = sorted(entry.name for entry in entries)
        inodes = {name: (self.folder / name).stat().st_ino for name in names}
        contents = {name: (self.folder / name).read_bytes() for name in names}
        opened = [
            (self.os.pread(one, 100, 0), self.os.fstat(one).st_size,
             [name for name in names if inodes[name] == self.os.fstat(one).st_ino])
            for one in self.descriptors
        ]  # fmt: skip
        return contents, opened


def _write(side: Side, name: str, content: bytes, flags: int) -> Any:
    descriptor = side.os.open(side.folder / name, side.os.O_WRONLY | flags, 0o600)
    try:
        return side.os.write(descriptor, content)
    finally:
        side.os.fsync(descriptor)
        side.os.close(descriptor)


def _keep_open(side: Side, name: str) -> None:
    if len(side.descriptors) == 3:
        side.os.close(side.descriptors.pop(0))
    side.descriptors.append(side.os.open(side.folder / name, side.os.O_RDONLY | side.os.O_CLOEXEC))


def _lines(side: Side, name: str) -> list[bytes]:
    with (side.folder / name).open("rb") as file:
        return list(file)


def _pieces(side: Side, name: str, size: int) -> list[bytes]:
    with (side.folder / name).open("rb") as file:
        return [file.read(size), file.read(size), file.read()]


def _anew(side: Side, name: str, content: bytes) -> None:
    with (side.folder / name).open("wb") as file:
        file.write(content)
        file.flush()


def _step(dice: random.Random) -> Callable[[Side], Any]:
    name, other, size = dice.choice(NAMES), dice.choice(NAMES), dice.randint(1, 9)
    content = dice.choice((b"line\n", b"torn", b"two\nlines\n", b""))
    return dice.choice(
        (
            lambda side: _write(side, name, content, side.os.O_CREAT | side.os.O_TRUNC),
            lambda side: _anew(side, name, content),
            lambda side: _keep_open(side, name),
            lambda side: side.os.pread(side.descriptors[-1], size, size) if side.descriptors else None,
            lambda side: _lines(side, name),
            lambda side: _pieces(side, name, size),
            lambda side: (side.folder / name).replace(side.folder / other) and None,
            lambda side: (side.folder / name).unlink(missing_ok=size > 7),
            lambda side: (side.folder / name).exists(),
            lambda side: (side.folder / name).read_text(),
            lambda side: (side.folder / name).stat().st_size,
            lambda side: sorted(path.name for path in side.folder.glob("Master.csv*")),
        )
    )


def test_the_fake_disk_does_what_a_disk_does(tmp_path: Path) -> None:
    outcomes: set[str] = set()
    for seed in range(60):
        place = tmp_path / str(seed)
        place.mkdir()
        disk = Disk(lambda: None, lambda: 0)
        real, fake = Side(os, place), Side(FakeOs(lambda disk=disk: disk), disk.path("/journal"))  # type: ignore[misc]
        for side in (real, fake):
            _anew(side, "always", b"")
        dice = random.Random(seed)
        for number in range(60):
            step = _step(dice)
            answers = [side.told(step) for side in (real, fake)]
            assert answers[0] == answers[1], f"program {seed}, step {number}"
            assert real.seen() == fake.seen(), f"program {seed}, step {number}"
            outcomes.add(str(answers[0]))
        for descriptor in real.descriptors:
            os.close(descriptor)
    assert "FileNotFoundError" in outcomes
