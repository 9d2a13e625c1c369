"""Vendors' reachability on the real PostgreSQL: reported, read by routers, and tried by one of them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from small_world import make_small_world

from router.server.reachability import SKIP_MS
from sinks.reachability import (
    SKIPPED,
    TRY,
    Report,
    Skipped,
    known_of_node,
    list_reachability,
    report,
    report_probes,
    vendors,
)

pytestmark = pytest.mark.servers


@pytest.fixture
def connection(postgres_dsn: str) -> Any:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def vendor(connection: psycopg.Connection[Any]) -> int:
    """A vendor, on a node that was heard of just now."""
    connection.execute("INSERT INTO nodes (name, last_seen_at) VALUES ('ast1', now())")
    return make_small_world(connection).terminator


def skipped(connection: psycopg.Connection[Any]) -> list[Skipped]:
    return [Skipped(*row) for row in connection.execute(SKIPPED.encode()).fetchall()]


def states(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    return [(one.node, one.state) for one in list_reachability(connection, 10)]


def test_a_skip_is_read_by_routers_and_ends_with_a_response(connection: psycopg.Connection[Any], vendor: int) -> None:
    assert vendor in [one.peer_id for one in vendors(connection)]
    report(connection, "ast1", [Report(vendor, 2, 100, None, None)])
    assert (skipped(connection), states(connection)) == ([], [("ast1", "silent")])
    report(connection, "ast1", [Report(vendor, 3, 0, None, SKIP_MS)])
    (one,) = skipped(connection)
    assert (one.node, one.peer_id, one.silent_invites, one.probed) == ("ast1", vendor, 3, False)
    assert one.skip_ms is not None
    assert SKIP_MS - 5_000 < one.skip_ms <= SKIP_MS
    assert states(connection) == [("ast1", "skipped")]
    (known,) = known_of_node(connection, "ast1")
    assert (known.peer_id, known.silent_invites) == (vendor, 3)
    report(connection, "ast1", [Report(vendor, 0, None, 0, None)])
    assert (skipped(connection), states(connection)) == ([], [("ast1", "reachable")])


def test_one_of_many_routers_gets_the_try(connection: psycopg.Connection[Any], vendor: int, postgres_dsn: str) -> None:
    report(connection, "ast1", [Report(vendor, 3, 0, None, -1)])
    (due,) = skipped(connection)
    assert states(connection) == [("ast1", "due")]
    values = {"node": "ast1", "peer_id": vendor, "skip_until": due.skip_until, "skip_ms": SKIP_MS}

    def take(_: int) -> int:
        with psycopg.connect(postgres_dsn, autocommit=True) as own:
            return own.execute(TRY.encode(), values).rowcount

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(16))) == 1
    assert states(connection) == [("ast1", "skipped")]
    # The agent, which knows of no try, does not shorten it.
    report(connection, "ast1", [Report(vendor, 4, 0, None, 1_000)])
    assert (skipped(connection)[0].skip_ms or 0) > SKIP_MS - 5_000


def test_a_skip_is_not_tried_before_its_time(connection: psycopg.Connection[Any], vendor: int) -> None:
    report(connection, "ast1", [Report(vendor, 3, 0, None, SKIP_MS)])
    (one,) = skipped(connection)
    values = {"node": "ast1", "peer_id": vendor, "skip_until": one.skip_until, "skip_ms": SKIP_MS}
    assert connection.execute(TRY.encode(), values).rowcount == 0


def probe(connection: psycopg.Connection[Any], vendor: int, wanted: bool) -> None:
    connection.execute("UPDATE peers SET probe = %s WHERE peer_id = %s", (wanted, vendor))


def test_what_probes_have_shown_does_not_count_of_a_vendor_that_is_not_probed_any_more(
    connection: psycopg.Connection[Any], vendor: int
) -> None:
    """Its agent may have been away when the setting was changed."""
    probe(connection, vendor, True)
    report_probes(connection, "ast1", [(vendor, "unreachable")])
    assert len(skipped(connection)) == 1
    probe(connection, vendor, False)
    assert (skipped(connection), states(connection)) == ([], [("ast1", "unknown")])
    assert list_reachability(connection, 10, only_bad=True) == []


def test_probes_and_their_age(connection: psycopg.Connection[Any], vendor: int) -> None:
    probe(connection, vendor, True)
    report_probes(connection, "ast1", [(vendor, "unreachable")])
    assert [(one.peer_id, one.skip_ms, one.probed) for one in skipped(connection)] == [(vendor, None, True)]
    (first,) = list_reachability(connection, 10, node="ast1", only_bad=True)
    assert (first.state, first.probe) == ("unreachable", "unreachable")
    assert first.age_seconds is not None
    assert first.age_seconds < 5
    report_probes(connection, "ast1", [(vendor, "unreachable")])
    (again,) = list_reachability(connection, 10)
    assert again.probe_since == first.probe_since
    report_probes(connection, "ast1", [(vendor, "reachable")])
    assert (skipped(connection), states(connection)) == ([], [("ast1", "reachable")])
    assert list_reachability(connection, 10, only_bad=True) == []
    report_probes(connection, "ast1", [(vendor, None)])
    assert states(connection) == [("ast1", "unknown")]


def test_a_node_that_is_silent_knows_nothing(connection: psycopg.Connection[Any], vendor: int) -> None:
    report(connection, "ast1", [Report(vendor, 3, 0, None, SKIP_MS)])
    connection.execute("UPDATE nodes SET last_seen_at = now() - interval '16 seconds'")
    assert (skipped(connection), states(connection)) == ([], [("ast1", "unknown")])


def test_a_vendor_that_is_gone_is_no_error(connection: psycopg.Connection[Any], vendor: int) -> None:
    report(connection, "ast1", [Report(vendor + 999, 3, 0, None, SKIP_MS), Report(vendor, 1, 0, None, None)])
    report_probes(connection, "ast1", [(vendor + 999, "reachable")])
    assert states(connection) == [("ast1", "silent")]


def test_only_terminators_are_probed(connection: psycopg.Connection[Any], vendor: int) -> None:
    connection.execute("UPDATE peers SET probe = true WHERE peer_id = %s", (vendor,))
    with pytest.raises(psycopg.errors.CheckViolation, match="peers_probe_check"):
        connection.execute("UPDATE peers SET probe = true WHERE role = 'originator'")
