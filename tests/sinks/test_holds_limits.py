"""Limits in PostgreSQL: what admission counts, what a silent node's calls are, and how shares are given out."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from small_world import SmallWorld, make_small_world

from sinks.holds import CallLimit, Hold, Outcome, Terms, admit, uncount_missing

pytestmark = pytest.mark.servers
NODE = "ast1"


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def world(connection: psycopg.Connection[Any]) -> SmallWorld:
    return make_small_world(connection, credit_limit=1_000)  # type: ignore[arg-type]


def admitted(dsn: str, world: SmallWorld, number: int, *limits: CallLimit) -> Outcome:
    start_ms = 1_795_609_900_000
    hold = Hold(
        f"{NODE}-1795609861-1795609900.{number}", NODE, world.originator, world.customer_account, 60, 1, 60,
        Terms(6_000_000, 0, 0, 1, 6), limits, start_ms, start_ms + 10**12,
    )  # fmt: skip

    async def ask() -> Outcome:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            return (await admit(connection, hold)).outcome

    return asyncio.run(ask())


def counters(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, int]]:
    rows = connection.execute("SELECT limit_key, concurrent, in_second FROM limit_counters").fetchall()
    return {key: (concurrent, in_second) for key, concurrent, in_second in rows}


def test_a_call_counts_in_all_its_limits_or_in_none(
    connection: psycopg.Connection[Any], postgres_dsn: str, world: SmallWorld
) -> None:
    peer, code = f"p{world.originator}", f"c{world.originator}-44"
    for number in (1, 2):
        outcome = admitted(postgres_dsn, world, number, CallLimit(code, 5, 0), CallLimit(peer, 2, 0))
        assert outcome is Outcome.ADMITTED
    # The code has room and is counted first; the peer has none.
    assert admitted(postgres_dsn, world, 3, CallLimit(code, 5, 0), CallLimit(peer, 2, 0)) is Outcome.LIMIT
    assert counters(connection) == {code: (2, 2), peer: (2, 2)}
    assert admitted(postgres_dsn, world, 4, CallLimit(code, 5, 2), CallLimit(peer, 0, 0)) is Outcome.LIMIT
    assert counters(connection) == {code: (2, 2), peer: (2, 2)}
    connection.execute("SELECT release_holds(ARRAY(SELECT call_id FROM holds))")
    assert counters(connection) == {code: (0, 2), peer: (0, 2)}


def test_a_silent_nodes_calls_do_not_count_until_they_are_seen_again(
    connection: psycopg.Connection[Any], postgres_dsn: str, world: SmallWorld
) -> None:
    peer = f"p{world.originator}"
    assert admitted(postgres_dsn, world, 1, CallLimit(peer, 1, 0)) is Outcome.ADMITTED
    connection.execute("INSERT INTO nodes (name, last_seen_at) VALUES (%s, now() - interval '8 seconds')", (NODE,))

    def silent() -> int:
        row = connection.execute("SELECT uncount_silent('9 seconds')").fetchone()
        assert row is not None
        return int(row[0])

    assert silent() == 0
    connection.execute("UPDATE nodes SET last_seen_at = now() - interval '10 seconds'")
    connection.execute("INSERT INTO limit_nodes VALUES (%s, now())", (NODE,))  # its shares are renewed: it lives
    assert silent() == 0
    connection.execute("UPDATE limit_nodes SET reported_at = now() - interval '10 seconds'")
    assert silent() == 1
    assert counters(connection)[peer][0] == 0
    # The node is there again, and so is the call.
    in_a_while_ms = 4_102_444_800_000
    call_id = f"{NODE}-1795609861-1795609900.1"
    assert uncount_missing(connection, NODE, [call_id], in_a_while_ms) == 0
    assert counters(connection)[peer][0] == 1
    assert uncount_missing(connection, NODE, [], in_a_while_ms) == 1
    assert counters(connection)[peer][0] == 0


def leased(connection: psycopg.Connection[Any], node: str, **reported: int) -> tuple[int | None, int | None] | None:
    """The shares of the one limit of the world; None: no row."""
    report = {"used": 0, "concurrent": 0, "cps": 0, "concurrent_wanted": 0, "cps_wanted": 0, "refused": 0}
    key = connection.execute("SELECT limit_key FROM limits").fetchone()
    assert key is not None
    text = json.dumps([{**report, **reported, "limit_key": key[0]}])
    rows = connection.execute("SELECT * FROM lease_limits(%s, %s, %s, '9 seconds')", (node, node, text)).fetchall()
    return (rows[0][1], rows[0][2]) if rows else None


def test_shares_follow_what_is_wanted_and_never_are_more_than_the_limit(
    connection: psycopg.Connection[Any], world: SmallWorld
) -> None:
    connection.execute("UPDATE peers SET max_concurrent = 10 WHERE peer_id = %s", (world.terminator,))
    assert leased(connection, "ast1") is None  # an agent that does not hold the node's name
    connection.execute("INSERT INTO nodes (name, agent_id) VALUES ('ast1', 'ast1'), ('ast2', 'ast2')")
    assert leased(connection, "ast1") == (10, None)  # alone: all of it
    assert leased(connection, "ast2") == (0, None)  # nothing yet: the other holds it
    assert leased(connection, "ast1", concurrent=10) == (5, None)  # told to lower, and still holding
    assert leased(connection, "ast2") == (0, None)
    assert leased(connection, "ast1", concurrent=5) == (5, None)
    assert leased(connection, "ast2") == (5, None)
    # ast2 wants more; what ast1 uses it keeps, what it does not use goes over when it has reported it.
    assert leased(connection, "ast1", concurrent=5, used=2, concurrent_wanted=2) == (5, None)  # as far as there is room
    assert leased(connection, "ast2", concurrent=5, used=5, concurrent_wanted=8) == (5, None)
    assert leased(connection, "ast1", concurrent=5, used=2, concurrent_wanted=2) == (2, None)
    assert leased(connection, "ast1", concurrent=2, used=2, concurrent_wanted=2) == (2, None)
    assert leased(connection, "ast2", concurrent=5, used=5, concurrent_wanted=8) == (8, None)
    row = connection.execute("SELECT used, max_concurrent, nodes -> 'ast2' ->> 'concurrent_share' FROM limits_now")
    assert row.fetchone() == (7, 10, "8")
    # A node that is silent has none any more.
    connection.execute("UPDATE limit_nodes SET reported_at = reported_at - interval '10 seconds' WHERE node = 'ast1'")
    assert leased(connection, "ast2", concurrent=8, used=8, concurrent_wanted=8) == (10, None)
    assert leased(connection, "ast1", concurrent=2, used=2, concurrent_wanted=2) == (0, None)


def test_what_asterisk_was_told_before_its_node_was_forgotten_holds_nothing(
    connection: psycopg.Connection[Any], world: SmallWorld
) -> None:
    connection.execute("UPDATE peers SET max_concurrent = 4, max_cps = 1 WHERE peer_id = %s", (world.terminator,))
    connection.execute("INSERT INTO nodes (name, agent_id) VALUES ('ast1', 'ast1'), ('ast2', 'ast2')")
    assert leased(connection, "ast1") == (4, 1)
    connection.execute("UPDATE limit_nodes SET reported_at = reported_at - interval '10 seconds' WHERE node = 'ast1'")
    assert leased(connection, "ast2", concurrent_wanted=4) == (4, 1)
    # It is back, and is cut off before it could tell its Asterisk that it has nothing: twice.
    for _ in range(2):
        assert leased(connection, "ast1", concurrent=4, cps=1) == (0, 0)
        row = connection.execute("SELECT sum(concurrent_held), sum(cps_held) FROM limit_leases").fetchone()
        assert row == (4, 1)


def test_calls_per_second_go_to_who_wants_them_in_whole_units(
    connection: psycopg.Connection[Any], world: SmallWorld
) -> None:
    connection.execute("UPDATE peers SET max_cps = 1 WHERE peer_id = %s", (world.terminator,))
    connection.execute("INSERT INTO nodes (name, agent_id) VALUES ('ast1', 'ast1'), ('ast2', 'ast2')")
    assert leased(connection, "ast1") == (None, 1)
    assert leased(connection, "ast2", cps_wanted=3) == (None, 0)
    assert leased(connection, "ast1", cps=1) == (None, 0)
    assert leased(connection, "ast1") == (None, 0)
    assert leased(connection, "ast2", cps_wanted=3) == (None, 1)


def test_a_peer_that_goes_takes_its_counters_with_it(connection: psycopg.Connection[Any], world: SmallWorld) -> None:
    connection.execute(
        "INSERT INTO limit_counters (limit_key) VALUES ('p' || %(peer)s), ('c' || %(peer)s || '-44'), ('p999')",
        {"peer": world.originator},
    )
    connection.execute("DELETE FROM peers WHERE peer_id = %s", (world.originator,))
    assert set(counters(connection)) == {"p999"}
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("INSERT INTO code_limits VALUES (%s, '44', 0, 0)", (world.terminator,))
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("INSERT INTO code_limits VALUES (%s, '+44', 1, 0)", (world.terminator,))
