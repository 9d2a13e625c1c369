"""One decision, from the wire's texts to the ordered routes. Pure."""

from router.core.choose import choose
from router.core.controls import controls_of, hold_caller, move_back
from router.core.inbound import look_inbound
from router.core.model import Decision, Request, World
from schemas.refusals import Refusal


def decide(world: World, request: Request, now_ms: int, *, expected_seconds: int) -> Decision:
    """The decision on one attempt at `now_ms` (unix, UTC).

    `expected_seconds` must be what the snapshot's costs were made comparable at. Where every vendor that could be tried
    has a limit without room, they are tried all the same: which are full was known a second ago, and before nothing is
    tried, Asterisk has the word. Those that are closed to calls stay so.
    """
    controls = controls_of(world.snapshot, now_ms)
    inbound = hold_caller(controls, look_inbound(world.snapshot, request, now_ms))
    if inbound.refusal is not None or inbound.peer is None or inbound.price is None:
        return Decision(world, request, inbound, inbound.refusal)
    peer, price = inbound.peer, inbound.price
    closed = world.closed | controls.full if controls.full else world.closed
    told = world._replace(full=world.full | closed) if closed else world
    decision = choose(told, request, inbound, peer, price, now_ms, expected_seconds)
    if decision.refusal is Refusal.LIMIT and world.full:
        decision = choose(world._replace(full=closed), request, inbound, peer, price, now_ms, expected_seconds)
    return move_back(controls, decision)
