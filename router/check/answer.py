"""The core's decision on a question, as the event that a real call would leave behind. Pure in itself."""

from typing import Literal

import msgspec

from router.answer import Answer, Attempt, routed_event
from router.check.limits import Known
from router.check.question import Question, asked_peer, request_of
from router.routing import Decision, World, decide
from schemas.events import CallRouted
from schemas.refusals import Refusal

_NO_CALL = "check-0000000000-0000000000.0"  # of the form that the event's maker wants; taken out again


Source = Literal["live", "built"]


class NumberStep(msgspec.Struct, frozen=True):
    """One step from the number as dialled to the number as billed: what was done, and what came of it."""

    what: str
    number: str


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `decision` is what a real call's event would be, of no call: its ids are empty.

    `source`: `live`, the snapshot that this machine's routers use; `built`, one made for the moment asked, with the
    prices of that moment and everything else as it is configured now. `identified`: the originator that the address
    and the number really lead to, which is not the one asked where another fits better. `quality`: `read`, as the
    routers know it now; `away`, it could not be read; `unknown`, of another moment than now nobody knows it. Without it
    every vendor is neutral. `limits`, those without room on the node asked of, in the same words.
    """

    peer: str
    identified: str
    at_ms: int
    source: Source
    snapshot_taken_at_ms: int
    quality: Known
    limits: Known
    steps: tuple[NumberStep, ...]
    decision: CallRouted


def check(
    world: World,
    question: Question,
    now_ms: int,
    *,
    expected_seconds: int,
    source: Source,
    quality: Known,
    limits: Known,
) -> Checked:
    """The answer at `now_ms`, by the very core that routes calls. Raises QuestionError."""
    peer = asked_peer(world.snapshot, question)
    decision = decide(world, request_of(peer, question), now_ms, expected_seconds=expected_seconds)
    if decision.refusal is Refusal.LIMIT:  # as the router does: before nothing is tried, Asterisk has the word
        decision = decide(world._replace(full=frozenset()), decision.request, now_ms, expected_seconds=expected_seconds)
    longest_ms = decision.peer.max_call_seconds * 1000 if decision.peer and decision.refusal is None else 0
    event = routed_event(Answer(decision, decision.refusal, longest_ms, 0), Attempt(_NO_CALL, now_ms, now_ms, 0))
    return Checked(
        peer=peer.name,
        identified=decision.peer.name if decision.peer else "",
        at_ms=now_ms,
        source=source,
        quality=quality,
        limits=limits,
        snapshot_taken_at_ms=world.snapshot.config.taken_at_ms,
        steps=number_steps(question, decision),
        decision=msgspec.structs.replace(event, event_id="", call_id="", node=question.node),
    )


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
