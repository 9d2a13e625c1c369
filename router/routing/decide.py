"""One decision, from the wire's texts to the ordered routes. Pure."""

from router.routing.choose import choose
from router.routing.inbound import look_inbound
from router.routing.model import Decision, Request, World


def decide(world: World, request: Request, now_ms: int, *, expected_seconds: int) -> Decision:
    """The decision on one attempt at `now_ms` (unix, UTC).

    `expected_seconds` must be what the snapshot's costs were made comparable at.
    """
    inbound = look_inbound(world.snapshot, request, now_ms)
    if inbound.refusal is not None or inbound.peer is None or inbound.price is None:
        return Decision(world, request, inbound, inbound.refusal)
    return choose(world, request, inbound, inbound.peer, inbound.price, now_ms, expected_seconds)
