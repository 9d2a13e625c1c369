"""Bodies of the ClickHouse front: any frames in, one stream out, broken and too large ones refused."""

import contextlib
import gzip
import random
import sys
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamco.embedded.front.wire import ENCODINGS, Compressor, EngineError, chosen_encoding, decompressed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FRAME: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
LIMIT = 1 << 22
ENCODED = st.sampled_from(ENCODINGS)


@given(ENCODED, st.lists(st.binary(max_size=3000), min_size=1, max_size=6))
def test_all_frames_of_a_body_are_read(encoding: str, pieces: list[bytes]) -> None:
    body = b"".join(map(FRAME[encoding], pieces))
    assert b"".join(decompressed(body, encoding, LIMIT)) == b"".join(pieces)


@given(ENCODED, st.lists(st.binary(max_size=3000), max_size=6))
def test_what_is_compressed_is_one_stream_that_is_read_again(encoding: str, pieces: list[bytes]) -> None:
    compressor = Compressor(encoding)
    body = b"".join(map(compressor.add, pieces)) + compressor.end()
    assert b"".join(decompressed(body, encoding, LIMIT)) == b"".join(pieces)
    if encoding == "lz4":
        assert lz4.frame.decompress(body) == b"".join(pieces)


@given(ENCODED, st.integers(1, 4), st.data())
def test_a_body_that_ends_early_is_an_error(encoding: str, frames: int, data: st.DataObject) -> None:
    whole = FRAME[encoding](random.Random(frames).randbytes(2000))
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(EngineError, match=r"Code: 354\..*CANNOT_DECOMPRESS") as raised:
        list(decompressed(whole * (frames - 1) + whole[:cut], encoding, LIMIT))
    assert (raised.value.code, raised.value.status) == (354, 400)


@given(ENCODED, st.binary(min_size=1, max_size=40))
def test_garbage_is_an_error_or_nothing(encoding: str, garbage: bytes) -> None:
    found = b""
    with contextlib.suppress(EngineError):  # any other exception would be a bug
        found = b"".join(decompressed(garbage, encoding, LIMIT))
    assert len(found) < 100


@pytest.mark.parametrize("encoding", ["", *ENCODINGS])
def test_the_limit_is_exact_and_holds_before_everything_is_unpacked(encoding: str) -> None:
    zeros = bytes(3 << 20)
    body = FRAME[encoding](zeros) if encoding else zeros
    assert sum(map(len, decompressed(body, encoding, 3 << 20))) == 3 << 20
    seen: list[int] = []
    with pytest.raises(EngineError, match=r"Code: 307\..*TOO_MANY_BYTES") as raised:
        seen.extend(map(len, decompressed(body, encoding, (3 << 20) - 1)))
    assert raised.value.status == 413
    assert sum(seen) < 3 << 20


def test_an_unknown_encoding_is_an_error_of_bounded_length() -> None:
    with pytest.raises(EngineError) as raised:
        list(decompressed(b"x", "br" * 1000, LIMIT))
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", ""),
        ("br", ""),
        ("gzip, deflate", "gzip"),
        ("gzip;q=0.5,  zstd", "zstd"),
        ("zstd, lz4", "lz4"),
        ("lz4x", ""),
    ],
)
def test_the_fastest_encoding_that_is_accepted(accepted: str, chosen: str) -> None:
    assert chosen_encoding(accepted) == chosen


def test_errors_keep_the_engines_words_from_the_code_on() -> None:
    error = EngineError.of(RuntimeError("query failed: Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)\n"))
    assert str(error) == "Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)"
    assert (error.code, error.status) == (60, 404)
    other = EngineError.of(KeyError("x"))
    assert (other.code, other.status) == (1002, 500)
    assert "KeyError" in str(other)
