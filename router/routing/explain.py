"""Why each vendor of a decision was taken or not: worked out from the same inputs when somebody asks. Pure."""

from collections.abc import Iterator

from router.routing.model import Decision, Placed, Route, Sent
from router.routing.row import Row
from router.routing.words import sort_keys
from router.snapshot.prices import NO_COST
from schemas.events import Candidate
from schemas.refusals import Verdict


def candidates(decision: Decision) -> list[Candidate]:
    """Every vendor of the route class and its bases: taken at which position, or why not. Taken first, then by cost."""
    return sorted(_candidates(decision), key=_candidate_order)


def _candidates(decision: Decision) -> Iterator[Candidate]:
    plan, row = decision.plan, decision.row
    if plan is None:
        return
    taken = {route.vendor.peer_id: (position, route) for position, route in enumerate(decision.routes, start=1)}
    for number, placed in plan.placed.items():
        vendor = plan.vendors[number]
        price = row.price(number) if row is not None else None
        cost_e8 = row.cost_e8(number) if row is not None and price is not None else None
        comparable = cost_e8 is not None and plan.left_out.get(number) is not Verdict.OTHER_CURRENCY
        position, route = taken.get(vendor.peer_id, (0, None))
        verdict, detail = _verdict(decision, row, number, cost_e8, route)
        yield Candidate(
            vendor_company_id=vendor.company_id,
            vendor_peer_id=vendor.peer_id,
            vendor=vendor.name,
            priority=placed.entry.priority,
            code=price.code if price else "",
            price_id=price.price_id if price else 0,
            currency=vendor.pack.currency,
            price_e8=price.price_e8 if price else None,
            comparable_cost_e8=cost_e8,
            margin_e8=decision.income_e8 - cost_e8 if comparable and cost_e8 is not None else None,
            verdict=verdict,
            position=position,
            route_class=_fallback(placed),
            keys=sort_keys(row, number, price) if row is not None and price is not None else [],
            detail=detail,
            caller_sent=route.sent.caller if route else "",
            callee_sent=vendor.tech_prefix + route.sent.callee if route else "",
        )


def _fallback(placed: Placed) -> str:
    """The name of the base class that an entry is from; empty for the originator's own."""
    return placed.route_class.name if placed.depth else ""


def _verdict(
    decision: Decision, row: Row | None, number: int, cost_e8: int | None, route: Route | None
) -> tuple[Verdict, str]:
    """(verdict, which rule of the vendor's it was, where that is not clear from the verdict)."""
    assert decision.plan is not None  # noqa: S101 (for the type checker: only decisions with a plan come here)
    if route is not None:
        return Verdict.TAKEN, ""
    if number in decision.plan.left_out:
        return decision.plan.left_out[number], ""
    if cost_e8 is None or row is None:
        return Verdict.BLOCKED_CODE if row is not None and row.is_blocked(number) else Verdict.NO_CODE, ""
    if cost_e8 > decision.most_cost_e8:
        return Verdict.NO_PROFIT, ""
    sent = row.sent(number)
    if not isinstance(sent, Sent):
        return sent.verdict, sent.detail
    if not decision.world.full or not row.is_full(number):
        return Verdict.SURPLUS, ""
    return (Verdict.BLOCKED_BY_CONTROL if row.is_held(number) else Verdict.LIMIT), ""


def _candidate_order(candidate: Candidate) -> tuple[bool, int, int, int, str]:
    cost_e8 = candidate.comparable_cost_e8 if candidate.comparable_cost_e8 is not None else NO_COST
    return (candidate.position == 0, candidate.position, candidate.priority, cost_e8, candidate.vendor)
