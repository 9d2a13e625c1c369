"""How the people and machines of one call will behave: decided beforehand, carried out by the hunt (simulator/hunt.py).

All lengths are milliseconds on the simulator's clock.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

EndedBy = Literal["caller", "callee"]


class CalleePlan(NamedTuple):
    """The called party, whichever vendor reaches it. `answers` False: `sip_code` is its refusal after `wait_ms`."""

    answers: bool
    rings: bool
    wait_ms: int  # ringing before the answer or the refusal
    sip_code: int
    talk_ms: int
    ended_by: EndedBy


class LegPlan(NamedTuple):
    """What one vendor does with one INVITE; `ring_ms`, `progress_ms` and `final_ms` count from the leg's start.

    `has_channel` False: no channel can be made at all. `final_ms` None: no final answer ever comes.
    """

    has_channel: bool = True
    ring_ms: int | None = None  # 180
    progress_ms: int | None = None  # 183
    final_ms: int | None = None
    sip_code: int = 200  # of the final answer
    talk_ms: int = 0  # from the answer to the hang-up
    ended_by: EndedBy = "caller"


@dataclass(frozen=True, slots=True)
class CallIntent:
    """A call that somebody wants to make: what the INVITE says (wire texts, possibly hostile), and how it would go."""

    number: int  # of this run, from 1; the seed of everything random about the call
    node: str
    endpoint: str
    remote_address: str  # ip:port
    callee: str
    caller: str
    patience_ms: int  # the caller cancels when nobody has answered by then, from the call's start
    callee_plan: CalleePlan
