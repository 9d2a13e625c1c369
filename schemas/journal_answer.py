"""Whether a leg was answered, when, and for how long: from the readings of its closing line, complete or not.

An answered leg has `ansms`, its talk by the wall clock; its answer is its end less that. Where the clock was set
meanwhile, the talk is corrected (schemas/clock_steps.py). A leg that Dial calls answered, and that ended before there
was such a length, is answered, never free:

    end=100.500  ansms=1450   status=ANSWER    1,450 ms, answered at 99.050
    end=100.500  ansms=       status=ANSWER    0 ms, answered at 100.500, flagged
    end=100.500  ansms=31450  status=ANSWER    1,450 ms if the clock was set 30 s forwards, answered at 69.050, flagged
    end=100.500  ansms=       status=CANCEL    not answered

Lines of version 1 have more readings, each of which alone shows that there was an answer: `answer` (wall), m1 and m2
(monotonic, at answer and end):

    answer=      end=100.500  m1=50.00  m2=50.40  ansms=          400 ms, answered at 100.100
    answer=      end=100.500  m1=50.00  m2=       ansms=          0 ms, answered at 100.500
    answer=99.0  end=100.500  m1=       m2=       ansms=1450      1,450 ms, answered at 99.000
    answer=99.0  end=100.500  m1=       m2=       ansms=          1,500 ms, answered at 99.000

A call's outbound leg and its inbound leg have the same readings, and get the same answer and duration from them; their
packets, where those were seen, tell them apart (schemas/wire_times.py).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.clock_steps import UNKNOWN, Clock, talk_of
from schemas.journal_fields import MAX_LENGTH_MS, milliseconds, signed_integer

MAX_CLOCK_DISAGREEMENT_MS: Final = 1_000


class Answer(NamedTuple):
    """What a closing line says of the answer. `doubtful`: a reading is missing or absurd, or two clocks disagree.
    `crossed`: a CANCEL crossed the answer, and packets (schemas/wire_times.py) say another thing than Dial's status.
    """

    at_ms: int | None
    duration_ms: int
    asterisk_ms: int | None
    doubtful: bool
    crossed: bool = False


_NONE: Final = Answer(None, 0, None, doubtful=False)


def answer_of(pairs: Mapping[str, str], ended_at_ms: int, clock: Clock = UNKNOWN) -> Answer:
    """The answer of a leg that ended then; `clock`: its node's, where it is known. Raises JournalError."""
    if "m1" in pairs:
        return _of_version_1(pairs, ended_at_ms)
    read_ms = signed_integer(pairs, "ansms") if pairs["ansms"] else 0
    if not read_ms and pairs["status"] != "ANSWER":
        return _NONE
    talk = talk_of(clock, ended_at_ms, read_ms)
    duration_ms = min(talk.length_ms, MAX_LENGTH_MS)
    doubtful = not pairs["ansms"] or not talk.is_sure or abs(read_ms - duration_ms) > MAX_CLOCK_DISAGREEMENT_MS
    at_ms = max(0, ended_at_ms - read_ms)
    asterisk_ms = read_ms if pairs["ansms"] and 0 <= read_ms <= MAX_LENGTH_MS else None
    return Answer(at_ms, duration_ms, asterisk_ms, doubtful)


def _of_version_1(pairs: Mapping[str, str], ended_at_ms: int) -> Answer:
    answer, m1, m2, ansms = pairs["answer"], pairs["m1"], pairs["m2"], pairs["ansms"]
    if not (answer or m1 or ansms or pairs["status"] == "ANSWER"):
        return _NONE
    at_ms = milliseconds(pairs, "answer") if answer else None
    read_ms = signed_integer(pairs, "ansms") if ansms else None  # by the wall clock: it may be anything
    asterisk_ms = read_ms if read_ms is not None and 0 <= read_ms <= MAX_LENGTH_MS else None
    monotonic_ms = milliseconds(pairs, "m2") - milliseconds(pairs, "m1") if m1 and m2 else None
    if monotonic_ms is not None:
        duration_ms = max(0, monotonic_ms)
    elif asterisk_ms is not None:
        duration_ms = asterisk_ms
    else:
        by_wall_ms = 0 if at_ms is None else ended_at_ms - at_ms
        duration_ms = by_wall_ms if 0 <= by_wall_ms <= MAX_LENGTH_MS else 0
    # Where no process could be started, or the answer was cut off, m1 and m2 are the wall clock's, too.
    doubtful = not (answer and m1 and m2) or m1 == answer or duration_ms != monotonic_ms
    if at_ms is None:
        at_ms = max(0, ended_at_ms - duration_ms)
    disagree = read_ms is not None and abs(read_ms - duration_ms) > MAX_CLOCK_DISAGREEMENT_MS
    return Answer(at_ms, duration_ms, asterisk_ms, doubtful or disagree)
