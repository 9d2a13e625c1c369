"""Makes `.venv` in this clone from requirements.lock: every package at its version, checked by its hash.

Runs on the bare system Python (3.11 or newer; standard library only). uv is taken from the path, else fetched once by
pip into the user's cache. Run again it does nothing unless the lock has changed. Used by the Makefile.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / ".made-from"
UV = "uv>=0.5"
QUIETLY = ("--disable-pip-version-check", "--no-input", "--root-user-action=ignore")


def main() -> None:
    """See the module. Exits with a message when something is missing."""
    if sys.version_info < (3, 11):  # noqa: UP036 - the Makefile may be told another Python
        sys.exit(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]} (set PYTHON=…)")
    if sys.platform not in ("linux", "darwin"):
        sys.exit(f"Linux is needed (macOS works without Asterisk); this is {sys.platform}")
    made_from = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml", "bootstrap.py"):
        made_from.update((ROOT / name).read_bytes())
    # With the place: programs of an environment that was moved or copied still name the old one.
    made_for = f"{sys.version}\n{ROOT}\n"
    wanted = f"{made_for}{made_from.hexdigest()}"
    made = STAMP.read_text() if STAMP.exists() else ""
    if made == wanted:
        return
    begun = time.monotonic()
    uv = find_uv()
    python = VENV / "bin" / "python"
    STAMP.unlink(missing_ok=True)  # until all is done nothing vouches for it
    if not python.exists() or not made.startswith(made_for):
        say("making .venv")
        run(uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(VENV))
    say("installing the locked packages (the first time they are fetched, some 450 MB)")
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV)}
    # Compiled now, once: where PYTHONDONTWRITEBYTECODE is set each process would compile all that it imports, for
    # seconds, at each of its starts.
    run(uv, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode", "requirements.lock",
        environment=environment)  # fmt: skip
    run(uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", ".", environment=environment)
    STAMP.write_text(wanted)
    say(f"the environment is ready after {time.monotonic() - begun:.0f} s")


def find_uv() -> str:
    """uv on the path, in the cache, or fetched into it."""
    if found := shutil.which("uv"):
        return found
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    cache = (base if base.is_absolute() else Path.home() / ".cache") / "streamco" / "uv"
    binary = cache / "bin" / "uv"
    if not binary.exists():
        say("fetching uv by pip")
        have_pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
        if have_pip.returncode == 0:
            run(sys.executable, "-m", "pip", "install", "--quiet", *QUIETLY,
                "--target", str(cache), UV)  # fmt: skip
        else:
            pip_from_venv(cache)
    return str(binary)


def pip_from_venv(cache: Path) -> None:
    """A Python without pip can often still make an environment that has one."""
    trial = cache.with_name("uv-venv")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(trial)], capture_output=True, check=False)
    if made.returncode != 0:
        sys.exit(
            f"{sys.executable} has neither pip nor ensurepip, and uv is not on the path: install one of them "
            "(Debian: apt install python3-venv), or uv"
        )
    run(str(trial / "bin" / "python"), "-m", "pip", "install", "--quiet", *QUIETLY,
        "--target", str(cache), UV)  # fmt: skip
    shutil.rmtree(trial)


def run(*command: str, environment: "dict[str, str] | None" = None) -> None:
    """Run a command in the clone; its failure ends this one."""
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"failed ({done.returncode}): {' '.join(command)}")


def say(text: str) -> None:
    """Progress for the terminal."""
    print(f"set-up: {text}", flush=True)


if __name__ == "__main__":
    main()
