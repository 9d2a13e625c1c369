"""What a process is given on its standard input: whole, once, and nothing of it further on."""

import subprocess
import sys
from pathlib import Path

import pytest

from streamco.embedded.server import ServerError
from streamco.handover import MAX_BYTES, standard_input

ROOT = Path(__file__).resolve().parents[2]
CHILD = (
    "import os, subprocess, sys; from streamco.handover import taken; given = taken(); "
    'sys.stdout.write(f\'{len(given)} {os.readlink("/proc/self/fd/0")} {sorted(os.listdir("/proc/self/fd"))[:3]}\'); '
    "sys.stdout.flush(); subprocess.run(['cat'], timeout=10, check=True)"
)


def run(given: bytes | None) -> subprocess.CompletedProcess[str]:
    with standard_input(given) as stdin:
        return subprocess.run([sys.executable, "-c", CHILD], stdin=stdin, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("length", [0, 1, 70_000, MAX_BYTES])
def test_it_is_read_whole_and_is_gone(length: int) -> None:
    done = run(b"s" * length)
    # `cat`, which inherits the standard input, would have repeated what is left of it.
    assert done.stdout.startswith(f"{length} /dev/null"), done.stderr
    assert "s" * 10 not in done.stdout


def test_nothing_is_given() -> None:
    assert run(None).stdout.startswith("0 /dev/null")


def test_it_is_bounded() -> None:
    with pytest.raises(ServerError, match="must be at most 262144"), standard_input(b"s" * (MAX_BYTES + 1)):
        pass
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input="s" * (MAX_BYTES + 1), cwd=ROOT, capture_output=True, text=True
    )
    assert "more than 262144 bytes" in done.stderr
