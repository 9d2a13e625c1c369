"""Writes a World into PostgreSQL: by name, in an order in which everything finds what it refers to, idempotent.

Only what differs is written. Nothing is deleted but entries of route classes, nodes and code limits of peers that the
world lists anew. Accounts keep company, kind and currency, packs their currency, peers their role: money refers to
them.
"""

import ipaddress
from typing import Any, Final, NamedTuple

from psycopg import sql

from configuration.entities.code_limits import put_code_limits
from configuration.entities.controls import put_controls
from configuration.entities.countries import destinations
from configuration.entities.document import Account, Company, Peer, World
from configuration.entities.lookups import LOOKED, put_dids, put_lookups
from configuration.entities.tables import Tables
from configuration.load.apply_classes import put_classes, put_entries, put_rates
from configuration.load.number_rules import put_number_rules, put_pools
from configuration.load.originators import differing, originators_of
from configuration.load.release import put_release_table
from configuration.load.transports import without_transport
from runtime.changing import Connection

# What a peer may name, and need not: column, field, table.
_NAMED: Final = {
    "route_class_id": ("route_class", "route_classes"),
    "hunting_class_id": ("hunting_class", "hunting_classes"),
    "release_table_id": ("release_table", "release_tables"),
    "lookup_id": ("lookup", "lookups"),
}


class Applied(NamedTuple):
    """`written`: rows inserted or changed. `errors`, by field: the caller rolls back. `notes`: what should be known."""

    written: int
    errors: list[str]
    notes: list[str]


def apply(connection: Connection, world: World) -> Applied:
    """Write the world."""
    tables = Tables(connection)
    tables.written += _put_destinations(connection)
    for name in world.nodes:
        tables.put("nodes", "nodes", {"name": name})
    _put_packs(tables, world)
    for index, table in enumerate(world.release_tables):
        put_release_table(tables, f"release_tables[{index}]", table)
    put_lookups(tables, world.lookups, world.mobile_networks)
    put_rates(tables, world)
    put_classes(tables, world)
    for index, company in enumerate(world.companies):
        _put_company(tables, f"companies[{index}]", company)
    for index, route_class in enumerate(world.route_classes):
        put_entries(tables, f"route_classes[{index}]", route_class)
    put_dids(tables, world.dids)
    put_controls(tables, world.termination_controls, world.origination_controls)
    put_pools(tables, world)
    put_number_rules(tables, world)
    tables.errors += differing(connection, originators_of(world))
    tables.errors += without_transport(connection, world)
    return Applied(tables.written, tables.errors, tables.notes)


def _put_destinations(connection: Connection) -> int:
    """The numbering plan of the world, where it is not there yet: what a user has named otherwise stays."""
    there = {row[0] for row in connection.execute("SELECT code FROM destinations").fetchall()}
    missing = [destination for destination in destinations() if destination.code not in there]
    if missing:
        statement = "COPY destinations (code, country, name, kind) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for destination in missing:
                copy.write_row(destination)
    return len(missing)


def _put_packs(tables: Tables, world: World) -> None:
    for index, pack in enumerate(world.packs):
        minimum, increment, free = pack.seconds
        values = {
            "name": pack.name,
            "currency": pack.currency,
            "minimum_seconds": minimum,
            "increment_seconds": increment,
            "free_seconds": free,
            "connect_fee": pack.connect_fee,
            "rounding_decimals": pack.rounding_decimals,
            "duration_rounding": pack.duration_rounding,
            "time_zone": pack.time_zone,
            "allow_free_codes": pack.allow_free_codes,
        }
        tables.put(f"packs[{index}]", "billing_packs", values, ("currency",))


def _put_company(tables: Tables, path: str, company: Company) -> None:
    company_id = tables.put(
        path, "companies", {"name": company.name, "country": company.country, "enabled": company.enabled}
    )
    if company_id is None:
        return
    for index, account in enumerate(company.accounts):
        _put_account(tables, f"{path}.accounts[{index}]", company_id, account)
    for index, peer in enumerate(company.peers):
        _put_peer(tables, f"{path}.peers[{index}]", company_id, peer)


