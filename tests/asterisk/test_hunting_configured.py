"""The whole way of a hunt's rules: PostgreSQL, snapshot, the real router, the real Asterisk."""

import asyncio
import itertools
import socket
import time
from collections.abc import Iterator

import psycopg
import pytest
from agi_client import ask, header
from hunt_calls import ANY_END
from real_calls import Seen, until
from real_line import CALLER, PREFIX, RICH, SHORT_CALLS, Line

from router.server.reach import LOOK_SECONDS
from simulator.sipp import scenarios
from streams.folds.rating import rate_leg

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
    INSERT INTO lookups (lookup_id, name, kind, url, answer_field, codes, timeout_ms)
        VALUES (901, 'silent', 'lrn', 'http://127.0.0.1:{port}/{{number}}', 'lrn', '{{99921}}', 800);
    UPDATE peers SET lookup_id = 901 WHERE name IN ('sipp-customer-1', 'sipp-customer-5');
"""
BACK = """
    UPDATE route_class_entries SET pdd_timeout_seconds = 0;
    UPDATE peers SET release_table_id = NULL, huntstop = false, pdd_timeout_seconds = 0, max_setup_seconds = 120,
        ringback = 'pass', lookup_id = NULL WHERE name LIKE 'sipp-%';
    UPDATE peers SET ring_seconds = 2 WHERE name = 'sipp-vendor-5';
    DELETE FROM lookups WHERE lookup_id = 901;
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
# Callers who have gone before the look-up's time is over, and so before the router's answer: number, whose call it is.
GONE_AFTER_MS = 200
GONE = {
    "gone": ("999210000010", "sipp-customer-1"),
    "gone, with a tech prefix": (f"{PREFIX}999210000010", "sipp-customer-5"),
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def called(own_line: Line) -> Iterator[dict[str, Seen]]:
    """What became of them, with a configuration that is put back afterwards."""
    if own_line.node.poll() is not None:
        own_line.start_node()
    own_line.await_node()
    # The look-up's service takes connections, and says nothing.
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        psycopg.connect(own_line.dsn, autocommit=True) as connection,
    ):
        try:
            connection.execute("DELETE FROM vendor_reachability")  # what an agent that was here has reported
            time.sleep(2 * LOOK_SECONDS)
            connection.execute(CHANGES.format(port=silent.getsockname()[1]).encode())
            until(lambda: said(own_line, "999270000010").get("ROUTE_1_PDD") == "4", "the router knows the new rules")
            placed = {
                name: own_line.call(f"configured-{at}", number, ANY_END, host)
                for at, (name, (number, host, *_)) in enumerate(CALLS.items())
            }
            placed |= {
                name: own_line.call(f"gone-{at}", number, scenarios.caller_gives_up_unheard(CALLER, GONE_AFTER_MS))
                for at, (name, (number, _)) in enumerate(GONE.items())
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


@pytest.mark.parametrize("name", GONE)
def test_whose_call_it_was_is_known_of_a_caller_who_had_gone_before_the_answer(
    called: dict[str, Seen], own_line: Line, name: str
) -> None:
    ended = called[name].call.ended
    assert called[name].finals == [200, 487]
    assert (ended.cause, ended.dial_status, ended.release_side) == (16, "CANCEL", "caller")
    assert (ended.legs, ended.reason, rate_leg(ended).amount_micros) == (0, "", 0)
    with psycopg.connect(own_line.dsn) as connection:
        query = "SELECT peer_id, account_id FROM peers WHERE name = %s"
        customer = connection.execute(query, (GONE[name][1],)).fetchone()
        held = connection.execute("SELECT count(*) FROM holds WHERE call_id = %s", (ended.call_id,)).fetchone()
    assert ended.facts is not None
    assert (ended.facts.customer_peer_id, ended.facts.account_id) == customer
    assert ended.facts.callee == "999210000010"
    assert held == (0,)
