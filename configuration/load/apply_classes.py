"""Writes the route classes, hunting classes and exchange rates of a world: see apply.py."""

from collections.abc import Mapping
from typing import Any, Final

from psycopg import sql

from configuration.entities.classes import Entry, RouteClass
from configuration.entities.document import World
from configuration.entities.tables import Tables

_ENTRY: Final = (
    "priority", "enabled", "active_from", "active_until", "timetable", "portion", "max_concurrent", "max_cps",
    "pdd_timeout_seconds", "ring_seconds", "huntstop",
)  # fmt: skip


def put_classes(tables: Tables, world: World) -> None:
    """Hunting classes, and route classes with their bases; entries come when the peers are there: put_entries."""
    for index, hunting in enumerate(world.hunting_classes):
        tables.put(f"hunting_classes[{index}]", "hunting_classes", hunting.model_dump())
    same = ("name", "active_from", "active_until", "time_zone", "timetable")
    for index, route_class in enumerate(world.route_classes):
        values = {field: getattr(route_class, field) for field in same}
        tables.put(f"route_classes[{index}]", "route_classes", values)
    # A base that goes first, so that a file may turn two classes round.
    by_base = sorted(enumerate(world.route_classes), key=lambda one: one[1].base is not None)
    for index, route_class in by_base:
        path, base_id = f"route_classes[{index}]", None
        if route_class.base is not None:
            base_id = tables.id_of("route_classes", route_class.base)
            if base_id is None:
                tables.errors.append(f"{path}.base {route_class.base!r}: there is none of that name")
                continue
        tables.put(path, "route_classes", {"name": route_class.name, "base_class_id": base_id})


def put_rates(tables: Tables, world: World) -> None:
    """The system's currency and the exchange rates. A rate of a moment that is there already is changed."""
    if world.system_currency is not None:
        found = tables.connection.execute("SELECT currency FROM currencies WHERE is_system").fetchone()
        if found is None or found[0] != world.system_currency:
            known = tables.connection.execute(
                "SELECT currency FROM currencies WHERE currency = %s", (world.system_currency,)
            ).fetchone()
            if known is None:
                tables.errors.append(f"system_currency {world.system_currency!r}: there is no such currency")
                return
            tables.run("system_currency", sql.SQL("UPDATE currencies SET is_system = false WHERE is_system"), ())
            statement = sql.SQL("UPDATE currencies SET is_system = true WHERE currency = %s")
            tables.run("system_currency", statement, (world.system_currency,))
            tables.written += 1
    for index, rate in enumerate(world.exchange_rates):
        statement = sql.SQL(
            "INSERT INTO exchange_rates (currency, effective_from, rate) VALUES (%s, %s, %s)"
            " ON CONFLICT (currency, effective_from) DO UPDATE SET rate = excluded.rate"
            " WHERE exchange_rates.rate <> excluded.rate RETURNING currency"
        )
        named = rate.model_dump()
        row = tables.run(f"exchange_rates[{index}]", statement, tuple(named.values()), named)
        tables.written += row is not None


def put_entries(tables: Tables, path: str, route_class: RouteClass) -> None:
    """The entries of a route class: those that the world does not list go."""
    class_id = tables.id_of("route_classes", route_class.name)
    if class_id is None:
        return
    wanted: dict[int, tuple[str, Entry]] = {}
    for index, entry in enumerate(route_class.entries):
        peer_id = tables.id_of("peers", entry.peer)
        if peer_id is None:
            tables.errors.append(f"{path}.entries[{index}].peer {entry.peer!r}: there is none of that name")
        else:
            wanted[peer_id] = (f"{path}.entries[{index}]", entry)
    columns = sql.SQL(", ").join(map(sql.Identifier, _ENTRY))
    select = sql.SQL("SELECT peer_id, {} FROM route_class_entries WHERE route_class_id = %s").format(columns)
    there = {peer_id: values for peer_id, *values in tables.connection.execute(select, (class_id,)).fetchall()}
    for peer_id in sorted(there.keys() - wanted.keys()):
        statement = sql.SQL("DELETE FROM route_class_entries WHERE route_class_id = %s AND peer_id = %s")
        tables.run(path, statement, (class_id, peer_id))
        tables.written += 1
    for peer_id, (entry_path, entry) in wanted.items():
        values = {field: getattr(entry, field) for field in _ENTRY}
        if there.get(peer_id) != list(values.values()):
            _put_entry(tables, entry_path, (class_id, peer_id), entry, values)


def _put_entry(tables: Tables, path: str, key: tuple[int, int], entry: Entry, values: Mapping[str, Any]) -> None:
    statement = sql.SQL(
        "INSERT INTO route_class_entries (route_class_id, peer_id, {}) VALUES ({})"
        " ON CONFLICT (route_class_id, peer_id) DO UPDATE SET {}"
    ).format(
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join([sql.Placeholder()] * (len(key) + len(values))),
        sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in values),
    )
    tables.run(f"{path}.peer {entry.peer!r}", statement, (*key, *values.values()))
    tables.written += 1
