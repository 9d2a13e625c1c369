"""Which vendors a call may go to, in which order. Pure.

A decision walks one row of the vendors' matrix, from the cheapest on, tier by tier. Vendors that may not be tried
(another tier, disabled, another currency, the originator's own company) are removed by one `translate`; the walk stops
at the first cost above what profit control allows, since all behind it is dearer, and at the longest hunt. An order
that is not by cost in a tier, and costs that an order takes for equal, are sorted by rank.py.
"""

from typing import Final

import numpy

from router.routing.model import Decision, Inbound, Priced, Request, Route, Strategy, World
from router.routing.rank import rank, within
from router.routing.row import Row, dearest
from router.routing.strategy import strategy_of
from router.snapshot.code_index import NO_CODE
from router.snapshot.config import Peer
from router.snapshot.prices import NO_COST
from schemas.agi import MAX_ROUTES
from schemas.refusals import Refusal

_PPM: Final = 1_000_000


def choose(
    world: World, request: Request, inbound: Inbound, peer: Peer, price: Priced, now_ms: int, expected_seconds: int
) -> Decision:
    """The routes of a call whose caller's side is settled: `peer` and `price` are those of `inbound`."""
    matrix = world.snapshot.matrix
    code = matrix.index.find(inbound.callee)
    strategy = strategy_of(world, peer, now_ms, expected_seconds)
    income_e8 = strategy.terms.income_e8(price.price_e8)
    most_cost_e8 = _most_cost_e8(peer, strategy, income_e8)
    routes: tuple[Route, ...] = ()
    refusal: Refusal | None = Refusal.NO_ROUTE
    row = None
    if code != NO_CODE:
        row = Row(world, strategy, matrix, code * len(matrix.vendors), inbound.callee, request.seed, now_ms)
        numbers = _numbers(row, dearest(matrix, most_cost_e8))
        routes = tuple([_route(row, number) for number in numbers])
        refusal = None if routes else _why_none(row, most_cost_e8)
    return Decision(world, request, inbound, refusal, routes, row, income_e8, most_cost_e8, strategy)


def _numbers(row: Row, most_cost_e8: int) -> list[int]:
    """The vendors to try, by number, MAX_ROUTES at most."""
    strategy = row.strategy
    if strategy.plain:
        return _walk(row, most_cost_e8)
    if strategy.walks:
        found, tied = _walk_steps(row, most_cost_e8)
        return (rank(row, numpy.array(found)) if tied else found)[:MAX_ROUTES]
    ranked = rank(row, within(row, most_cost_e8))
    if row.world.full:
        ranked = [number for number in ranked if not row.is_full(number)]
    return ranked[:MAX_ROUTES]


def _walk(row: Row, most_cost_e8: int) -> list[int]:
    found: list[int] = []
    order, cost, first, full = row.order(), row.matrix.cost, row.first, row.world.full
    for removed, only in row.strategy.tiers:
        for vendor in order.translate(None, removed) if only < 0 else (only,):
            if cost[first + vendor] > most_cost_e8:
                break
            if full and row.is_full(vendor):
                continue
            found.append(vendor)
            if len(found) == MAX_ROUTES:
                return found
    return found


def _walk_steps(row: Row, most_cost_e8: int) -> tuple[list[int], bool]:
    """As _walk, with those behind the last one that cost the same in steps; and whether any two of a tier do."""
    found: list[int] = []
    tied = False
    order, cost, first, full = row.order(), row.matrix.cost, row.first, row.world.full
    step = row.strategy.cost_step
    for removed, only in row.strategy.tiers:
        last = -1
        for vendor in order.translate(None, removed) if only < 0 else (only,):
            cost_e8 = cost[first + vendor]
            if cost_e8 > most_cost_e8:
                break
            if full and row.is_full(vendor):
                continue
            steps = (2 * cost_e8 + step) // (2 * step)
            if steps == last:
                tied = True
            elif len(found) >= MAX_ROUTES:
                break
            last = steps
            found.append(vendor)
        if len(found) >= MAX_ROUTES:
            break
    return found, tied


def _route(row: Row, number: int) -> Route:
    plan = row.strategy.plan
    price = row.price(number)
    assert price is not None  # noqa: S101 (for the type checker: what has a cost has a price)
    return Route(plan.vendors[number], price, row.matrix.cost[row.first + number], plan.placed[number])


def _why_none(row: Row, most_cost_e8: int) -> Refusal:
    priced = [number for number in row.strategy.plan.usable if row.price(number) is not None]
    if not priced:
        return Refusal.NO_ROUTE
    good = any(row.matrix.cost[row.first + number] <= most_cost_e8 for number in priced)
    return Refusal.LIMIT if good else Refusal.NO_PROFITABLE_ROUTE


def _most_cost_e8(peer: Peer, strategy: Strategy, income_e8: int) -> int:
    """The dearest comparable cost that the originator's profit rule allows."""
    if peer.profit == "allow_losses":
        return NO_COST - 1
    margin_e8 = -(-income_e8 * peer.minimum_margin_ppm // _PPM) if peer.minimum_margin_ppm else 0
    least = 1 if peer.profit == "profit_only" else 0
    return income_e8 - max(strategy.minimum_margin_e8, margin_e8, least)
