"""An in-memory disk, as far as the node agents' real code uses one: files with inodes, opened, renamed, replaced.

`FakePath` stands for pathlib.Path, `FakeOs` for the module os. Inodes of removed files are given out again. Every call
is an effect of the running process, so a process can be killed between any two of them.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple


class Stat(NamedTuple):
    """What is known of a file."""

    st_ino: int
    st_size: int
    st_mtime_ns: int

    @property
    def st_mtime(self) -> float:
        """Seconds."""
        return self.st_mtime_ns / 1e9


class File:
    """The bytes of an inode."""

    __slots__ = ("content", "inode", "modified_ns")

    def __init__(self, inode: int, modified_ns: int) -> None:
        self.inode = inode
        self.content = bytearray()
        self.modified_ns = modified_ns

    def stat(self) -> Stat:
        """Its size and times."""
        return Stat(self.inode, len(self.content), self.modified_ns)


class Disk:
    """Files by path. `effect` is called before every access, `now_ns` is the wall clock."""

    def __init__(self, effect: Callable[[], None], now_ns: Callable[[], int]) -> None:
        self.effect = effect
        self.now_ns = now_ns
        self.files: dict[str, File] = {}
        self.opened: dict[int, File] = {}
        self.full_until_writes = 0  # so many writes from now on fail: the disk is full
        self._next_descriptor = 100

    def path(self, text: str) -> "FakePath":
        """A path on this disk."""
        return FakePath(self, text)

    def make(self, path: str) -> File:
        """The file, made if it is not there, with the lowest free inode."""
        file = self.files.get(path)
        if file is None:
            used = {one.inode for one in self.files.values()} | {one.inode for one in self.opened.values()}
            inode = min(set(range(11, 12 + len(used))) - used)
            file = self.files[path] = File(inode, self.now_ns())
        return file

    def append(self, path: str, content: bytes) -> None:
        """Somebody who is no process of the product writes."""
        file = self.make(path)
        file.content += content
        file.modified_ns = self.now_ns()

    def open(self, path: str, flags: int) -> int:
        """A descriptor."""
        if path not in self.files and not flags & os.O_CREAT:
            if any(name.startswith(f"{path}/") for name in self.files):
                return self._descriptor(File(0, 0))
            raise FileNotFoundError(path)
        if flags & os.O_CREAT:
            self.write_allowed()
        file = self.make(path)
        if flags & os.O_TRUNC:
            file.content.clear()
        return self._descriptor(file)

    def write_allowed(self) -> None:
        """Raises OSError while the disk is full."""
        if self.full_until_writes > 0:
            self.full_until_writes -= 1
            raise OSError(28, "No space left on device")

    def rename(self, old: str, new: str) -> None:
        """Atomic, over what was there."""
        self.files[new] = self.files.pop(old)

    def listed(self, folder: str) -> Iterator[tuple[str, File]]:
        """(name, file) of what lies directly in a folder."""
        prefix = f"{folder}/"
        for path in sorted(self.files):
            if path.startswith(prefix) and "/" not in path[len(prefix) :]:
                yield path[len(prefix) :], self.files[path]

    def copied(self) -> None:
        """The whole disk was copied to another: every file has another's inode."""
        files = [self.files[path] for path in sorted(self.files)]
        inodes = [file.inode for file in files]
        for file, inode in zip(files, [*inodes[1:], inodes[0]], strict=True):
            file.inode = inode

    def _descriptor(self, file: File) -> int:
        self._next_descriptor += 1
        self.opened[self._next_descriptor] = file
        return self._next_descriptor


class _Entry(NamedTuple):
    """Of a directory."""

    name: str
    file: File

    def stat(self) -> Stat:
        return self.file.stat()


class _Scan:
    def __init__(self, entries: list[_Entry]) -> None:
        self._entries = entries

    def __enter__(self) -> Iterator[_Entry]:
        return iter(self._entries)

    def __exit__(self, *_: object) -> None:
        return


