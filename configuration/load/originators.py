"""Originators whose addresses meet: what Asterisk cannot tell apart is refused, what may surprise is a warning.

Of all originators that an INVITE's address and first digits fit, the router takes the longest tech prefix, then the
longest network (router/core/identify.py). Asterisk sees the network alone. So two at one network share an endpoint, and
must agree on what it has; and one whose network lies over another company's addresses is given that one's calls
wherever they do not fit its own prefix.

    A 10.0.0.0/8, B 10.0.0.5 with tech prefix 77: a call from 10.0.0.5 to 4930… is A's.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any, Final

from configuration.entities.document import Peer, World
from runtime.changing import Connection

MAX_NAMED: Final = 3  # of those under a network, in one warning
_DIFFERING: Final = """
    SELECT name, other_name, host::text, field, value, other_value FROM originators_that_differ
    WHERE name = ANY (%(names)s) ORDER BY name, other_name, field
"""
_OVER: Final = """
    SELECT over.name, over.host::text, over.tech_prefix, under.name, under.host::text,
           count(*) OVER (PARTITION BY over.name)
    FROM peers AS over JOIN peers AS under
      ON network(under.host) << network(over.host) AND under.company_id <> over.company_id AND under.role = over.role
    WHERE over.role = 'originator' AND over.enabled AND masklen(over.host) > 0
      AND (over.name = ANY (%(names)s) OR under.name = ANY (%(names)s))
    ORDER BY over.name, under.name
"""


def originators_of(world: World) -> dict[str, tuple[str, Peer]]:
    """The originators that a file holds, by name: where each stands in it, and what it says."""
    return {
        peer.name: (f"companies[{at}].peers[{place}]", peer)
        for at, company in enumerate(world.companies)
        for place, peer in enumerate(company.peers)
        if peer.role == "originator"
    }


def differing(connection: Connection, originators: Mapping[str, tuple[str, Peer]]) -> list[str]:
    """An error for each of the file's originators that Asterisk cannot tell from another one that differs from it."""
    rows = connection.execute(_DIFFERING, {"names": list(originators)}).fetchall()
    named: set[tuple[str, ...]] = set()
    errors = []
    for name, other, host, field, value, other_value in rows:
        if (other, name, field) in named:  # the same pair from the other side
            continue
        named.add((name, other, field))
        errors.append(
            f"{originators[name][0]}.{field} {value!r}: must be {other_value!r} as of {other!r}, which has the same"
            f" host {_plain(host)} on one node: Asterisk cannot tell them apart by their tech prefixes"
        )
    return errors


def warnings(connection: Connection, originators: Mapping[str, tuple[str, Peer]]) -> list[str]:
    """What of the file's originators may be meant, and may be a mistake."""
    found = [
        f"{path}.host {peer.host!r}: every address that no other originator has is {name!r}, whoever calls from there"
        for name, (path, peer) in originators.items()
        if peer.enabled and peer.host.endswith("/0")
    ]
    rows = connection.execute(_OVER, {"names": list(originators)}).fetchall()
    for over, under in groupby(rows, key=lambda row: row[0]):
        found.append(_overlap(over, list(under), originators))
    return found


def _overlap(over: str, rows: list[tuple[Any, ...]], originators: Mapping[str, tuple[str, Peer]]) -> str:
    _, host, prefix, _, _, count = rows[0]
    others = ", ".join(f"{name!r} ({_plain(address)})" for *_, name, address, _ in rows[:MAX_NAMED])
    more = f" and {count - MAX_NAMED} more" if count > MAX_NAMED else ""
    calls = f"begin with {prefix!r}" if prefix else "do not fit their prefixes"
    those = f"calls from there that {calls} are {over!r}"
    if over in originators:
        path, peer = originators[over]
        return f"{path}.host {peer.host!r}: lies over the addresses of other companies: {others}{more}; {those}"
    path, peer = originators[rows[0][3]]
    return f"{path}.host {peer.host!r}: lies within {_plain(host)} of {over!r}, another company; {those}"


def _plain(host: str) -> str:
    return host.removesuffix("/32") if "." in host else host.removesuffix("/128")
