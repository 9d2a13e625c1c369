"""STREAMCO_HOME is its owner's alone: 0700, and nothing in it that others may read, whatever it was before.

What is made later is closed from the first, by `close_new_files`. A folder that is closed closes all that is in it, so
only what is open is gone into: at the first start all of it, at the next ones hardly anything.
"""

import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

from streamco.embedded.server import ServerError

_OTHERS: Final = 0o077
_MODE: Final = 0o700
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Counts(NamedTuple):
    folders: int = 0
    files: int = 0
    left: int = 0  # another user's, which we cannot close

    def __add__(self, other: object) -> "_Counts":
        assert isinstance(other, _Counts)  # noqa: S101 (for the type checker)
        return _Counts(self.folders + other.folders, self.files + other.files, self.left + other.left)


def close_new_files() -> None:
    """From now on this process and those that it starts make files for their own user alone."""
    os.umask(_OTHERS)


def home_user(home: Path) -> int:
    """Whose home it is, and so who runs what is in it: the number of the user."""
    return home.stat().st_uid if home.exists() else os.geteuid()


def require_own(home: Path) -> None:
    """Raise ServerError where the home is another user's: root too would be at the mercy of who may change it."""
    owner = home_user(home)
    if owner != os.geteuid():
        raise ServerError(
            f"STREAMCO_HOME {str(home)!r}: belongs to user {owner}, and this is user {os.geteuid()}: start it as that"
            " user, or chown -R the whole of it"
        )


def close_home(home: Path) -> list[str]:
    """Close the directory and what is open in it. Out: what was done, in words; nothing where it was closed.

    Symbolic links are not followed. Raises OSError where the home itself cannot be closed.
    """
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode != _MODE:
            os.fchmod(descriptor, _MODE)  # first: from here on nobody else gets to what is in it
        counts = _close_below(descriptor)
    finally:
        os.close(descriptor)
    said = []
    if mode & _OTHERS or counts.folders or counts.files:
        said.append(
            f"{home} is closed to other users now: it had mode {mode:04o}, and {counts.folders} folders and"
            f" {counts.files} files in it were open"
        )
    if counts.left:
        said.append(f"{home}: {counts.left} files or folders of another user in it are open, and cannot be closed")
    return said


def _close_below(directory: int) -> _Counts:
    counts = _Counts()
    with os.scandir(directory) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if mode & _OTHERS and (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # others are closed by their folder
                counts += _close(directory, entry.name)
    return counts


def _close(directory: int, name: str) -> _Counts:
    """One file or folder, by its descriptor: what is in its place a moment later is not touched."""
    try:
        descriptor = os.open(name, _OPEN, dir_fd=directory)
    except OSError:
        return _Counts(left=1)
    try:
        mode = os.fstat(descriptor).st_mode
        os.fchmod(descriptor, stat.S_IMODE(mode) & _MODE)
        if stat.S_ISDIR(mode):
            return _close_below(descriptor) + _Counts(folders=1)
    except OSError:
        return _Counts(left=1)
    finally:
        os.close(descriptor)
    return _Counts(files=1)
