"""What packets said of a batch is said again by the next agent."""

from pathlib import Path

import pytest

from agent.journal.files import Line
from agent.wire.words import WORDS_NAME, WireWords
from schemas.journal import encode_line
from schemas.wire_times import WireLeg


def line(tag: str) -> Line:
    return Line("head", 0, encode_line("CALL_END", "1796000000.0", {"call": "ast1-1-1.1", "sid": f"abc@{tag}"}))


def test_the_next_agent_says_the_same(tmp_path: Path) -> None:
    words = {line("a"): WireLeg(1, 2), line("b%FF"): WireLeg(is_refused=True)}
    WireWords(tmp_path).keep(words)
    again = WireWords(tmp_path)
    assert again.with_kept([line("b%FF"), line("a"), line("c")], {}) == words
    later = {line("c"): WireLeg(5)}
    assert again.with_kept([line("c")], later) == later
    again.keep(later)
    again.keep({})
    assert WireWords(tmp_path).with_kept([line("a"), line("c")], {}) == later


def test_what_was_sent_once_stands_against_what_is_seen_later(tmp_path: Path) -> None:
    words = WireWords(tmp_path)
    words.keep({line("a"): WireLeg(1)})  # its BYE was awaited and did not come in time
    assert words.with_kept([line("a")], {line("a"): WireLeg(1, 2)}) == {line("a"): WireLeg(1)}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / WORDS_NAME).write_bytes(content)
    assert WireWords(tmp_path).with_kept([line("a")], {}) == {}
