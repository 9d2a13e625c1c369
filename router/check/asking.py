"""A question answered with what is sources just now: one way for the command, the page and the API."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from router.check.answer import Checked, check
from router.check.limits import read_room
from router.check.look_up import LookUps
from router.check.question import Question
from router.check.reach import read_reached
from router.check.saved import Lend
from router.check.snapshots import MomentSnapshots
from router.core import World
from schemas.quality import Quality


class Sources(NamedTuple):
    """Where what is known comes from. `quality`: the vendors' figures of now, None where nobody tells them."""

    snapshots: MomentSnapshots
    look_ups: LookUps
    lend: Lend
    quality: Callable[[], Mapping[str, Quality] | None]
    expected_call_seconds: int


def ask(sources: Sources, question: Question, now_ms: int) -> Checked:
    """The answer, now or at the moment asked. Raises QuestionError, SnapshotAwayError."""
    found = sources.snapshots.at(question.at_ms, now_ms)
    figures = sources.quality() if question.at_ms is None else None
    room = read_room(sources.lend, question)
    reached = read_reached(sources.lend, question)
    return check(
        World(found.snapshot, figures or {}, room.full, closed=room.closed),
        question,
        now_ms if question.at_ms is None else question.at_ms,
        expected_seconds=sources.expected_call_seconds,
        source=found.source,
        quality="unknown" if question.at_ms is not None else "away" if figures is None else "read",
        limits=room.known,
        reached=reached,
        dip=sources.look_ups.ask(found.snapshot, question),
    )
