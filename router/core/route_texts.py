"""The channel variables of a call's routes, quickly: what is the same at every call is put into words once. Pure.

A route's FACTS are those of its leg: payable, by the vendor's account and pack, with the numbers that the vendor is
sent, as he will bill them.
"""

from typing import Final, NamedTuple

from router.core.hunting import route_rules
from router.core.limits import limits_of, route_limits
from router.core.model import Decision, Route
from schemas.agi import CALL_CODECS, CODECS, DIVERSION, LIMITED, MAX_ROUTES, route_variable
from schemas.facts import FACTS_VERSION, ROUNDING_LETTER
from tariffs.codecs import is_mixed, offer_to, read_codecs

_DIAL, _TIMEOUT, _FACTS, _LIMITS = "DIAL", "TIMEOUT", "FACTS", "LIMITS"
_CALLER, _CALLER_NAME, _WITHHELD = "CALLER", "CALLER_NAME", "WITHHELD"
_JOINT: Final = "-"
_NAMES: Final = tuple(
    [tuple([route_variable(number, name) for name in (_DIAL, _TIMEOUT, _FACTS)]) for number in range(MAX_ROUTES + 1)]
)


class Told(NamedTuple):
    """What every call is told of a vendor's route."""

    dial: str  # before the number
    endpoint: str  # behind it
    timeout: str
    payable: str  # of the FACTS: whose leg it is
    terms: str
    rules: tuple[tuple[str, str], ...]  # what its hunt is told, by the end of the variable's name
    limits: str | None  # None: they depend on the number called
    routing_number: bool  # the vendor wants it
    diversion: bool  # the vendor is sent it


def route_texts(decision: Decision) -> list[tuple[str, str]]:
    """The variables of a decision's routes, in their order, and LIMITED behind them if any of them has limits."""
    strategy, row, peer = decision.strategy, decision.row, decision.peer
    if strategy is None or row is None or peer is None:  # always there where there are routes
        return []
    row.look_up([route.number for route in decision.routes])
    first = f"{FACTS_VERSION};p;{decision.snapshot.config.generation};{peer.company_id};{peer.peer_id};"
    destination = f";{decision.inbound.destination_id};"
    ported = decision.inbound.routing_number
    found: list[tuple[str, str]] = []
    told_of = strategy.caches.told
    limited = False
    for number, route in enumerate(decision.routes, start=1):
        told = told_of.get(route.number) or _keep(decision, route)
        price, sent = row.priced[route.number], route.sent
        dial, timeout, facts = _NAMES[number]
        # Built from the gateway's own prefix and checked digits only: nothing from the wire reaches Dial.
        suffix = f";npdi;rn=+{ported}{told.endpoint}" if ported and told.routing_number else told.endpoint
        found += (
            (dial, f"{told.dial}{sent.callee}{suffix}"),
            (timeout, told.timeout),
            (
                facts,
                f"{first}{told.payable}{price.code};{price.price_id}{destination}{price.price_e8};{told.terms};"
                f"{sent.caller.removeprefix('+')};{sent.callee.removeprefix('+')}",
            ),
        )
        if told.rules:
            found += [(route_variable(number, name), value) for name, value in told.rules]
        if sent.caller:
            found.append((route_variable(number, _CALLER), sent.caller))
        if sent.caller_name:
            found.append((route_variable(number, _CALLER_NAME), sent.caller_name))
        if sent.withheld:
            found.append((route_variable(number, _WITHHELD), "1"))
        if told.diversion and peer.pass_diversion:
            found.append((route_variable(number, DIVERSION), "1"))
        own = read_codecs(route.vendor.codecs)
        if row.codecs and is_mixed(own):  # Asterisk would offer all of them
            found.append((route_variable(number, CODECS), _JOINT.join(offer_to(own, row.codecs))))
        limits = _limits(decision, route) if told.limits is None else told.limits
        if limits:
            limited = True
            found.append((route_variable(number, _LIMITS), limits))
    if limited:
        found.append((LIMITED, "1"))
    if len(row.codecs) < len(read_codecs(decision.request.codecs)):
        found.append((CALL_CODECS, _JOINT.join(row.codecs)))
    return found


def _limits(decision: Decision, route: Route) -> str:
    class_id = route.placed.route_class.route_class_id
    return "&".join(route_limits(decision.snapshot, route.vendor, class_id, decision.inbound.callee))


def _keep(decision: Decision, route: Route) -> Told:
    vendor, entry, pack = route.vendor, route.entry, route.vendor.pack
    by_code = vendor.peer_id in limits_of(decision.snapshot).codes
    told = Told(
        f"PJSIP/{vendor.tech_prefix}",
        f"@{vendor.endpoint}",
        str(entry.ring_seconds or vendor.ring_seconds),
        f"{vendor.company_id};{vendor.peer_id};{vendor.account.account_id};{pack.currency};",
        f"{pack.connect_fee_micros};{pack.minimum_seconds};{pack.increment_seconds};{pack.free_seconds};"
        f"{pack.rounding_decimals};{ROUNDING_LETTER[pack.duration_rounding]}",
        tuple(route_rules(entry, vendor)),
        None if by_code else _limits(decision, route),
        vendor.send_routing_number,
        vendor.pass_diversion,
    )
    if decision.strategy is not None:
        # A cache of what is a function of the frozen strategy: filling it twice at once would do no harm.
        decision.strategy.caches.told[route.number] = told
    return told
