"""What a session's fixture started, and may end before the session does (early_ends.py ends it)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Final, TypeVar

T = TypeVar("T")
STARTED: Final[dict[str, ExitStack]] = {}  # by the fixture's name


@contextmanager
def ended_early(fixture: str, started: AbstractContextManager[T]) -> Iterator[T]:
    """What the fixture of this name started: ended with the last file that uses it, at the latest with the block."""
    with ExitStack() as stack:
        value = stack.enter_context(started)
        STARTED[fixture] = stack
        try:
            yield value
        finally:
            STARTED.pop(fixture, None)
