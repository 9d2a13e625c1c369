"""The whole way of a hunt's rules: PostgreSQL, snapshot, the real router, the real Asterisk."""

import asyncio
import itertools
from collections.abc import Iterator

import psycopg
import pytest
from agi_client import ask, header
from hunt_calls import ANY_END
from real_calls import Seen, until
from real_line import CALLER, RICH, SHORT_CALLS, Line

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
CHANGES = """
    INSERT INTO release_tables (release_table_id, name) VALUES (901, 'busy is not the end'), (902, 'an end of its own');
    INSERT INTO release_rules (release_table_id, kind, code, action, caller_cause)
        VALUES (901, 'cause', 17, 'continue', NULL), (902, 'sip', 503, 'stop', 17);
    UPDATE peers SET release_table_id = 901 WHERE name = 'sipp-vendor-3';
    UPDATE peers SET release_table_id = 902 WHERE name = 'sipp-vendor-1';
    UPDATE peers SET huntstop = true WHERE name = 'sipp-vendor-4';
    UPDATE peers SET ring_seconds = 10, pdd_timeout_seconds = 3 WHERE name = 'sipp-vendor-5';
    UPDATE route_class_entries SET pdd_timeout_seconds = 4 FROM peers
        WHERE peers.peer_id = route_class_entries.peer_id AND peers.name = 'sipp-vendor-5';
    UPDATE peers SET max_setup_seconds = 2 WHERE name IN ('sipp-customer-1', 'sipp-customer-4');
    UPDATE peers SET ringback = 'generate' WHERE name = 'sipp-customer-4';
"""
BACK = """
    UPDATE route_class_entries SET pdd_timeout_seconds = 0;
    UPDATE peers SET release_table_id = NULL, huntstop = false, pdd_timeout_seconds = 0, max_setup_seconds = 120,
        ringback = 'pass' WHERE name LIKE 'sipp-%';
    UPDATE peers SET ring_seconds = 2 WHERE name = 'sipp-vendor-5';
    DELETE FROM release_tables WHERE release_table_id IN (901, 902);
"""
# number, from, the leg's SIP codes (or causes), what the caller hears, the call's reason
CALLS = {
    "busy, and on": ("999230000010", RICH, [486, 200], 200, ""),
    "a vendor's own end": ("999220000010", RICH, [503], 486, ""),
    "huntstop": ("999250000010", RICH, [3], 503, ""),
    "set-up over": ("999270000010", RICH, [0], 480, "SETUP TIME OVER"),
    "own ring-back": ("999270000010", SHORT_CALLS, [0], 480, "SETUP TIME OVER"),
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def called(own_line: Line) -> Iterator[dict[str, Seen]]:
    """What became of them, with a configuration that is put back afterwards."""
    if own_line.node.poll() is not None:
        own_line.start_node()
    own_line.await_node()
    with psycopg.connect(own_line.dsn, autocommit=True) as connection:
        try:
            connection.execute(CHANGES.encode())
            until(lambda: said(own_line, "999270000010").get("ROUTE_1_PDD") == "4", "the router knows the new rules")
            placed = {
                name: own_line.call(f"configured-{at}", number, ANY_END, host)
                for at, (name, (number, host, *_)) in enumerate(CALLS.items())
            }
            for one in placed.values():
                one.wait()
            calls = own_line.calls_of([one.address for one in placed.values()])
            yield {name: Seen(one, calls[one.address]) for name, one in placed.items()}
        finally:
            connection.execute(BACK.encode())
            until(lambda: "ROUTE_1_PDD" not in said(own_line, "999270000010"), "the router knows the old rules")


def said(line: Line, callee: str) -> dict[str, str]:
    """What the router says of a call of the rich customer."""
    call_id = f"ast1-1795600000-1795609900.{next(_numbers)}"
    answer = asyncio.run(ask(line.router_port, header(call_id, "c-sipp-customer-1", f"{RICH}:5060", callee, CALLER)))
    return answer or {}


@pytest.mark.parametrize("name", CALLS)
def test_a_configured_hunt(called: dict[str, Seen], name: str) -> None:
    seen = called[name]
    _, _, legs, code, reason = CALLS[name]
    assert [leg.sip_code or leg.cause for leg in seen.call.legs] == legs
    assert (seen.code, seen.call.ended.reason) == (code, reason)


def test_ring_back_is_the_customers(called: dict[str, Seen]) -> None:
    assert called["set-up over"].progress == [183]
    assert set(called["own ring-back"].progress) == {180}