class FakeOs:
    """The module os, for files. `disk` gives the running world's."""

    O_RDONLY: Final = os.O_RDONLY
    O_WRONLY: Final = os.O_WRONLY
    O_CREAT: Final = os.O_CREAT
    O_TRUNC: Final = os.O_TRUNC
    O_CLOEXEC: Final = os.O_CLOEXEC

    def __init__(self, disk: Callable[[], Disk]) -> None:
        self._disk = disk

    def _use(self) -> Disk:
        disk = self._disk()
        disk.effect()
        return disk

    def scandir(self, path: "FakePath") -> _Scan:
        """See os."""
        disk = self._use()
        entries = [_Entry(name, file) for name, file in disk.listed(path.text)]
        if not entries:
            raise FileNotFoundError(path.text)
        return _Scan(entries)

    def open(self, path: "FakePath", flags: int, mode: int = 0) -> int:
        """See os."""
        return self._use().open(path.text, flags)

    def fdopen(self, descriptor: int, _mode: str) -> "FakeFile":
        """See os. No effect that others see."""
        return FakeFile(self._disk(), descriptor)

    def close(self, descriptor: int) -> None:
        """See os. No effect that others see."""
        self._disk().opened.pop(descriptor)

    def fstat(self, descriptor: int) -> Stat:
        """See os."""
        return self._disk().opened[descriptor].stat()

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        """See os."""
        return bytes(self._use().opened[descriptor].content[offset : offset + length])

    def write(self, descriptor: int, content: bytes) -> int:
        """See os."""
        disk = self._use()
        disk.write_allowed()
        file = disk.opened[descriptor]
        file.content += content
        file.modified_ns = disk.now_ns()
        return len(content)

    def fsync(self, descriptor: int) -> None:
        """See os: here everything is on the disk at once."""
        self._use()


class FakeFile:
    """What FakePath.open gives: read whole or line by line, or written anew."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self._offset = 0

    def __enter__(self) -> "FakeFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.opened.pop(self._descriptor)

    def fileno(self) -> int:
        """Its descriptor."""
        return self._descriptor

    def read(self, length: int = -1) -> bytes:
        """The next bytes."""
        self._disk.effect()
        content = self._disk.opened[self._descriptor].content
        end = len(content) if length < 0 else self._offset + length
        piece = bytes(content[self._offset : end])
        self._offset += len(piece)
        return piece

    def write(self, content: bytes) -> int:
        """Append."""
        self._disk.effect()
        self._disk.write_allowed()
        self._disk.opened[self._descriptor].content += content
        return len(content)

    def flush(self) -> None:
        """Nothing is kept back."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read().splitlines(keepends=True))


class FakePath:
    """A path on the fake disk, as far as the product uses pathlib."""

    __slots__ = ("disk", "text")

    def __init__(self, disk: Disk, text: str) -> None:
        self.disk = disk
        self.text = text

    def __truediv__(self, name: str) -> "FakePath":
        return FakePath(self.disk, f"{self.text}/{name}")

    def __str__(self) -> str:
        return self.text

    def __lt__(self, other: "FakePath") -> bool:
        return self.text < other.text

    @property
    def name(self) -> str:
        """The last part."""
        return self.text.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.name.rpartition(".")[0] or self.name

    def with_name(self, name: str) -> "FakePath":
        """Beside it."""
        return FakePath(self.disk, f"{self.text.rpartition('/')[0]}/{name}")

    def with_suffix(self, suffix: str) -> "FakePath":
        """With another ending."""
        return self.with_name(f"{self.stem}{suffix}")

    def mkdir(self, **_: Any) -> None:
        """Directories are there when something lies in them."""

    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.text in self.disk.files

    def stat(self) -> Stat:
        """Its inode, size and times."""
        return self._file().stat()

    def read_bytes(self) -> bytes:
        """All of it."""
        self.disk.effect()
        return bytes(self._file().content)

    def read_text(self) -> str:
        """All of it, as text."""
        return self.read_bytes().decode()

    def open(self, mode: str = "rb") -> FakeFile:
        """For reading whole, or for writing anew."""
        self.disk.effect()
        flags = os.O_CREAT | os.O_TRUNC if "w" in mode else os.O_RDONLY
        return FakeFile(self.disk, self.disk.open(self.text, flags))

    def replace(self, target: "FakePath") -> None:
        """Rename over it."""
        self.disk.effect()
        self._file()
        self.disk.rename(self.text, target.text)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove."""
        self.disk.effect()
        if not missing_ok:
            self._file()
        self.disk.files.pop(self.text, None)

    def glob(self, pattern: str) -> list["FakePath"]:
        """Files of this folder that begin like the pattern before its first star or bracket, and end as it does."""
        begin, end = pattern.split("*", 1)[0].split("[", 1)[0], pattern.rpartition("*")[2]
        return [self / name for name, _ in self.disk.listed(self.text) if name.startswith(begin) and name.endswith(end)]

    def _file(self) -> File:
        if self.text not in self.disk.files:
            raise FileNotFoundError(self.text)
        return self.disk.files[self.text]
