"""What a node reads of numbers from the wire; tests/contract compares it with a real Asterisk."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.wire_texts import CUT, MOST_BYTES, as_read, encoded


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("999210000010", "999210000010"), ("99921\n1", "99921\n1"), ("999\0001", "999…"), ("\000999", "s…"), ("", "s"),
        ("9" * 78, "9" * 78), ("9" * 79, "9" * 79 + "…"), ("9" * 500, "9" * 79 + "…"), ("%00", "%00"),
    ],
)  # fmt: skip
def test_a_text_is_cut_where_asterisk_cuts_it(text: str, read: str) -> None:
    assert as_read(text, "s") == read


def test_who_sends_no_caller_has_none() -> None:
    assert as_read("") == ""


@given(st.binary(max_size=200))
def test_any_bytes_are_one_encoded_line_that_says_what_was_kept(raw: bytes) -> None:
    line = encoded(as_read(raw.decode(errors="surrogateescape")))
    assert line.isascii()
    assert line.isprintable()
    assert not set(line) & set(' ,|="')
    whole = raw.partition(b"\0")[0]
    cut = CUT.encode() if whole != raw or len(whole) >= MOST_BYTES else b""
    assert unquote_to_bytes(line) == whole[:MOST_BYTES] + cut
