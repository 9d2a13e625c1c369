"""Which vendors a call may go to, in which order. Pure.

A decision walks one row of the vendors' matrix, from the cheapest on. Vendors that may not be tried (another route
class or priority, disabled, another currency, the originator's own company) are removed by one `translate`; the walk
stops at the first cost above what profit control allows, since all behind it is dearer, and at the longest hunt.
"""

from router.routing.model import Decision, Inbound, Priced, Request, Route, Sent, World
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
    code = world.snapshot.index.find(inbound.callee)
    plan = plan_of(world.snapshot, peer)
    income_e8 = int(comparable_e8(peer.pack, price.price_e8, expected_seconds, income=True))
    most_cost_e8 = _most_cost_e8(peer, income_e8)
    numbers, usual = world.snapshot.numbers, sent_to_most(inbound)
    routes: list[Route] = []
    dear = False  # whether a vendor that may be tried costs more than it may
    if code != NO_CODE:
        for group in plan.groups:
            room = MAX_ROUTES - len(routes)
            if not room:
                break
            found: list[tuple[int, int, VendorMatrix, Sent]] = []  # cost, vendor among all, its matrix, its numbers
            for matrix, removed in group.parts:
                first = code * len(matrix.vendors)
                order = bytes(matrix.order[first : first + len(matrix.vendors)]).translate(None, removed)
                taken = 0
                for vendor in order:
                    cost_e8 = matrix.cost[first + vendor]
                    if cost_e8 > most_cost_e8:
                        dear = True
                        break
                    if taken == room:
                        break
                    terminator = matrix.vendors[vendor]
                    sent = usual
                    if sent is None or terminator.peer_id in numbers.ruled:
                        sent = sent_to(numbers, inbound, terminator, now_ms)
                    if sent is not None:
                        taken += 1
                        found.append((cost_e8, matrix.first + vendor, matrix, sent))
            if len(group.parts) > 1:
                found.sort(key=_by_cost)
                del found[room:]
            for cost_e8, vendor, matrix, sent in found:
                price = price_of(matrix, code, vendor, inbound.callee)
                routes.append(Route(world.snapshot.vendors[vendor], price, cost_e8, sent))
    refusal = None if routes else (Refusal.NO_PROFITABLE_ROUTE if dear else Refusal.NO_ROUTE)
    return Decision(world, request, inbound, refusal, tuple(routes), code, income_e8, most_cost_e8, plan, now_ms)


def price_of(matrix: VendorMatrix, code: int, vendor: int, callee: str) -> Priced:
    """What a vendor of the matrix (by its place among the snapshot's) has for the code of the callee; it must."""
    vendor -= matrix.first
    price_id, price_e8 = matrix.price(code, vendor)
    return Priced(callee[: matrix.digits[code * len(matrix.vendors) + vendor]], price_id, price_e8)


def _by_cost(found: tuple[int, int, VendorMatrix, Sent]) -> tuple[int, int]:
    return found[:2]


def _most_cost_e8(peer: Peer, income_e8: int) -> int:
    """The dearest comparable cost that the originator's profit rule allows."""
    if peer.profit == "allow_losses":
        return NO_COST - 1
    return income_e8 - max(peer.minimum_margin_e8, 1 if peer.profit == "profit_only" else 0)
