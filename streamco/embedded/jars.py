"""Fetches Kafka's jars once per user: what the lock names, each checked by its SHA-256 here.

jgo only downloads (its own resolution and checks are not relied on). A jar takes its name in the cache by a rename
after it has been checked; the directory is usable when all are there. Two processes at once: one fetches, one waits.
"""

import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from streamco.embedded.server import Progress, ServerError

LOCK_SECONDS: Final = 300.0
_PARALLEL: Final = 4
_TRIES: Final = 3
_TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True)
class Jar:
    """One line of the lock: `group:artifact:version sha256`."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name in the cache, which is its name everywhere."""
        return f"{self.artifact}-{self.version}.jar"


Download = Callable[[Jar, Path], Path]
"""Fetches a jar somewhere below the directory given and says where it is. Raises anything."""


def read_lock(text: str) -> tuple[Jar, ...]:
    """The jars that a lock file names."""
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return tuple(jars)


def fetch(jars: Sequence[Jar], cache: Path, progress: Progress, download: Download | None = None) -> None:
    """Return when `cache` holds every jar, right to the last bit. Raises ServerError."""
    if not (missing := _missing(jars, cache)):
        return
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "fetching.lock", progress):
        if not (missing := _missing(jars, cache)):
            return
        progress(f"fetching {len(missing)} jars of Apache Kafka (once, into {cache})")
        part = cache / "part"
        shutil.rmtree(part, ignore_errors=True)
        try:
            with ThreadPoolExecutor(_PARALLEL) as pool:
                for _ in pool.map(partial(_fetch_one, cache, part, download or _by_jgo), missing):
                    pass
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _missing(jars: Sequence[Jar], cache: Path) -> list[Jar]:
    return [jar for jar in jars if not (cache / jar.file_name).exists() or _sum(cache / jar.file_name) != jar.sha256]


def _sum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _fetch_one(cache: Path, part: Path, download: Download, jar: Jar) -> None:
    reason = ""
    for attempt in range(_TRIES):
        directory = part / f"{jar.file_name}.{attempt}"
        directory.mkdir(parents=True)
        try:
            got = download(jar, directory)
        except Exception as error:  # whatever a downloader raises has one meaning here: try again, then say so
            reason = f"{type(error).__name__}: {error}"
            continue
        if (found := _sum(got)) == jar.sha256:
            got.replace(cache / jar.file_name)
            return
        reason = f"its SHA-256 is {found}, the lock says {jar.sha256}"
    raise ServerError(
        f"cannot fetch {jar.group}:{jar.artifact}:{jar.version}: {reason}. "
        "Apache Kafka is fetched once from the Maven repository; is this machine online (proxy, certificates)? "
        "Or name a Kafka that runs elsewhere by STREAMCO_KAFKA_BOOTSTRAP"
    )


def _by_jgo(jar: Jar, directory: Path) -> Path:
    from jgo.maven import MavenContext  # slow to import, and needed once per user

    context = MavenContext(repo_cache=directory, local_repos=[], timeout=_TIMEOUT_SECONDS)
    found: Path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    return found


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("a") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServerError(f"another process has held {path} for {LOCK_SECONDS:.0f} s") from None
                if not told:
                    progress("another process is fetching Apache Kafka: waiting for it")
                    told = True
                time.sleep(0.2)
        yield
