"""The events of journal lines. Asterisk's own lines that make none are left out."""

from collections.abc import Iterable

from schemas.journal import JournalEvent, decode_line


def events_of(lines: Iterable[bytes]) -> list[JournalEvent]:
    """The events of whole lines, in their order. Raises JournalError."""
    return [event for line in lines if (event := decode_line(line)) is not None]
