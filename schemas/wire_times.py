"""A leg by its packets: they have the last word on whether it was answered, when, and when it ended. Pure.

The dialplan's readings are those of a channel: of a customer's leg, from when Asterisk had read the vendor's 200, not
from when it sent its own; and on a busy machine each waits for a thread. The node agent gets a copy of each SIP message
with the moment at which it came or went (agent/wire/legs.py). A leg's talk is the time from the 200 to its INVITE to
its BYE, each as it passed.

Where CANCEL and 200 cross, only packets show what became of the leg:

    vendor    INVITE →   CANCEL →   ← 200   ACK →   BYE →      answered, though Dial had given it up
    customer  → INVITE   (vendor's 200)   → CANCEL   ← 487     not answered, though its channel was

A caller who does not acknowledge his 200 can be sent no BYE (RFC 3261, 15), whoever has ended the call: his leg ends
with his channel, or with his own BYE before that. He is not billed for time in which nobody was there.

What the packets say is not taken where it is further than `MOST_APART_MS` from the channel's own reading, or where an
answer that would be made, or taken back, is of more than `MOST_CROSSED_MS`: then the channel's word stands.

A vendor is not paid for what comes behind our BYE: where PJSIP itself has ended the leg (its session timer was over),
the channel of one who does not answer it stays for 32 s. A customer who does not answer it pays until then, since the
other side is connected, and paid, as long.
"""

from typing import Final, NamedTuple

from schemas.clock_steps import Clock, talk_of
from schemas.journal_answer import MAX_CLOCK_DISAGREEMENT_MS, Answer
from schemas.journal_fields import MAX_LENGTH_MS

MOST_APART_MS: Final = 2_000
MOST_CROSSED_MS: Final = 2_000


class WireLeg(NamedTuple):
    """What the packets of a leg show, in unix milliseconds of its node's wall clock: the first 200 to its INVITE, and
    the BYE. `is_refused`: its INVITE had a final answer that was no 2xx. `is_unacknowledged`: our 200 to it
    has had no ACK. `is_ended_by_us`: of a vendor's leg, the BYE was ours.
    """

    answered_ms: int | None = None
    ended_ms: int | None = None
    is_refused: bool = False
    is_unacknowledged: bool = False
    is_ended_by_us: bool = False


def by_wire(answer: Answer, wire: WireLeg, ended_at_ms: int, clock: Clock) -> Answer:
    """The answer of a leg whose closing line gives `answer` and that end, corrected by its packets."""
    if wire.answered_ms is None:
        is_crossed = wire.is_refused and answer.at_ms is not None and answer.duration_ms <= MOST_CROSSED_MS
        return Answer(None, 0, None, doubtful=True, crossed=True) if is_crossed else answer
    unseen_end_ms = ended_at_ms if answer.at_ms is not None else wire.answered_ms
    end_ms = unseen_end_ms if wire.ended_ms is None else wire.ended_ms
    if wire.is_unacknowledged:
        end_ms = min(end_ms, unseen_end_ms)
    talk = talk_of(clock, end_ms, end_ms - wire.answered_ms)
    duration_ms = min(talk.length_ms, MAX_LENGTH_MS)
    if answer.at_ms is None:
        if duration_ms > MOST_CROSSED_MS:
            return answer
        return Answer(wire.answered_ms, duration_ms, None, doubtful=True, crossed=True)
    waited_ms = max(0, ended_at_ms - end_ms) if wire.is_ended_by_us else 0  # for the answer to our BYE
    if answer.asterisk_ms is not None and abs(duration_ms + waited_ms - answer.duration_ms) > MOST_APART_MS:
        return answer._replace(doubtful=True)
    disagree = answer.asterisk_ms is None or abs(answer.asterisk_ms - duration_ms) > MAX_CLOCK_DISAGREEMENT_MS
    return Answer(wire.answered_ms, duration_ms, answer.asterisk_ms, doubtful=disagree or not talk.is_sure)
