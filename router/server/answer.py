"""What a decision becomes: FACTS of each leg, variables for the dialplan, the event that explains it. Pure."""

from typing import Any, Final, NamedTuple

import msgspec

from router.core import Decision, Priced, candidates_json
from router.core.hunting import call_variables
from router.core.route_texts import route_texts
from router.snapshot.config import Pack
from schemas.agi import (
    ATTESTATION,
    CALL_FACTS,
    DECISION,
    DEFAULT_STOP_CAUSES,
    MAX_MS,
    MAX_REASON,
    REASON,
    REFUSE_CAUSE,
    ROUTES,
    STOP_CAUSES,
)
from schemas.events import CallRouted, CallRoutedText, ExplainedCall, encode_event, explained
from schemas.facts import UNIDENTIFIED_ACCOUNT_ID, Facts, encode_facts
from schemas.ids import make_event_id, make_leg_id, node_of
from schemas.refusals import REFUSAL_CAUSE, Ending, Refusal

_decoder: Final = msgspec.json.Decoder(CallRouted)
_NO_PACK = Pack(0, "USD", 0, 1, 0, 0, 6, "up", False)
_NO_PRICE = Priced("", 0, 0)
_STOP_CAUSES: Final = "-".join(map(str, DEFAULT_STOP_CAUSES))


class Answer(NamedTuple):
    """A decision after admission: `refusal` and `max_ms` may come from there."""

    decision: Decision
    refusal: Refusal | None
    max_ms: int
    hold_micros: int


class Attempt(NamedTuple):
    """The call that asks: its id, when it began, and how long the decision took."""

    call_id: str
    started_at_ms: int
    routed_at_ms: int
    decision_micros: int


def call_facts(decision: Decision) -> Facts:
    """The inbound leg's FACTS. Of a refused call whatever is known; nobody known: the unidentified account."""
    peer = decision.peer
    pack = peer.pack if peer else _NO_PACK
    price = decision.inbound.price or _NO_PRICE
    return Facts(
        side="receivable",
        customer_company_id=peer.company_id if peer else 0,
        customer_peer_id=peer.peer_id if peer else 0,
        vendor_company_id=0,
        vendor_peer_id=0,
        account_id=peer.account.account_id if peer else UNIDENTIFIED_ACCOUNT_ID,
        **_terms(decision, pack, price),
    )


def _terms(decision: Decision, pack: Pack, price: Priced) -> dict[str, Any]:
    return {
        "generation": decision.snapshot.config.generation,
        "currency": pack.currency,
        "code": price.code,
        "price_id": price.price_id,
        "destination_id": decision.inbound.destination_id,
        "price_e8": price.price_e8,
        "connect_fee_micros": pack.connect_fee_micros,
        "minimum_seconds": pack.minimum_seconds,
        "increment_seconds": pack.increment_seconds,
        "free_seconds": pack.free_seconds,
        "rounding_decimals": pack.rounding_decimals,
        "duration_rounding": pack.duration_rounding,
        "caller": decision.inbound.caller,
        "callee": decision.inbound.callee,
    }


def variables(answer: Answer, facts: Facts) -> list[tuple[str, str]]:
    """The channel variables, ROUTES last: whatever is cut off, a call is refused and never half-routed."""
    decision = answer.decision
    found = [(CALL_FACTS, encode_facts(facts))]
    if answer.refusal is not None:
        found += [
            (DECISION, "REFUSE"),
            (REASON, answer.refusal.value),
            (REFUSE_CAUSE, str(REFUSAL_CAUSE[answer.refusal])),
            (ROUTES, "0"),
        ]
        return found
    found += route_texts(decision)
    if decision.inbound.attestation:
        found.append((ATTESTATION, decision.inbound.attestation))
    return [
        *found,
        *(call_variables(decision.peer) if decision.peer else ()),
        (STOP_CAUSES, _STOP_CAUSES),
        (MAX_MS, str(max(1, answer.max_ms))),  # a limit of 0 would end the call at once
        (MAX_REASON, _why_no_longer(answer).value),
        (REASON, ""),
        (DECISION, "ALLOW"),
        (ROUTES, str(len(decision.routes))),
    ]


def _why_no_longer(answer: Answer) -> Ending:
    peer = answer.decision.peer
    longest_ms = peer.max_call_seconds * 1000 if peer else 0
    return Ending.BALANCE_EXHAUSTED if answer.max_ms < longest_ms else Ending.LONGEST_CALL


def explained_call(answer: Answer, attempt: Attempt) -> ExplainedCall:
    """What explains the decision, for people: every candidate with why it was taken or not."""
    return explained(_decoder.decode(routed_json(answer, attempt)))


def routed_json(answer: Answer, attempt: Attempt) -> bytes:
    """The bytes of the event that explains the decision."""
    decision = answer.decision
    peer, request, price = decision.peer, decision.request, decision.inbound.price
    event = CallRoutedText(
        event_id=make_event_id(make_leg_id(attempt.call_id, 0), "call_routed"),
        call_id=attempt.call_id,
        node=node_of(attempt.call_id),
        generation=decision.snapshot.config.generation,
        call_started_at_ms=attempt.started_at_ms,
        routed_at_ms=attempt.routed_at_ms,
        decision_micros=attempt.decision_micros,
        endpoint=request.endpoint[:64],
        remote_address=request.remote_address[:64],
        caller_dialled=request.caller[:256],
        callee_dialled=request.callee[:256],
        caller=decision.inbound.caller,
        callee=decision.inbound.callee,
        customer_company_id=peer.company_id if peer else 0,
        customer_peer_id=peer.peer_id if peer else 0,
        account_id=peer.account.account_id if peer else UNIDENTIFIED_ACCOUNT_ID,
        route_class=decision.route_class,
        code=price.code if price else "",
        price_id=price.price_id if price else 0,
        price_e8=price.price_e8 if price else None,
        currency=peer.pack.currency if peer else "",
        destination_id=decision.inbound.destination_id,
        reason=answer.refusal.value if answer.refusal else "",
        max_call_ms=answer.max_ms,
        hold_micros=answer.hold_micros,
        candidates=msgspec.Raw(candidates_json(decision).encode()),
        detail=decision.inbound.detail if answer.refusal is decision.refusal else "",
        withheld=decision.inbound.withheld,
        routing_number=decision.inbound.routing_number,
        lookup=request.dip.words[:64] if request.dip else "",
        attestation=decision.inbound.attestation,
    )
    return encode_event(event)
