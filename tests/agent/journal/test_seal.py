"""When a journal's file is rotated and deleted; what is settled; any cut of the journal counts the same."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from crashed_calls import call_id_of, call_lines, crashed_journal
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.journal.count import add, count_lines, hours_of, less
from agent.journal.files import Line, look
from agent.journal.marks import Found, whole_lines
from agent.journal.reading import Settled, digest, read_piece
from agent.journal.rows import Segment, advance
from agent.journal.seal import is_to_delete, is_to_rotate, rotate
from agent.restart.last_heartbeat import LastHeartbeat
from sinks.audit.continuous.fold import Sums

NOW = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
LINES, _ = crashed_journal(7, 40)
OLD_CALL = f"sim1-1795609861-{NOW_MS // 1000 - 90_000}.1"
NEW_CALL = f"sim1-1795609861-{NOW_MS // 1000 - 60}.1"


def found(size: int, age_seconds: float = 0) -> Found:
    return Found("Master.csv.1", 5, size, round((NOW_MS / 1000 - age_seconds) * 1e9))


def sealed(**changes: object) -> Segment:
    values: dict[str, object] = {"posted_at": NOW, "sealed_at": NOW - timedelta(days=1)} | changes
    return Segment("f", "Master.csv.1", 100, "t", **values)  # type: ignore[arg-type]


def up(*calls: str, age_ms: int = 0) -> LastHeartbeat:
    return LastHeartbeat(7, NOW_MS - age_ms, 0, dict.fromkeys(calls))


def test_a_file_goes_only_when_every_reason_to_keep_it_is_gone() -> None:
    file = found(100, age_seconds=86_400)
    assert is_to_delete(sealed(), file, 86_400, up(NEW_CALL), NOW)
    assert not is_to_delete(sealed(posted_at=None), file, 86_400, up(), NOW)
    assert not is_to_delete(sealed(sealed_at=None), file, 86_400, up(), NOW)
    assert not is_to_delete(sealed(), file, 86_401, up(), NOW)
    assert not is_to_delete(sealed(), found(101, 86_400), 86_400, up(), NOW)
    assert not is_to_delete(sealed(), file, 86_400, None, NOW)
    assert not is_to_delete(sealed(), file, 86_400, up(age_ms=60_001), NOW)
    assert not is_to_delete(sealed(), file, 86_400, up(NEW_CALL, OLD_CALL), NOW)


def test_the_live_file_is_rotated_when_it_is_large_or_old() -> None:
    young = Segment("f", "Master.csv", 100, "t", seen_at=NOW - timedelta(seconds=59))
    assert not is_to_rotate(found(99), young, NOW, 100, 60)
    assert is_to_rotate(found(100), young, NOW, 100, 60)
    assert is_to_rotate(found(100), None, NOW, 100, 60)
    assert is_to_rotate(found(99), young, NOW + timedelta(seconds=1), 100, 60)
    assert not is_to_rotate(found(0), young, NOW + timedelta(days=9), 100, 60)


def test_rotation_never_takes_a_name_that_is_there(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        (tmp_path / "Master.csv").write_text(str(len(names)))
        names.append(rotate(tmp_path, 1_795_609_861))
    assert names == [f"Master.csv.20261125T123101Z{end}" for end in ("", "-1", "-2")]
    assert [(tmp_path / name).read_text() for name in names] == ["0", "1", "2"]


def test_only_what_was_there_long_ago_is_settled() -> None:
    settled = Settled(60)
    assert settled.look([found(10)], 0) is None
    assert settled.look([found(20)], 59.9) is None
    assert settled.look([found(30)], 60) == {5: 10}
    assert settled.look([found(40)], 119) == {5: 10}
    assert settled.look([found(50)], 121) == {5: 30}
    assert settled.look([], 500) == {5: 50}


def test_a_digest_is_that_of_the_size_that_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert digest(path, 3).startswith("ba7816bf")
    assert digest(path, 2) == digest(path, 4) == ""


def test_of_a_line_behind_a_torn_one_both_are_counted() -> None:
    begun, *_, ended = call_lines(1, ["answers"])
    raw = b"".join([ended[:60], ended, ended.rstrip(b"\n"), begun, ended[:70], begun])
    counted = count_lines(Line("", 0, one) for one in whole_lines(raw, 1 << 20))
    assert [leg.leg_id for leg in counted.closed] == [f"{call_id_of(1)}/0"] * 2
    assert [line.raw for line in counted.unreadable] == [ended[:60], ended[:70]]


def test_a_call_says_which_legs_there_must_be() -> None:
    lines = [Line("", 0, raw) for raw in (*call_lines(1, ["fails", "answers"]), b"garbage\n")]
    counted = count_lines(lines)
    assert [(leg.leg_id.rpartition("/")[2], leg.closed) for leg in counted.legs] == [
        ("1", True), ("2", True), ("1", False), ("2", False), ("0", True)
    ]  # fmt: skip
    assert {leg.leg_id.rpartition("/")[0] for leg in counted.legs} == {call_id_of(1)}
    assert [line.raw for line in counted.unreadable] == [b"garbage\n"]
    ((hour, sums),) = hours_of(counted.legs).items()
    assert (hour % 3_600_000, sums.legs) == (0, 3)
    assert less(add(sums, Sums(1, 2**63 - 1)), Sums(1, 2**63 - 1)) == sums


@given(st.lists(st.integers(0, sum(map(len, LINES))), max_size=12))
@settings(max_examples=40, deadline=None)
def test_in_any_cuts_a_file_counts_the_same(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    directory = tmp_path_factory.mktemp("journal")
    whole = b"".join(LINES)
    (directory / "Master.csv").write_bytes(whole)
    (file,) = look(directory)
    segments: dict[str, Segment] = {}
    hours: dict[int, Sums] = {}
    for settled in (*sorted(sizes), len(whole)):
        piece = read_piece(directory, file, segments, settled)
        assert piece is not None
        assert not piece.changed
        assert piece.offset <= settled
        counted = count_lines(piece.lines)
        before = segments.get(piece.file) or Segment(piece.file, file.name, 0, piece.tail)
        segments[piece.file] = advance(before, file.name, piece.offset, piece.tail, counted)
        for hour, sums in hours_of(counted.legs).items():
            hours[hour] = add(hours.get(hour, Sums()), sums)
    (segment,) = segments.values()
    expected = count_lines([Line("", 0, raw) for raw in LINES])
    assert (segment.bytes, segment.legs) == (len(whole), len(expected.closed))
    assert hours == hours_of(expected.legs)
    total = Sums()
    for sums in hours.values():
        total = add(total, sums)
    assert (total.legs, total.leg_hash) == (segment.legs, segment.leg_hash)


def test_the_clock_of_settling_is_the_machines_own() -> None:
    settled = Settled(0.05)
    assert settled.look([found(1)]) is None
    time.sleep(0.06)
    assert settled.look([found(2)]) == {5: 1}
