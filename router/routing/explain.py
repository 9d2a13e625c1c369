"""Why each vendor of a decision was taken or not: worked out from the same inputs when somebody asks. Pure."""

from collections.abc import Iterator

from router.routing.choose import price_of
from router.routing.model import Decision, Priced, Route, Sent
from router.routing.numbers import to_send
from router.snapshot.code_index import NO_CODE
from router.snapshot.prices import NO_COST
from schemas.events import Candidate
from schemas.refusals import Verdict


def candidates(decision: Decision) -> list[Candidate]:
    """Every vendor of the route class: taken at which position, or why not. Taken first, then by cost."""
    return sorted(_candidates(decision), key=_candidate_order)


def _candidates(decision: Decision) -> Iterator[Candidate]:
    plan, snapshot = decision.plan, decision.snapshot
    if plan is None:
        return
    taken = {route.vendor.peer_id: (position, route) for position, route in enumerate(decision.routes, start=1)}
    for index, entry in plan.entries.items():
        vendor = snapshot.vendors[index]
        digits, price, cost_e8 = _found(decision, index)
        comparable = cost_e8 is not None and plan.left_out.get(index) is not Verdict.OTHER_CURRENCY
        position, route = taken.get(vendor.peer_id, (0, None))
        verdict, detail = _verdict(decision, index, digits, cost_e8, route)
        yield Candidate(
            vendor_company_id=vendor.company_id,
            vendor_peer_id=vendor.peer_id,
            vendor=vendor.name,
            priority=entry.priority,
            code=price.code if price else "",
            price_id=price.price_id if price else 0,
            currency=vendor.pack.currency,
            price_e8=price.price_e8 if price else None,
            comparable_cost_e8=cost_e8,
            margin_e8=decision.income_e8 - cost_e8 if comparable and cost_e8 is not None else None,
            verdict=verdict,
            position=position,
            detail=detail,
            caller_sent=route.sent.caller if route else "",
            callee_sent=vendor.tech_prefix + route.sent.callee if route else "",
        )


def _found(decision: Decision, index: int) -> tuple[int, Priced | None, int | None]:
    """Of a vendor: the digits of its code that matches (0: none), its price and its comparable cost, if it has any."""
    matrix = decision.snapshot.matrix_of(index)
    if decision.matrix_code == NO_CODE:
        return 0, None, None
    cell = decision.matrix_code * len(matrix.vendors) + index - matrix.first
    digits = matrix.digits[cell]
    price = price_of(matrix, decision.matrix_code, index, decision.inbound.callee) if digits else None
    if price is None or price.price_e8 < 0:
        return digits, None, None
    return digits, price, matrix.cost[cell]


def _verdict(
    decision: Decision, index: int, digits: int, cost_e8: int | None, route: Route | None
) -> tuple[Verdict, str]:
    """(verdict, which rule of the vendor's it was, where that is not clear from the verdict)."""
    assert decision.plan is not None  # noqa: S101 (for the type checker: only decisions with a plan come here)
    if route is not None:
        return Verdict.TAKEN, ""
    if index in decision.plan.left_out:
        return decision.plan.left_out[index], ""
    if cost_e8 is None:
        return Verdict.BLOCKED_CODE if digits else Verdict.NO_CODE, ""
    if cost_e8 > decision.most_cost_e8:
        return Verdict.NO_PROFIT, ""
    vendor = decision.snapshot.vendors[index]
    sent = to_send(decision.snapshot.numbers, decision.inbound, vendor, decision.now_ms)
    return (Verdict.SURPLUS, "") if isinstance(sent, Sent) else (sent.verdict, sent.detail)


def _candidate_order(candidate: Candidate) -> tuple[bool, int, int, int, str]:
    cost_e8 = candidate.comparable_cost_e8 if candidate.comparable_cost_e8 is not None else NO_COST
    return (candidate.position == 0, candidate.position, candidate.priority, cost_e8, candidate.vendor)
