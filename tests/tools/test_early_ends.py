"""What a session's fixture started ends with the last file that uses it, after what depends on it."""

import os
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parent
CONFTEST = """
from contextlib import contextmanager
import pytest
from ended_early import ended_early

@contextmanager
def started(name):
    print(f"<{name} starts>")
    yield name
    print(f"<{name} ends>")

@pytest.fixture(scope="session")
def early():
    with ended_early("early", started("early")) as value:
        yield value

@pytest.fixture(scope="session")
def plain():
    with started("plain") as value:
        yield value

@pytest.fixture(scope="module")
def called(early):
    with started("called") as value:
        yield value
"""
FIRST = "def test_uses(called, plain): print('<first>')\ndef test_other(): print('<other>')\n"
LAST = "def test_uses(early): print('<last>')\n"


def words(directory: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "early_ends", "-p", "no:cacheprovider", str(directory)],
        env=os.environ | {"PYTHONPATH": str(TOOLS)}, cwd=directory, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [part.partition(">")[0] for part in done.stdout.split("<")[1:]]


def test_it_ends_before_the_files_that_do_not_use_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_a.py").write_text(FIRST)
    (tmp_path / "test_b.py").write_text(LAST)
    (tmp_path / "test_c.py").write_text("def test_without(): print('<without>')\n")
    assert words(tmp_path) == [
        "early starts", "plain starts", "called starts", "first", "other", "called ends", "last", "early ends",
        "without", "plain ends",
    ]  # fmt: skip
