"""Bodies as they travel: in any number of compressed frames, out as one compressed stream, errors as ClickHouse says.

Pure. A client sends each block of an insert as a compressed frame of its own, so the end of a frame is not the end of
the body; taking it for that would lose rows silently. Everything that grows is bounded by the caller's limit.
"""

import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STATUS: Final = {
    26: 400, 27: 400, 38: 400, 41: 400, 43: 400, 47: 400, 53: 400, 62: 400, 70: 400, 72: 400, 115: 404, 117: 400,
    36: 400, 46: 404, 60: 404, 81: 404, 16: 404, 164: 403, 194: 401, 202: 503, 307: 413, 354: 400, 372: 404,
    373: 423, 394: 499, 396: 413, 497: 403, 516: 403,
}  # fmt: skip
ENCODINGS: Final = ("lz4", "zstd", "gzip", "deflate")
_CODE: Final = re.compile(r"Code: (\d+)")
_OUTPUT_CHUNK: Final = 1 << 20


class EngineError(Exception):
    """What went wrong, in ClickHouse's words: `Code: N. DB::Exception: text. (NAME)`."""

    @property
    def code(self) -> int:
        """ClickHouse's number of the error; 1002 (unknown) when there is none."""
        found = _CODE.search(str(self))
        return int(found[1]) if found else 1002

    @property
    def status(self) -> int:
        """The HTTP status that goes with it."""
        return STATUS.get(self.code, 500)

    @classmethod
    def of(cls, error: BaseException) -> "EngineError":
        """From whatever the engine raised: what it says before the code is its wrapper's."""
        text = str(error).strip()
        at = text.find("Code: ")
        if at < 0:
            return cls(f"Code: 1002. DB::Exception: {type(error).__name__}: {text}. (UNKNOWN_EXCEPTION)")
        return cls(text[at:])


def too_large(limit: int) -> EngineError:
    """The error of a body that passes its bound."""
    return EngineError(f"Code: 307. DB::Exception: the body is larger than {limit} bytes. (TOO_MANY_BYTES)")


def _broken(encoding: str, why: str) -> EngineError:
    return EngineError(f"Code: 354. DB::Exception: the {encoding} body {why}. (CANNOT_DECOMPRESS)")


class _Decoder(Protocol):
    eof: bool
    unused_data: bytes | None

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def _frames(body: bytes, encoding: str, new: Any) -> Iterator[bytes]:
    """Every frame of a body, in pieces of bounded size."""
    rest = body
    while rest:
        decoder: _Decoder = new()
        data = rest
        try:
            while not decoder.eof:
                piece = decoder.decompress(data, _OUTPUT_CHUNK)
                if not piece and not data and not decoder.eof:
                    raise _broken(encoding, "ends within a frame")
                data = b""
                yield piece
        except (RuntimeError, zstd.ZstdError) as error:
            raise _broken(encoding, f"is no {encoding} ({error})") from error
        rest = bytes(decoder.unused_data or b"")


def _deflated(body: bytes, encoding: str, window: int) -> Iterator[bytes]:
    rest = body
    while rest:
        decoder = zlib.decompressobj(window)
        data = rest
        try:
            while not decoder.eof:
                piece = decoder.decompress(data, _OUTPUT_CHUNK)
                if not piece and not decoder.unconsumed_tail and not decoder.eof:
                    raise _broken(encoding, "ends within a frame")
                data = decoder.unconsumed_tail
                yield piece
        except zlib.error as error:
            raise _broken(encoding, f"is no {encoding} ({error})") from error
        rest = decoder.unused_data


def decompressed(body: bytes, encoding: str, limit: int) -> Iterator[bytes]:
    """The body in pieces, all its frames. Raises EngineError where it is broken, unknown or above `limit` bytes."""
    if encoding in ("", "identity"):
        pieces: Iterable[bytes] = (body,)
    elif encoding == "lz4":
        pieces = _frames(body, encoding, lz4.frame.LZ4FrameDecompressor)
    elif encoding == "zstd":
        pieces = _frames(body, encoding, zstd.ZstdDecompressor)
    elif encoding == "gzip":
        pieces = _deflated(body, encoding, 31)
    elif encoding == "deflate":
        pieces = _deflated(body, encoding, 15)
    else:
        raise EngineError(f"Code: 1. DB::Exception: unknown Content-Encoding {encoding[:32]!r}. (UNSUPPORTED_METHOD)")
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            raise too_large(limit)
        if piece:
            yield piece


class Compressor:
    """Makes one compressed stream of pieces. `encoding` is one of ENCODINGS, or empty: then nothing changes."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self._lz4 = lz4.frame.LZ4FrameCompressor() if encoding == "lz4" else None
        self._other: Any = None
        if encoding == "zstd":
            self._other = zstd.ZstdCompressor(level=1)
        elif encoding in ("gzip", "deflate"):
            self._other = zlib.compressobj(1, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
        self._begun = False

    def add(self, piece: bytes) -> bytes:
        """What can be sent when this piece follows."""
        if self._lz4 is not None:
            begin = b"" if self._begun else self._lz4.begin()
            self._begun = True
            return bytes(begin + self._lz4.compress(piece))
        return bytes(self._other.compress(piece)) if self._other is not None else piece

    def end(self) -> bytes:
        """What is left when nothing follows."""
        if self._lz4 is not None:
            begin = b"" if self._begun else self._lz4.begin()
            return bytes(begin + self._lz4.flush())
        return bytes(self._other.flush()) if self._other is not None else b""


def chosen_encoding(accepted: str) -> str:
    """The one of ours that an Accept-Encoding header allows, fastest first; empty when none."""
    names = [one.split(";")[0].strip() for one in accepted.split(",")]
    return next((one for one in ENCODINGS if one in names), "")


def exception_block(error: EngineError, tag: str) -> bytes:
    """An error in the midst of a result that has begun, as ClickHouse marks it; `tag` went ahead in a header."""
    message = f"{error}\n".encode()
    tagged = tag.encode()
    return b"__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (tagged, message, len(message), tagged)