def _put_account(tables: Tables, path: str, company_id: int, account: Account) -> None:
    values = {
        "name": account.name,
        "company_id": company_id,
        "kind": account.kind,
        "currency": account.currency,
        "payment": account.payment,
        "credit_limit": account.credit_limit,
        "when_database_away": account.when_database_away,
        "hold": account.hold,
    }
    tables.put(path, "accounts", values, ("company_id", "kind", "currency"))


def _put_peer(tables: Tables, path: str, company_id: int, peer: Peer) -> None:
    account_id = _account_of(tables, path, company_id, peer)
    pack_id = _needed(tables, path, "pack", "billing_packs", peer.pack)
    node_ids = [_needed(tables, path, f"nodes[{at}]", "nodes", node) for at, node in enumerate(peer.nodes)]
    named = {
        column: _needed(tables, path, field, table, getattr(peer, field)) if getattr(peer, field) else None
        for column, (field, table) in _NAMED.items()
    }
    lacks = any(getattr(peer, _NAMED[column][0]) and key is None for column, key in named.items())
    if account_id is None or pack_id is None or None in node_ids or lacks:
        return
    deck_id = tables.id_of("decks", peer.deck)
    if deck_id is None:
        deck_id = tables.put(f"{path}.deck", "decks", {"name": peer.deck})
    same = ("name", "role", "enabled", "endpoint", "port", "tech_prefix", "max_concurrent", "max_cps")
    more = ("max_call_seconds", "profit", "minimum_margin", "ring_seconds", "allow_special", "codecs")
    media = ("rtp_timeout_seconds", "rtp_timeout_hold_seconds")
    hunt = ("huntstop", "pdd_timeout_seconds", "max_setup_seconds", "ringback", "probe")
    ordered = ("priority", "minimum_margin_percent", "target_metric", "target_value")
    numbers = ("country_code", "national_prefix", "trusted", "pass_diversion", "anonymous")
    fields = same + more + media + hunt + ordered + numbers + LOOKED
    values: dict[str, Any] = {field: getattr(peer, field) for field in fields}
    host = ipaddress.ip_interface(peer.host) if "/" in peer.host else ipaddress.ip_address(peer.host)
    values |= {"host": host, "company_id": company_id, "account_id": account_id, "pack_id": pack_id}
    values |= {"deck_id": deck_id, **named}
    peer_id = tables.put(path, "peers", values, ("company_id", "role"))
    if peer_id is not None:
        _put_nodes(tables, path, peer_id, {node_id for node_id in node_ids if node_id is not None})
        put_code_limits(tables, path, peer_id, peer.code_limits)


def _account_of(tables: Tables, path: str, company_id: int, peer: Peer) -> int | None:
    if peer.account is not None:
        return _needed(tables, path, "account", "accounts", peer.account)
    kind = "customer" if peer.role == "originator" else "vendor"
    rows = tables.connection.execute(
        "SELECT account_id FROM accounts WHERE company_id = %s AND kind = %s", (company_id, kind)
    ).fetchall()
    if len(rows) == 1:
        return int(rows[0][0])
    has = "several" if rows else "no"
    tables.errors.append(f"{path}.account: the company has {has} {kind} accounts, so the peer must name its account")
    return None


def _needed(tables: Tables, path: str, field: str, table: str, name: str) -> int | None:
    key = tables.id_of(table, name)
    if key is None:
        tables.errors.append(f"{path}.{field} {name!r}: there is none of that name")
    return key


def _put_nodes(tables: Tables, path: str, peer_id: int, node_ids: set[int]) -> None:
    rows = tables.connection.execute("SELECT node_id FROM peer_nodes WHERE peer_id = %s", (peer_id,)).fetchall()
    there = {row[0] for row in rows}
    for node_id in sorted(there - node_ids):
        tables.run(path, sql.SQL("DELETE FROM peer_nodes WHERE peer_id = %s AND node_id = %s"), (peer_id, node_id))
    for node_id in sorted(node_ids - there):
        tables.run(path, sql.SQL("INSERT INTO peer_nodes (peer_id, node_id) VALUES (%s, %s)"), (peer_id, node_id))
    tables.written += len(there ^ node_ids)
