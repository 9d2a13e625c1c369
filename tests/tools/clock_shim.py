"""A clock that can be set under one process: libfaketime from Debian's package, pinned by its hash.

Only the wall clock is shifted, and only of processes that were started with `command` or in `environment`: the
machine's clock and the monotonic one go as they are.
"""

import hashlib
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from configuration.asterisk.fetch import FetchError, archives_of_this_machine

_PACKAGE: Final = "pool/main/f/faketime/libfaketime_0.9.10-2.1_amd64.deb"
_SHA256: Final = "b09481e7690680966005330c3f907bba4b5eefc35e1faaea4783cc55655d1150"
_LIBRARY: Final = "usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
_SECONDS: Final = 20


def shim_library(cache: Path) -> Path:
    """The library: fetched once per user. Raises FetchError."""
    place = cache / f"libfaketime-{_SHA256[:12]}"
    library = place / _LIBRARY
    if library.exists():
        return library
    part = place.with_name(f"{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    package = part / "package.deb"
    package.write_bytes(_download())
    subprocess.run(["dpkg-deb", "-x", str(package), str(part)], check=True, timeout=_SECONDS)
    package.unlink()
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)
    return library


def _download() -> bytes:
    problems = []
    for archive in archives_of_this_machine():
        try:
            address = f"{archive.rstrip('/')}/{_PACKAGE}"  # apt's own sources name it, and the hash decides
            with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # noqa: S310
                package: bytes = answer.read()
        except (urllib.error.URLError, OSError) as error:
            problems.append(f"{archive}: {error}")
            continue
        if hashlib.sha256(package).hexdigest() == _SHA256:
            return package
        problems.append(f"{archive}: another file than the one that is pinned")
    raise FetchError(f"no libfaketime here: {'; '.join(problems) or 'apt names no archive'}")


class Shim:
    """One process' wall clock. `set` moves it, at once."""

    def __init__(self, library: Path, directory: Path) -> None:
        """`directory`: where the offset is told."""
        self._library = library
        self._file = directory / "clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        """So far from the machine's clock."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{seconds:+d}\n")
        part.replace(self._file)

    def command(self, own: list[str]) -> list[str]:
        """The command line of a program that is started by its own loader, with the shim under it."""
        loader, *rest = own
        return ["/usr/bin/env", *(f"{name}={value}" for name, value in self._values().items()),
                loader, "--preload", str(self._library), *rest]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Of a program of this machine's own, which its own loader starts."""
        return {**self._values(), "LD_PRELOAD": str(self._library)}

    def _values(self) -> dict[str, str]:
        return {
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
