"""Which vendors a call may go to, in which order. Pure.

A decision walks one row of the vendors' matrix, from the cheapest on. Vendors that may not be tried (another route
class or priority, disabled, another currency, the originator's own company) are removed by one `translate`; the walk
stops at the first cost above what profit control allows, since all behind it is dearer, and at the longest hunt.
"""

from router.routing.model import Decision, Inbound, Priced, Request, Route, World
from router.routing.numbers import sent_to, sent_to_most
from router.routing.plan import plan_of
from router.snapshot.code_index import NO_CODE
from router.snapshot.config import Peer
from router.snapshot.prices import NO_COST, comparable_e8
from router.snapshot.store import VendorMatrix
from schemas.agi import MAX_ROUTES
from schemas.refusals import Refusal


def choose(
    world: World, request: Request, inbound: Inbound, peer: Peer, price: Priced, now_ms: int, expected_seconds: int
) -> Decision:
    """The routes of a call whose caller's side is settled: `peer` and `price` are those of `inbound`."""
    matrix = world.snapshot.matrix
    code = matrix.index.find(inbound.callee)
    plan = plan_of(world.snapshot, peer)
    income_e8 = int(comparable_e8(peer.pack, price.price_e8, expected_seconds, income=True))
    most_cost_e8 = _most_cost_e8(peer, income_e8)
    numbers, usual = world.snapshot.numbers, sent_to_most(inbound)
    routes: list[Route] = []
    dear = False  # whether a vendor that may be tried costs more than it may
    if code != NO_CODE:
        width = len(matrix.vendors)
        first = code * width
        order = bytes(matrix.order[first : first + width])
        cost, row, vendors = matrix.cost, matrix.row, matrix.vendors
        for group in plan.groups:
            for vendor in order.translate(None, group.removed):
                cost_e8 = cost[first + vendor]
                if cost_e8 > most_cost_e8 or len(routes) == MAX_ROUTES:
                    dear = True
                    break
                terminator = vendors[vendor]
                sent = usual
                if sent is None or terminator.peer_id in numbers.ruled:
                    sent = sent_to(numbers, inbound, terminator, now_ms)
                if sent is not None:
                    routes.append(Route(terminator, price_of(matrix, row[first + vendor]), cost_e8, sent))
    refusal = None if routes else (Refusal.NO_PROFITABLE_ROUTE if dear else Refusal.NO_ROUTE)
    return Decision(world, request, inbound, refusal, tuple(routes), code, income_e8, most_cost_e8, plan, now_ms)


def price_of(matrix: VendorMatrix, row: int) -> Priced:
    """The price of a row of the matrix."""
    return Priced(matrix.index.text(matrix.row_code[row]), matrix.row_price_id[row], matrix.row_price_e8[row])


def _most_cost_e8(peer: Peer, income_e8: int) -> int:
    """The dearest comparable cost that the originator's profit rule allows."""
    if peer.profit == "allow_losses":
        return NO_COST - 1
    return income_e8 - max(peer.minimum_margin_e8, 1 if peer.profit == "profit_only" else 0)
