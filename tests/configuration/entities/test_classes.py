"""Route classes with bases and times, orders and exchange rates: from a file to PostgreSQL to the router's values."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from configuration.load import load
from router.build.rates import next_rate_ms, rates_at
from router.build.reader import read_config
from router.snapshot.config import Config
from runtime.changing import WorldError
from tariffs.order import parse_order
from tariffs.timetable import parse_timetable

pytestmark = pytest.mark.servers

NOW_MS = 1_795_609_900_000
MORE = """
system_currency: EUR
exchange_rates:
  - {currency: USD, effective_from: 2026-01-01T00:00:00Z, rate: 0.92}
  - {currency: USD, effective_from: "2027-01-01T00:00:00+01:00", rate: 0.915}
hunting_classes:
  - {name: Best first, order_by: "route_priority, asr/5 else 45, cost/0.001, random", minimum_sample: 50}
route_classes:
  - name: Daytime
    base: Standard
    time_zone: Europe/Berlin
    timetable: mon-fri 08:00-18:00, sat 22:00-06:00
    active_from: 2026-06-01T00:00:00Z
    entries:
      - {peer: vendor-b, portion: 70, max_concurrent: 20, max_cps: 5, pdd_timeout_seconds: 8, ring_seconds: 40}
      - {peer: vendor-a, portion: 30, huntstop: true, timetable: daily 00:00-12:00, active_until: 2027-01-01T00:00:00Z}
companies:
  - name: Acme
    peers:
      - {name: acme, role: originator, host: 192.0.2.10, pack: Retail, route_class: Daytime, tech_prefix: 0044,
         hunting_class: Best first, minimum_margin_percent: 12.5, target_metric: asr, target_value: 45.5}
