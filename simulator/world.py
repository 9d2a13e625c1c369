"""The world that the simulator finds in PostgreSQL: who calls from which node, where to, and who the vendors are.

Read once at the start, with one statement per question. The values are frozen; simulator/traffic.py draws calls from
them. Decks may be large, so that of each customer's deck only a sample of codes is kept, drawn by the seed.
"""

import bisect
import ipaddress
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import TupleRow

MOST_CODES: Final = 400  # of one customer's deck
MOST_UNROUTED_CODES: Final = 40
_MOST_LONGER_CODES: Final = 3

Connection = psycopg.Connection[TupleRow]


class WorldError(Exception):
    """The database holds nothing that the simulator could play: says what is missing."""


@dataclass(frozen=True, slots=True)
class Customer:
    """One originator, as far as its calls show it. `codes` have a price and a vendor; `unrouted_codes` a price only."""

    peer_id: int
    name: str
    endpoint: str
    remote_address: str
    tech_prefix: str
    enabled: bool
    max_concurrent: int  # 0: no limit
    max_cps: int  # 0: no limit
    nodes: tuple[str, ...]
    codes: tuple[str, ...]
    unrouted_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class World:
    """Everything that traffic is made of. `unknown_codes` begin no number that any deck prices."""

    customers: tuple[Customer, ...]
    vendors: dict[int, str]  # terminators: peer id to name
    unknown_codes: tuple[str, ...]


_ORIGINATORS: Final = """
SELECT o.peer_id, o.name, o.endpoint, host(o.host), masklen(o.host), o.port, o.tech_prefix,
       o.enabled AND c.enabled, o.max_concurrent, o.max_cps, o.deck_id, o.route_class_id,
       coalesce(array_agg(n.name ORDER BY n.name) FILTER (WHERE n.name IS NOT NULL), '{}')
FROM peers o
JOIN companies c USING (company_id)
LEFT JOIN peer_nodes USING (peer_id)
LEFT JOIN nodes n USING (node_id)
WHERE o.role = 'originator'
GROUP BY o.peer_id, c.enabled
ORDER BY o.peer_id
"""

_TERMINATORS: Final = "SELECT peer_id, name FROM peers WHERE role = 'terminator' ORDER BY peer_id"

# A code is in force when the newest row that has begun has a price; NULL blocks.
_DECK_CODES: Final = """
SELECT code FROM (
    SELECT DISTINCT ON (code) code, price FROM prices
    WHERE deck_id = %s AND effective_from <= to_timestamp(%s)
    ORDER BY code, effective_from DESC
) AS newest
WHERE price IS NOT NULL ORDER BY code
"""

_VENDOR_CODES: Final = """
SELECT DISTINCT p.code
FROM route_class_entries e
JOIN peers t ON t.peer_id = e.peer_id AND t.enabled
JOIN prices p ON p.deck_id = t.deck_id AND p.price IS NOT NULL AND p.effective_from <= to_timestamp(%s)
WHERE e.route_class_id = %s AND e.enabled
ORDER BY p.code
"""

# Prefixes that no country has. Those that a deck of this world prices all the same are left out.
_UNASSIGNED: Final = ("210", "214", "384", "422", "699", "801", "802", "859", "889", "899", "978", "990", "997")


def read_world(connection: Connection, nodes: Sequence[str], at_seconds: float, seed: int) -> World:
    """The world as the named nodes see it at a moment (unix seconds). Raises WorldError where nobody could call."""
    decks: dict[int, list[str]] = {}
    routed: dict[int, list[str]] = {}
    customers = []
    for row in connection.execute(_ORIGINATORS).fetchall():
        (peer_id, name, endpoint, host, mask, port, tech_prefix, enabled, *limits, deck_id, class_id, on_nodes) = row
        here = tuple(node for node in nodes if node in on_nodes or not on_nodes)
        if not here:
            continue
        if deck_id not in decks:
            decks[deck_id] = _codes(connection, _DECK_CODES, deck_id, at_seconds)
        if class_id not in routed:
            routed[class_id] = _codes(connection, _VENDOR_CODES, at_seconds, class_id)
        codes, unrouted = choose_codes(random.Random(f"{seed}/codes/{peer_id}"), decks[deck_id], routed[class_id])
        address = f"{_address_in(host, mask, random.Random(f'{seed}/address/{peer_id}'))}:{port}"
        customers.append(
            Customer(
                peer_id, name, endpoint, address, tech_prefix, enabled, limits[0], limits[1], here, codes, unrouted
            )
        )
    if not any(customer.enabled and customer.codes for customer in customers):
        raise WorldError(f"no originator with a routable price on nodes {', '.join(nodes)}: is the world seeded?")
    priced = sorted({code for deck in decks.values() for code in deck})
    unknown = tuple(code for code in _UNASSIGNED if not _has_prefix(priced, code) and not _beginning_with(priced, code))
    vendors = {row[0]: row[1] for row in connection.execute(_TERMINATORS).fetchall()}
    return World(tuple(customers), vendors, unknown)


def choose_codes(
    rng: random.Random, deck: Iterable[str], routed: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A sample of (codes that some vendor takes, codes that none takes) from a customer's deck.

    `routed`: all codes of the route class's vendors, sorted. Where vendors only have longer codes than
    the deck's, those are called.
    """
    codes: list[str] = []
    unrouted: list[str] = []
    for code in deck:
        if _has_prefix(routed, code):
            codes.append(code)
        elif longer := _beginning_with(routed, code):
            codes.extend(rng.sample(longer, min(_MOST_LONGER_CODES, len(longer))))
        else:
            unrouted.append(code)
    return (
        tuple(rng.sample(codes, min(MOST_CODES, len(codes)))),
        tuple(rng.sample(unrouted, min(MOST_UNROUTED_CODES, len(unrouted)))),
    )


def _codes(connection: Connection, statement: str, *arguments: object) -> list[str]:
    return sorted(row[0] for row in connection.execute(statement, arguments).fetchall())


def _has_prefix(codes: Sequence[str], code: str) -> bool:
    """Whether a code is in the sorted codes, or begins with one of them."""
    return any(_contains(codes, code[:length]) for length in range(1, len(code) + 1))


def _contains(codes: Sequence[str], code: str) -> bool:
    at = bisect.bisect_left(codes, code)
    return at < len(codes) and codes[at] == code


def _beginning_with(codes: Sequence[str], code: str) -> list[str]:
    at = bisect.bisect_left(codes, code)
    end = bisect.bisect_left(codes, code + ":")  # the character after the digits
    return list(codes[at:end])


def _address_in(host: str, mask: int, rng: random.Random) -> str:
    address = ipaddress.ip_address(host)
    if mask == address.max_prefixlen:
        return str(address)
    network = ipaddress.ip_network(f"{host}/{mask}", strict=False)
    return str(network[rng.randrange(1, max(2, min(network.num_addresses - 1, 65_536)))])
