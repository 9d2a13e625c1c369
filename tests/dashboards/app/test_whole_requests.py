"""When a request is whole: at its last byte, in whatever pieces it comes; nothing that comes is kept without bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.app.whole_requests import MAX_BODY_BYTES, MAX_HEAD_BYTES, Coming

HEAD = b"POST /login HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    HEAD + b"Content-Length: 0\r\n\r\n",
    HEAD + b"content-LENGTH:\t7 \r\n\r\nlogin=a",
    CHUNKED + b"0\r\n\r\n",
    CHUNKED + b"5\r\n\r\n0\r\n\r\n1A ; x=y\r\n" + b"0\r\n\r\n" * 5 + b"a" + b"\r\n0\r\nTrailer: 1\r\n\r\n",
    HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n000\r\n\r\n",
]
# The parser refuses these by their heads: no byte more is waited for.
REFUSED_BY_THE_HEAD = [
    HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    HEAD + b"Content-Length: +5\r\n\r\n",
    HEAD + b"Content-Length: 5, 5\r\n\r\n",
    HEAD + b"Content-Length : 5\r\n\r\n",
    HEAD + b"Transfer-Encoding: nonsense\r\n\r\n",
    b"\r\n\r\nnonsense\r\n\r\n",
]


@given(st.sampled_from(WHOLE), st.lists(st.integers(1, 120), max_size=8), st.booleans())
def test_it_is_whole_at_its_last_byte(request: bytes, cuts: list[int], empty_line: bool) -> None:
    coming, sent = Coming(), (b"\r\n" if empty_line else b"") + request
    places = sorted({cut for cut in cuts if cut < len(sent)})
    for begin, end in zip([0, *places], [*places, len(sent)], strict=True):
        state = coming.add(sent[begin:end])
        assert state == ("whole" if end == len(sent) else "more")
    assert coming.data == request


@pytest.mark.parametrize("request_", WHOLE)
def test_what_comes_behind_it_is_kept_for_the_next(request_: bytes) -> None:
    coming = Coming()
    assert coming.add(request_ + b"GET /next") == "whole"
    assert coming.data == request_ + b"GET /next"


@pytest.mark.parametrize("head", REFUSED_BY_THE_HEAD)
def test_what_the_parser_will_refuse_is_not_waited_for(head: bytes) -> None:
    assert Coming().add(head) == "whole"


@pytest.mark.parametrize("line", [b"-5", b"0x1", b"", b" ", b"1_0", b"999999999", b"g"])
def test_a_chunk_that_is_none_is_the_parsers_to_refuse(line: bytes) -> None:
    assert Coming().add(CHUNKED + line + b"\r\n") == "whole"


def test_sizes_are_bounded() -> None:
    assert Coming().add(HEAD + b"Content-Length: %d\r\n\r\n" % MAX_BODY_BYTES) == "more"
    for length in (b"%d" % (MAX_BODY_BYTES + 1), b"9" * 400):
        assert Coming().add(HEAD + b"Content-Length: " + length + b"\r\n\r\n") == "body too large"
    for endless, said in ((HEAD + b"X: ", "head too large"), (CHUNKED + b"0\r\nX: ", "head too large")):
        coming, states = Coming(), set()
        coming.add(endless)
        while states <= {"more"}:
            states.add(coming.add(b"x" * 10_000))
        assert (states, len(coming.data) < 2 * MAX_HEAD_BYTES) == ({"more", said}, True)
    assert Coming().add(CHUNKED + b"1" * 2_000) == "body too large"
    coming, state = Coming(), "more"
    while state == "more":
        state = coming.add(CHUNKED if not coming.data else b"1\r\na\r\n" * 10_000)
        assert len(coming.data) < 10 << 20
    assert state == "body too large"
    assert Coming().add(b"x" * (MAX_HEAD_BYTES + 1)) == "head too large"


@given(st.lists(st.binary(max_size=60) | st.sampled_from([HEAD, CHUNKED, b"\r\n", b"\r\n\r\n", b"5\r\n", b"0\r\n"])))
def test_any_bytes_have_a_state(pieces: list[bytes]) -> None:
    coming = Coming()
    for piece in pieces:
        if coming.add(piece) != "more":
            break


def test_who_waits_to_be_told_to_go_on_is_seen() -> None:
    coming = Coming()
    assert coming.add(HEAD + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n") == "more"
    assert coming.expects
