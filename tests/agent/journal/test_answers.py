"""Calls that were answered by Asterisk's own lines, against a slow oracle that sees the whole journal at once."""

import random
from pathlib import Path

import pytest
from crashed_calls import NEW, OLD, call_id_of, call_lines
from hypothesis import given
from hypothesis import strategies as st

from agent.journal import answers as journal_answers
from agent.journal.answers import Sign, counted_signs, follow
from agent.journal.count import count_lines
from agent.journal.files import Line
from schemas.journal import encode_line
from sinks.audit.full.journals import read_all


def story(number: int, kind: str) -> list[bytes]:
    """A call's lines: whole, still up, closed as not answered, not closed at all, or refused by everybody."""
    lines = call_lines(number, ["fails"] if kind == "failed" else ["fails", "answers"])
    if kind == "not answered":
        lines[-1] = lines[-1].replace(b"|ansms=30000|status=ANSWER", b"|ansms=|status=CANCEL")
    if kind in ("up", "not closed"):
        del lines[-1]
    hung_up = encode_line("HANGUP", "1795609999.000000", {"call": call_id_of(number)})
    return lines if kind == "up" else [*lines, hung_up]


KINDS = ("whole", "up", "not answered", "not closed", "failed")


@given(st.lists(st.sampled_from(KINDS), max_size=8), st.randoms(), st.integers(1, 7))
def test_the_lost_are_those_that_the_whole_audit_names_however_the_journal_is_cut(
    kinds: list[str], chosen: random.Random, cuts: int
) -> None:
    stories = [story(number, kind) for number, kind in enumerate(kinds)]
    mixed = []
    while any(stories):
        mixed.append(chosen.choice([one for one in stories if one]).pop(0))
    up: dict[str, bool] = {}
    lost: list[str] = []
    step = max(1, len(mixed) // cuts)
    for at in range(0, len(mixed), step):
        counted = count_lines(Line("", 0, raw) for raw in mixed[at : at + step])
        assert counted.unreadable == []
        up, more = follow(up, counted.signs)
        lost += more
    assert sorted(lost) == sorted(
        call_id_of(number) for number, kind in enumerate(kinds) if kind in ("not answered", "not closed")
    )
    assert up == {call_id_of(number): False for number, kind in enumerate(kinds) if kind == "up"}


def test_an_agent_that_starts_knows_the_calls_that_are_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = b"".join(b"".join(story(number, kind)) for number, kind in enumerate(KINDS))
    second = b"".join(story(10, "not closed")[:-1])
    (tmp_path / "Master.csv.1").write_bytes(first)
    (tmp_path / "Master.csv").write_bytes(second + b"".join(story(11, "up")))
    counted = [("Master.csv.1", len(first)), ("gone", 5), ("Master.csv", len(second))]
    monkeypatch.setattr(journal_answers, "_BLOCK_BYTES", 700)
    up, lost = follow({}, counted_signs(tmp_path, counted))
    assert up == {call_id_of(1): False, call_id_of(10): False}
    assert lost == [call_id_of(2), call_id_of(3)]
    assert read_all({"sim1": tmp_path}).not_in_books == [
        (call_id_of(2), "closed as not answered"), (call_id_of(3), "no line closes it"),
    ]  # fmt: skip
    monkeypatch.setattr(journal_answers, "LIMIT_BYTES", len(second))
    assert follow({}, counted_signs(tmp_path, counted))[0] == {call_id_of(10): False}


def test_calls_of_a_start_that_is_over_are_followed_no_longer() -> None:
    old, new = call_id_of(1, OLD), call_id_of(2, NEW)
    assert follow({old: False}, [Sign("answer", new)]) == ({new: False}, [])
    assert follow({}, [Sign("hangup", old)]) == ({}, [])
