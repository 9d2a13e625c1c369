"""Which vendors a call may go to, in which order. Pure.

A decision walks one row of the vendors' matrix, from the cheapest on, tier by tier. Vendors that may not be tried
(another tier, disabled, another currency, the originator's own company) are removed by one `translate`; the walk stops
at the first cost above what profit control allows, since all behind it is dearer, and at the longest hunt. An order
that is not by cost in a tier, and equal costs that another metric parts, are sorted by rank.py. The walks of a
tier that stands in several matrices are merged.
"""

from itertools import islice
from operator import eq
from typing import Final

from router.core.codecs import unfit_vendors
from router.core.model import Decision, Inbound, Part, Priced, Request, Route, Sent, Strategy, World
from router.core.numbers import NotSent, sent_to_most
from router.core.rank import rank
from router.core.row import Row, dearest
from router.core.strategy import strategy_of
from router.snapshot.code_index import NO_CODE
from router.snapshot.config import Peer
from router.snapshot.prices import NO_COST
from router.snapshot.store import VendorMatrix
from schemas.agi import MAX_ROUTES
from schemas.refusals import Refusal, Verdict
from tariffs.codecs import Codecs, is_mixed, kind_of_call, read_codecs

_PPM: Final = 1_000_000


def choose(
    world: World, request: Request, inbound: Inbound, peer: Peer, price: Priced, now_ms: int, expected_seconds: int
) -> Decision:
    """The routes of a call whose caller's side is settled: `peer` and `price` are those of `inbound`."""
    routing_number = inbound.routing_number or inbound.callee
    code = world.snapshot.index.find(routing_number)
    strategy = strategy_of(world, peer, now_ms, expected_seconds)
    income_e8 = strategy.terms.income_e8(price.price_e8)
    most_cost_e8 = _most_cost_e8(peer, strategy, income_e8)
    routes: tuple[Route, ...] = ()
    refusal: Refusal | None = Refusal.NO_ROUTE
    row = None
    if code != NO_CODE:
        codecs = read_codecs(request.codecs)
        usual = sent_to_most(inbound)

        def with_codecs(left: Codecs) -> Row:
            unfit = unfit_vendors(world.snapshot, left)
            return Row(world, strategy, code, routing_number, request.seed, now_ms, inbound, usual, left, unfit)

        row = with_codecs(codecs)
        numbers = _numbers(row, most_cost_e8)
        if numbers and is_mixed(codecs):  # the first vendor decides which of them the call has
            row = with_codecs(kind_of_call(codecs, read_codecs(strategy.plan.vendors[numbers[0]].codecs)))
            numbers = _numbers(row, most_cost_e8)
        routes = row.routes(numbers)
        refusal = None if routes else _why_none(row, most_cost_e8)
    return Decision(world, request, inbound, refusal, routes, row, income_e8, most_cost_e8, strategy)


def _numbers(row: Row, most_cost_e8: int) -> list[int]:
    """The vendors to try, by number, MAX_ROUTES at most."""
    strategy = row.strategy
    if strategy.walks:
        # One more than are tried, where there is a metric for equal costs: the last one may cost the same as the next.
        found = _walk(row, most_cost_e8, MAX_ROUTES + strategy.ties)
        if not strategy.ties or not _tied(row, found):
            return found[:MAX_ROUTES]
    ranked = rank(row, *row.affordable(most_cost_e8))
    if row.has_rules:
        return list(islice((number for number in ranked if not row.is_passed_over(number)), MAX_ROUTES))
    return ranked[:MAX_ROUTES]


def _walk(row: Row, most_cost_e8: int, wanted: int) -> list[int]:
    """The first `wanted` vendors by tier, cost and number."""
    found: list[int] = []
    code, has_rules = row.code, row.has_rules
    matrix: VendorMatrix | None = None
    for parts, only in row.strategy.tiers:
        if len(parts) > 1:
            found += _merged(row, parts, most_cost_e8, wanted - len(found))
        else:
            of_part, removed = parts[0]
            if of_part is not matrix:  # as a rule the one before, and the only one
                matrix, first = of_part, of_part.first
                cell, limit_e8, cost = code * len(matrix.vendors), dearest(matrix, most_cost_e8), matrix.cost
                order = bytes(matrix.order[cell : cell + len(matrix.vendors)])
            for vendor in order.translate(None, removed) if only < 0 else (only - first,):
                if cost[cell + vendor] > limit_e8:
                    break
                if has_rules and row.is_passed_over(first + vendor):
                    continue
                found.append(first + vendor)
                if len(found) == wanted:
                    break
        if len(found) == wanted:
            break
    return found


def _merged(row: Row, parts: tuple[Part, ...], most_cost_e8: int, wanted: int) -> list[int]:
    """The cheapest vendors of a tier that stands in several matrices."""
    found: list[tuple[int, int]] = []
    has_rules = row.has_rules
    for matrix, removed in parts:
        cell, limit_e8 = row.code * len(matrix.vendors), dearest(matrix, most_cost_e8)
        left = wanted
        for vendor in bytes(matrix.order[cell : cell + len(matrix.vendors)]).translate(None, removed):
            cost_e8 = matrix.cost[cell + vendor]
            if cost_e8 > limit_e8 or not left:
                break
            if not (has_rules and row.is_passed_over(matrix.first + vendor)):
                found.append((cost_e8, matrix.first + vendor))
                left -= 1
    return [number for _, number in sorted(found)[:wanted]]


def _tied(row: Row, numbers: list[int]) -> bool:
    """Whether two of these, neighbours in the walk, cost the same, so that the next metric decides."""
    costs = [row.cost_e8(number) for number in numbers]
    return any(map(eq, costs, costs[1:]))


def _why_none(row: Row, most_cost_e8: int) -> Refusal:
    priced = [number for number in row.strategy.plan.usable if row.price(number) is not None]
    if not priced:
        return Refusal.NO_ROUTE
    good = [number for number in priced if row.cost_e8(number) <= most_cost_e8]
    if not good:
        return Refusal.NO_PROFITABLE_ROUTE
    sent = [(number, row.sent(number)) for number in good]
    sendable = [number for number, one in sent if isinstance(one, Sent)]
    if sendable:
        return Refusal.VENDORS_UNREACHABLE if all(map(row.why_unreachable, sendable)) else Refusal.LIMIT
    codec = any(isinstance(one, NotSent) and one.verdict is Verdict.NO_COMMON_CODEC for _, one in sent)
    return Refusal.NO_COMMON_CODEC if codec else Refusal.NO_ROUTE


def _most_cost_e8(peer: Peer, strategy: Strategy, income_e8: int) -> int:
    """The dearest comparable cost that the originator's profit rule allows."""
    if peer.profit == "allow_losses":
        return NO_COST - 1
    margin_e8 = -(-income_e8 * peer.minimum_margin_ppm // _PPM) if peer.minimum_margin_ppm else 0
    least = 1 if peer.profit == "profit_only" else 0
    return income_e8 - max(strategy.minimum_margin_e8, margin_e8, least)
