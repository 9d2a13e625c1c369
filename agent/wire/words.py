"""What the packets said of the legs that are being sent (wire.json): the same is said of them if they are sent again.

An agent that is killed when Kafka has a batch and it has not yet noted so reads the same lines again, and knows no
packets of them any more. The file holds the words of one batch; there is never more than one on its way.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from agent.journal.files import Line
from agent.wire.legs import tag_of
from runtime.disk import is_full
from schemas.wire_times import WireLeg

log = structlog.get_logger(__name__)
WORDS_NAME: Final = "wire.json"
_decoder: Final = msgspec.json.Decoder(dict[str, WireLeg])


class WireWords:
    """`with_kept`, then `keep`, for each batch before it is sent."""

    def __init__(self, directory: Path) -> None:
        """Reads what is kept. One that cannot be read is none: those legs have their channels' readings."""
        self._path = directory / WORDS_NAME
        try:
            self._kept = _decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            self._kept = {}
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("what packets said of the last batch is not known", error=repr(error)[:300])
            self._kept = {}

    def with_kept(self, lines: list[Line], words: Mapping[Line, WireLeg]) -> dict[Line, WireLeg]:
        """The words of these lines, and for those that have none what was kept of them."""
        kept = {line: word for line in lines if (word := self._kept.get(_key(line))) is not None}
        return {**words, **kept}

    def keep(self, words: Mapping[Line, WireLeg]) -> None:
        """In place of those before. Raises OSError of the disk, unless it is full."""
        if not words:
            return
        self._kept = {_key(line): word for line, word in words.items()}
        part = self._path.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.encode(self._kept))
            part.replace(self._path)
        except OSError as error:
            if not is_full(error):
                raise
            log.warning("what packets said of this batch is not kept: the disk is full", error=str(error))


def _key(line: Line) -> str:
    return tag_of(line.raw).decode("latin-1")
