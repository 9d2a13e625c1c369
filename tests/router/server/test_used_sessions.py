"""Each digest opens one session: in one process, in several, over a restart, and when the file cannot be used."""

import resource
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.server import used_sessions
from router.server.used_sessions import ALONE, GROUPS, MARKS, UsedSessions

DIGESTS = st.lists(st.binary(min_size=20, max_size=20).map(bytes.hex), max_size=50)
TAKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from router.server.used_sessions import UsedSessions
used = UsedSessions(Path(sys.argv[1]))
digests = sys.stdin.readline().split()
print(len([digest for digest in digests if used.take(digest)]))
"""


def test_a_digest_is_new_once_over_restarts_too(tmp_path: Path) -> None:
    path = tmp_path / "router" / "sessions"
    digests = [secrets.token_hex(20) for _ in range(5_000)]
    used = UsedSessions(path)
    assert all(used.take(digest) for digest in digests)
    assert not any(used.take(digest) for digest in digests)
    used.close()
    again = UsedSessions(path)
    assert not any(again.take(digest) for digest in digests)
    again.close()
    assert path.stat().st_size == GROUPS * MARKS * 8
    assert path.stat().st_mode & 0o777 == 0o600


@given(DIGESTS)
def test_it_says_what_a_set_would(digests: list[str]) -> None:
    used, known = UsedSessions(None), set[str]()
    for digest in digests:
        assert used.take(digest) is (digest not in known)
        known.add(digest)


def test_a_group_forgets_its_oldest(tmp_path: Path) -> None:
    used = UsedSessions(tmp_path / "sessions")
    group = "00000000000000ff00000000"  # behind the mark
    digests = [f"{number:016x}{group}" for number in range(1, MARKS + 2)]
    assert all(used.take(digest) for digest in digests)
    assert [used.take(digest) for digest in digests[1:]] == [False] * MARKS
    assert used.take(digests[0])


def test_of_processes_that_ask_at_once_one_is_first(tmp_path: Path) -> None:
    digests = [secrets.token_hex(20) for _ in range(3_000)]
    argv = [sys.executable, "-c", TAKER, str(tmp_path / "sessions")]
    with ThreadPoolExecutor(3) as pool:  # each is given them when it has started
        ask = partial(
            subprocess.run, argv, input=" ".join(digests), capture_output=True, text=True, timeout=60, check=True
        )
        done = [pool.submit(ask) for _ in range(3)]
    assert sum(int(one.result().stdout) for one in done) == len(digests)


def test_without_the_file_each_remembers_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sessions").symlink_to(tmp_path / "elsewhere")  # not ours
    used = UsedSessions(tmp_path / "sessions")
    assert [used.take("ab" * 20), used.take("ab" * 20)] == [True, False]
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.setattr(used_sessions, "ALONE", 2)
    assert [used.take(f"{number:040x}") for number in (1 << 100, 2 << 100, 1 << 100)] == [True, True, False]
    assert ALONE > 2


def test_without_room_for_the_file_calls_go_on(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        used = UsedSessions(tmp_path / "sessions")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [used.take("ff" * 20), used.take("ff" * 20)] == [True, False]


def test_a_mark_is_found_at_its_place_alone(tmp_path: Path) -> None:
    used = UsedSessions(tmp_path / "sessions", shared=False)
    group = "00000000000000ff00000000"
    assert used.take("1111111111112222" + group)
    assert used.take("2222333333333333" + group)  # newest first: 2222333333333333 1111111111112222
    assert used.take("3333333333331111" + group)  # which stands across the two
    assert not used.take("1111111111112222" + group)