"""
Load = Callable[[str], int]


@pytest.fixture
def load_text(world_dsn: str, tmp_path: Path) -> Load:
    """Loads a YAML text over the world of `world_dsn`; how much it changed."""

    def load_it(text: str) -> int:
        path = tmp_path / "next.yaml"
        path.write_text(text, encoding="utf-8")
        return load(world_dsn, path).changed

    return load_it


def config(dsn: str, now_ms: int = NOW_MS) -> Config:
    with psycopg.connect(dsn) as connection:
        return read_config(connection, now_ms)


def test_what_a_file_says_the_router_reads(world_dsn: str, load_text: Load) -> None:
    assert load_text(MORE) > 0
    assert load_text(MORE) == 0
    found = config(world_dsn)
    classes = {one.name: one for one in found.route_classes}
    day, standard = classes["Daytime"], classes["Standard"]
    assert (day.base_class_id, day.timetable, day.time_zone, day.active_from_ms, day.active_until_ms) == (
        standard.route_class_id, "mon-fri 08:00-18:00, sat 22:00-06:00", "Europe/Berlin", 1_780_272_000_000, 0,
    )  # fmt: skip
    names = {peer.peer_id: peer.name for peer in found.peers}
    entries = {names[entry.peer_id]: entry for entry in day.entries}
    b, a = entries["vendor-b"], entries["vendor-a"]
    assert (b.portion, b.max_concurrent, b.max_cps, b.pdd_timeout_seconds, b.ring_seconds, b.huntstop) == (
        70, 20, 5, 8, 40, False,
    )  # fmt: skip
    assert (a.huntstop, a.timetable, a.active_until_ms) == (True, "daily 00:00-12:00", 1_798_761_600_000)
    acme = next(peer for peer in found.peers if peer.name == "acme")
    assert (acme.minimum_margin_ppm, acme.target_metric, acme.target_value_e2) == (125_000, "asr", 4550)
    (hunting,) = found.hunting_classes
    assert acme.hunting_class_id == hunting.hunting_class_id
    assert hunting.minimum_sample == 50


def test_rates_are_those_in_force_and_the_next_one_has_its_moment(world_dsn: str, load_text: Load) -> None:
    load_text(MORE)
    found = config(world_dsn)
    next_ms = 1_798_758_000_000
    assert rates_at(found, NOW_MS) == rates_at(found, next_ms - 1) == {"EUR": (1, 1), "USD": (23, 25)}
    assert next_rate_ms(found, NOW_MS) == next_ms
    assert rates_at(found, next_ms) == {"EUR": (1, 1), "USD": (183, 200)}
    assert next_rate_ms(found, next_ms) is None
    assert rates_at(found, 0) == {"EUR": (1, 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("route_classes: [{name: A, base: B}, {name: B, base: A}]", "base.*falls back to this class again"),
        ("route_classes: [{name: A, base: A}]", "base.*falls back to this class again"),
        ("route_classes: [{name: A, base: None of these}]", "base 'None of these': there is none"),
        ("route_classes: [{name: A, timetable: mon 8-18}]", "route_classes.0..timetable 'mon 8-18': timetable rule"),
        ("route_classes: [{name: A, time_zone: Mars/Base}]", "time_zone 'Mars/Base'"),
        ("route_classes: [{name: A, active_from: 2026-01-01}]", "active_from '2026-01-01': must say its offset"),
        (
            "route_classes: [{name: A, active_from: 2026-01-02T00:00:00Z, active_until: 2026-01-01T00:00:00Z}]",
            "active_until .*: must be after",
        ),
        ("route_classes: [{name: A, entries: [{peer: vendor-a, portion: 101}]}]", "portion 101"),
        ("hunting_classes: [{name: A, order_by: price}]", "order_by 'price': metric 'price': must be one of"),
        ("hunting_classes: [{name: A, order_by: 'cost, cost'}]", "order_by 'cost, cost'.*twice"),
        ("exchange_rates: [{currency: XXX, effective_from: 2026-01-01T00:00:00Z, rate: 1}]", "no such currency"),
        ("exchange_rates: [{currency: EUR, effective_from: 2026-01-01T00:00:00Z, rate: 0}]", "rate '?0'?:"),
        ("system_currency: XXX", "system_currency 'XXX': there is no such currency"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(load_text: Load, text: str, message: str) -> None:
    with pytest.raises(WorldError, match=message):
        load_text(text)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE route_classes SET base_class_id = route_class_id",
        "UPDATE route_classes SET timetable = 'mon 08:00-25:00'",
        "UPDATE route_classes SET time_zone = 'Mars/Base'",
        "UPDATE route_classes SET active_from = 'infinity'",
        "UPDATE route_class_entries SET timetable = 'always'",
        "INSERT INTO hunting_classes (name, order_by) VALUES ('a', 'price')",
        "INSERT INTO hunting_classes (name, order_by) VALUES ('a', '')",
        "INSERT INTO hunting_classes (name, order_by) VALUES ('a', 'cost, asr, cost/2')",
        "INSERT INTO hunting_classes (name, order_by) VALUES ('a', 'random/5')",
        "INSERT INTO hunting_classes (name, order_by) VALUES ('a', 'cost else 5')",
        "UPDATE peers SET target_metric = 'asr'",
        "UPDATE peers SET target_metric = 'asr', target_value = 101 WHERE role = 'originator'",
        "UPDATE currencies SET is_system = true",
        "UPDATE currencies SET is_system = false",
        "INSERT INTO exchange_rates VALUES ('EUR', 'infinity', 1)",
    ],
)
def test_the_database_refuses_what_the_router_could_not_read(world_dsn: str, statement: str) -> None:
    with psycopg.connect(world_dsn, autocommit=True) as connection, pytest.raises(psycopg.IntegrityError):
        connection.execute(statement.encode())


def test_two_changes_at_once_close_no_circle(world_dsn: str) -> None:
    with psycopg.connect(world_dsn, autocommit=True) as one, psycopg.connect(world_dsn, autocommit=True) as other:
        one.execute("INSERT INTO route_classes (name) VALUES ('A'), ('B')")
        one.execute("BEGIN")
        one.execute(
            "UPDATE route_classes SET base_class_id = (SELECT route_class_id FROM route_classes WHERE name = 'B')"
            " WHERE name = 'A'"
        )
        other.execute("SET lock_timeout = '200ms'")
        closing = (
            "UPDATE route_classes SET base_class_id = (SELECT route_class_id FROM route_classes WHERE name = 'A')"
            " WHERE name = 'B'"
        )
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute(closing)
        one.execute("COMMIT")
        with pytest.raises(psycopg.errors.CheckViolation, match="falls back"):
            other.execute(closing)


def test_what_the_database_takes_the_router_reads(world_dsn: str) -> None:
    orders = ["random", "target/0.5 else 40, cost", "asr_code/5 else 45.5, pdd, portion, code_length/2, price_priority"]
    tables = ["", "daily 00:00-24:00", "sun-mon 23:59-00:00, wed 08:00-08:00"]
    with psycopg.connect(world_dsn) as connection:
        for number, order in enumerate(orders):
            connection.execute("INSERT INTO hunting_classes (name, order_by) VALUES (%s, %s)", (str(number), order))
            assert parse_order(order)
        for table in tables:
            connection.execute("UPDATE route_classes SET timetable = %s", (table,))
            assert (parse_timetable(table) is None) is (table == "")
