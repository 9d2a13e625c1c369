"""Asterisk and SIPp from Debian's packages, without root and without touching the system: fetched once per user.

A private apt state in the cache, the packages unpacked beside it, and the programs run by their own loader with their
own libraries. The archives asked are those that this machine's own apt sources name; what they serve is checked by
Debian's key, as apt does. Only a Debian-family system on amd64 has what this needs; `why_not` says so elsewhere.
"""

import fcntl
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SUITE: Final = "sid"
PACKAGES: Final = ("asterisk", "asterisk-modules", "sip-tester")
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FETCH_SECONDS: Final = 300
# Libraries of modules that modules.conf does not load: told to the private apt as installed already.
_LEFT_OUT: Final = tuple(
    """libcodec2-1.2 libsnmp45 libjack-jackd2-0 libportaudio2 libsybdb5 libneon27t64 libiksemel3 libgmime-3.0-0t64
    libical3t64 libradcli4 liblua5.1-0 libspandsp2t64 libvo-amrwbenc0 libopencore-amrnb0 libopencore-amrwb0
    libopusenc0 libopusfile0 libopus0 libvorbis0a libvorbisenc2 libvorbisfile3 libogg0 libcurl4t64 libunbound8
    adduser passwd openssl-provider-legacy tzdata debconf perl-base dpkg tar asterisk-core-sounds-en
    asterisk-config-custom libldap-common libldap2""".split()  # noqa: SIM905 - a list this long reads better so
)
_UNUSED: Final = ("doc", "man", "locale", "perl", "snmp", "lintian", "bash-completion")
_STAMP: Final = f"{SUITE} {' '.join(PACKAGES)} 1\n"
_RELEASE: Final = re.compile(r"^'(.+)/dists/([^']+)/InRelease'", re.MULTILINE)


class FetchError(Exception):
    """Asterisk cannot be had here. The text is for the user."""


@dataclass(frozen=True)
class Installation:
    """Where the programs are. `run(name)`: the beginning of a command line."""

    root: Path

    @property
    def libraries(self) -> Path:
        """The shared libraries that the programs were built with."""
        return self.root / "usr/lib/x86_64-linux-gnu"

    @property
    def modules(self) -> Path:
        """Asterisk's modules."""
        return self.libraries / "asterisk/modules"

    @property
    def data(self) -> Path:
        """Asterisk's own data."""
        return self.root / "usr/share/asterisk"

    def command(self, name: str) -> list[str]:
        """How `asterisk` or `sipp` is started: by its own loader, with its own libraries, unless it is the system's."""
        binary = self.root / ("usr/sbin" if name == "asterisk" else "usr/bin") / name
        if self.root == Path("/"):
            return [str(binary)]
        loader = self.root / "usr/lib64/ld-linux-x86-64.so.2"
        return [str(loader), "--argv0", name, "--library-path", str(self.libraries), str(binary)]


def why_not() -> str | None:
    """Why no Asterisk can be fetched or found here; None when it can."""
    if _system() is not None:
        return None
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"it comes as Debian's packages for Linux on amd64; this is {platform.system()} on {platform.machine()}"
    missing = [name for name in ("apt-get", "dpkg", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        return f"it comes as Debian's packages; this system has no {', '.join(missing)}"
    if not KEYRING.exists():
        return f"Debian's packages cannot be checked here: there is no {KEYRING}"
    return None


def installation(cache: Path, progress: Callable[[str], None] = lambda _: None) -> Installation:
    """Asterisk and SIPp: fetched before, or the system's own, or fetched now (12 s, 100 MB). Raises FetchError."""
    place = cache / "asterisk"
    if _fetched(place):
        return Installation(place / "root")
    if (system := _system()) is not None:
        return system
    if (reason := why_not()) is not None:
        raise FetchError(f"no Asterisk here: {reason}")
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        if not _fetched(place):
            progress(f"fetching Asterisk and SIPp (once, into {place})")
            _fetch(place)
    return Installation(place / "root")


def _fetched(place: Path) -> bool:
    stamp = place / "complete"
    return stamp.exists() and stamp.read_text() == _STAMP


def _system() -> Installation | None:
    """The machine's own, where both programs are installed."""
    ours = Installation(Path("/"))
    there = Path("/usr/sbin/asterisk").exists() and Path("/usr/bin/sipp").exists() and ours.modules.exists()
    return ours if there else None


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    with (place / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(place: Path) -> None:
    state, root = place / "apt", place / "root"
    for path in (state, root):
        shutil.rmtree(path, ignore_errors=True)
    for path in (state / "lists/partial", state / "cache/archives/partial", root):
        path.mkdir(parents=True)
    (state / "status").write_text("".join(map(_installed, _LEFT_OUT)))
    (state / "apt.conf").write_text(_apt_conf(state))
    _update(state)
    _run(["apt-get", "-qq", "-c", str(state / "apt.conf"), "install", "-y", "--download-only", *PACKAGES])
    for package in sorted((state / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)])
    for name in _UNUSED:
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    shutil.rmtree(state)
    _run([*Installation(root).command("asterisk"), "-V"])
    (place / "complete").write_text(_STAMP)


def _installed(package: str) -> str:
    return (
        f"Package: {package}\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 99:99\n\n"
    )


def _apt_conf(state: Path) -> str:
    """Given by -c, since only there #clear empties the system's own hooks (some delete the system's downloads)."""
    return f"""Dir::State "{state}"; Dir::State::lists "{state}/lists"; Dir::State::status "{state}/status";
Dir::Cache "{state}/cache"; Dir::Etc::sourcelist "{state}/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "false"; APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "3";
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def _update(state: Path) -> None:
    """Take the first archive of this machine's own that has the suite, signed with Debian's key."""
    archives = archives_of_this_machine()
    problems = []
    for archive in archives:
        line = f"deb [signed-by={KEYRING} target=Packages] {archive} {SUITE} main\n"
        (state / "sources.list").write_text(line)
        options = ["-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20", "-o", "Acquire::Retries=1"]
        strict = ["-o", "APT::Update::Error-Mode=any"]
        try:
            return _run(["apt-get", "-qq", "-c", str(state / "apt.conf"), *options, *strict, "update"])
        except FetchError as error:
            problems.append(str(error))
    raise FetchError(
        f"none of the {len(archives)} archives that this machine's apt sources name has Debian's suite {SUITE}: "
        + "; ".join(problems)[-1000:]
    )


def archives_of_this_machine() -> list[str]:
    """The addresses that apt's sources name. Needs neither lists nor root; with -qq apt would print nothing."""
    done = subprocess.run(
        ["apt-get", "-o", "quiet=0", "--print-uris", "update"],
        capture_output=True, text=True, timeout=60, env=_environment(), check=False,
    )  # fmt: skip
    found = [match[1] for match in _RELEASE.finditer(done.stdout) if not match[2].endswith(("-security", "/updates"))]
    return list(dict.fromkeys(found))


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, env=_environment(), check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise FetchError(f"{' '.join(command[:1] + command[-2:])}: {(done.stderr or done.stdout).strip()[-800:]}")
