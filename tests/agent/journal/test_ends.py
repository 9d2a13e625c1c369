"""Calls' ends, found in the journal's files wherever they lie."""

from pathlib import Path

from agent.journal import ends as journal_ends
from agent.journal.ends import ends_in
from schemas.journal import encode_line

EPOCH = 1_795_609_861


def line(kind: str, call: str) -> bytes:
    return encode_line(kind, "1795609900.140221", {"call": call})


def test_only_the_end_of_a_call_is_its_end(tmp_path: Path) -> None:
    calls = [f"ast1-{EPOCH}-{EPOCH}.{number}" for number in range(6)]
    (tmp_path / "Master.csv.1").write_bytes(line("CALL_END", calls[0]) + line("LEG_RESULT", calls[1]))
    (tmp_path / "Master.csv").write_bytes(
        line("LEG_START", calls[2]) + b"garbage CALL_END\n" + line("CALL_END", calls[3])
    )
    (tmp_path / "agent.json").write_bytes(line("CALL_END", calls[4]))
    assert ends_in(tmp_path, calls, 0) == {calls[0], calls[3]}
    assert ends_in(tmp_path, calls[:3], 0) == {calls[0]}
    assert ends_in(tmp_path, calls, 4_000_000_000) == set()  # nothing was written since
    assert ends_in(tmp_path, calls, 0, limit_bytes=100) is None
    assert ends_in(tmp_path / "none", calls, 0) == set()


def test_an_end_across_two_blocks_is_found(tmp_path: Path, monkeypatch: object) -> None:
    calls = [f"ast1-{EPOCH}-{EPOCH}.{number}" for number in range(400)]
    (tmp_path / "Master.csv").write_bytes(b"".join(line("CALL_END", call) for call in calls))
    was = journal_ends._BLOCK_BYTES
    try:
        for size in (257, 300, 4_096):
            journal_ends._BLOCK_BYTES = size  # type: ignore[misc]
            assert ends_in(tmp_path, calls, 0) == set(calls)
    finally:
        journal_ends._BLOCK_BYTES = was  # type: ignore[misc]
