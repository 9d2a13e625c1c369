"""One decision, from the wire's texts to the ordered routes. Pure."""

from router.core.choose import choose
from router.core.controls import controls_of, hold_caller, hold_vendors, move_back
from router.core.inbound import look_inbound
from router.core.model import Decision, Request, World


def decide(world: World, request: Request, now_ms: int, *, expected_seconds: int) -> Decision:
    """The decision on one attempt at `now_ms` (unix, UTC).

    `expected_seconds` must be what the snapshot's costs were made comparable at.
    """
    controls = controls_of(world.snapshot, now_ms)
    world = hold_vendors(controls, world)
    inbound = hold_caller(controls, look_inbound(world.snapshot, request, now_ms))
    if inbound.refusal is not None or inbound.peer is None or inbound.price is None:
        return Decision(world, request, inbound, inbound.refusal)
    decision = choose(world, request, inbound, inbound.peer, inbound.price, now_ms, expected_seconds)
    return move_back(controls, decision)
