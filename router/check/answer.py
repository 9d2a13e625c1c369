"""The core's decision on a question, as the event that a real call would leave behind. Pure in itself."""

from typing import Literal

import msgspec

from router.check.limits import Known
from router.check.question import Question, asked_peer, request_of
from router.check.reach import NOT_KNOWN, Reached
from router.core import Decision, Request, World, decide, lookup_of
from router.core.portability import Dip, Outcome
from router.server.answer import Answer, Attempt, explained_call
from router.server.vendor_reach import VendorReach
from router.snapshot.store import Snapshot
from schemas.events import ExplainedCall

_NO_CALL = "check-0000000000-0000000000.0"  # of the form that the event's maker wants; taken out again


Source = Literal["live", "built"]


class NumberStep(msgspec.Struct, frozen=True):
    """One step from the number as dialled to the number as billed: what was done, and what came of it."""

    what: str
    number: str


class LookedUp(msgspec.Struct, frozen=True, kw_only=True):
    """The look-up that a call would ask before it is decided, and what came of it.

    `not asked`: it was not to be asked here. `given`: the question's routing number stood for it. `cached`: the answer
    was kept from before. `micros`: how long it took.
    """

    lookup: str
    number: str
    outcome: Outcome | Literal["not asked", "given"]
    routing_number: str = ""
    cached: bool = False
    micros: int = 0


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `decision` is what a real call's event would be, of no call: its ids are empty.

    `source`: `live`, the snapshot that this machine's routers use; `built`, one made for the moment asked, with the
    prices of that moment and everything else as it is configured now. `identified`: the originator that the address
    and the number really lead to, which is not the one asked where another fits better. `quality`: `read`, as the
    routers know it now; `away`, it could not be read; `unknown`, of another moment than now nobody knows it. Without it
    every vendor is neutral. `limits`, those without room on the node asked of, in the same words, and `reach`, the
    vendors that do not answer it; `vendors` is what is known of the candidates, of all nodes where none is asked of.
    `looked_up` is empty where this call would ask no look-up.
    """

    peer: str
    identified: str
    at_ms: int
    source: Source
    snapshot_taken_at_ms: int
    quality: Known
    limits: Known
    looked_up: LookedUp | None
    steps: tuple[NumberStep, ...]
    decision: ExplainedCall
    reach: Known = "unknown"
    vendors: tuple[VendorReach, ...] = ()


def check(
    world: World,
    question: Question,
    now_ms: int,
    *,
    expected_seconds: int,
    source: Source,
    quality: Known,
    limits: Known,
    reached: Reached = NOT_KNOWN,
    dip: Dip | None = None,
) -> Checked:
    """The answer at `now_ms`, by the very core that routes calls. Raises QuestionError. `dip` is of the look-up."""
    world = world._replace(unreachable=reached.unreachable)
    peer = asked_peer(world.snapshot, question)
    request = request_of(peer, question)
    request = request._replace(dip=dip) if dip is not None else request
    decision = decide(world, request, now_ms, expected_seconds=expected_seconds)
    longest_ms = decision.peer.max_call_seconds * 1000 if decision.peer and decision.refusal is None else 0
    event = explained_call(Answer(decision, decision.refusal, longest_ms, 0), Attempt(_NO_CALL, now_ms, now_ms, 0))
    considered = {one.vendor for one in event.candidates}
    return Checked(
        peer=peer.name,
        identified=decision.peer.name if decision.peer else "",
        at_ms=now_ms,
        source=source,
        quality=quality,
        limits=limits,
        reach=reached.known,
        vendors=tuple(one for one in reached.vendors if one.vendor in considered),
        looked_up=looked_up(world.snapshot, request, dip),
        snapshot_taken_at_ms=world.snapshot.config.taken_at_ms,
        steps=number_steps(question, decision),
        decision=msgspec.structs.replace(event, event_id="", call_id="", node=question.node),
    )


def looked_up(snapshot: Snapshot, request: Request, dip: Dip | None) -> LookedUp | None:
    """What is said of the call's look-up."""
    if dip is not None:
        return LookedUp(**dip._asdict())
    wanted = lookup_of(snapshot, request)
    if wanted is None:
        return None
    lookup, number = wanted
    given = request.dip.routing_number if request.dip is not None else ""
    return LookedUp(lookup=lookup.name, number=number, outcome="given" if given else "not asked", routing_number=given)


def number_steps(question: Question, decision: Decision) -> tuple[NumberStep, ...]:
    """From what was asked to the number that is billed, as far as the decision came."""
    dialled, peer = decision.request.callee, decision.peer
    steps = [NumberStep("asked", question.callee)]
    if dialled != question.callee:
        steps.append(NumberStep("tech prefix put before it, as the peer sends it", dialled))
    if peer is not None and peer.tech_prefix and dialled.startswith(peer.tech_prefix):
        steps.append(NumberStep(f"tech prefix {peer.tech_prefix} removed", dialled[len(peer.tech_prefix) :]))
    if decision.inbound.callee and decision.inbound.callee != steps[-1].number:
        steps.append(NumberStep("billed as", decision.inbound.callee))
    return tuple(steps)
