"""What the tests need beyond the environment: Asterisk with SIPp, Kafka's jars, a Chromium. Run by `make test`.

What cannot be had here is said, not an error: the tests that need it are then skipped by name (with CI=true a skipped
test is a failure). Nothing outside the user's cache is written, but for Debian's own Chromium where root runs this.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from configuration.asterisk.fetch import FetchError
from configuration.asterisk.fetch import installation as asterisk
from streamco.embedded.kafka import fetch_jars
from streamco.embedded.server import ServerError
from streamco.embedded.settings import user_cache_directory

CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NPM_PACKAGE: Final = "@sparticuz/chromium@153.0.0"
_APT_PACKAGES: Final = ("chromium", "fonts-dejavu-core")
_SECONDS: Final = 300


def find_chromium() -> Path | None:
    """A Chromium on the path, or the one in the user's cache."""
    for name in CHROMIUMS:
        if found := shutil.which(name):
            return Path(found)
    cached = user_cache_directory() / "chromium" / "chromium"
    return cached if cached.exists() else None


def get_chromium(say: Callable[[str], None]) -> Path | None:
    """The one that is there; else Debian's, where root may install it; else the one in an npm package; else None."""
    if (found := find_chromium()) is not None:
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing Debian's Chromium")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *_APT_PACKAGES]):
            subprocess.run(["apt-get", "-qq", *command], env=environment, timeout=_SECONDS, check=False)
        if (found := find_chromium()) is not None:
            return found
    return _chromium_from_npm(say)


def _chromium_from_npm(say: Callable[[str], None]) -> Path | None:
    """The package holds the browser compressed by brotli; only its binary is used."""
    if shutil.which("npm") is None:
        return None
    import brotli

    place = user_cache_directory() / "chromium"
    place.mkdir(parents=True, exist_ok=True)
    say(f"fetching the npm package {NPM_PACKAGE}")
    done = subprocess.run(["npm", "pack", "--silent", NPM_PACKAGE], cwd=place, timeout=_SECONDS, check=False)
    packages = sorted(place.glob("*.tgz"))
    if done.returncode != 0 or not packages:
        return None
    with tarfile.open(packages[-1]) as package:
        for name in ("chromium", "swiftshader", "al2023"):
            member = next((m for m in package.getmembers() if m.name.startswith(f"package/bin/{name}.")), None)
            content = package.extractfile(member) if member is not None else None
            if content is None:
                continue
            data = brotli.decompress(content.read())
            if name == "chromium":
                (place / "chromium.part").write_bytes(data)
            else:
                with tarfile.open(fileobj=io.BytesIO(data)) as libraries:
                    libraries.extractall(place, filter="data")
    packages[-1].unlink()
    binary = place / "chromium.part"
    binary.chmod(0o755)
    binary.replace(place / "chromium")
    return place / "chromium"


def main() -> None:
    """Get all of it, saying what is done."""

    def say(text: str) -> None:
        print(f"set-up: {text}", flush=True)

    cache = user_cache_directory()
    try:
        fetch_jars(cache / "kafka", say)
    except ServerError as error:
        sys.exit(f"set-up: {error}")
    try:
        asterisk(cache, say)
    except FetchError as error:
        say(f"tests with a real Asterisk will be skipped: {error}")
    if get_chromium(say) is None:
        say("browser tests will be skipped: no Chromium is here, and none can be had")


if __name__ == "__main__":
    main()
