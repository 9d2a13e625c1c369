"""Which snapshot answers a question, with PostgreSQL there and away; and the limits of now, read and never counted."""

import time
from pathlib import Path

import psycopg
import pytest
from check_world import load_check_world
from pydantic import SecretStr

from router.build.builder import Builder
from router.check import (
    Checked,
    CheckSettings,
    MomentSnapshots,
    Question,
    Room,
    SnapshotAwayError,
    check,
    connect_to_read,
    read_reached,
    read_room,
)
from router.core import World
from router.settings import SnapshotSettings
from runtime.connections import Postgres
from sinks.reachability import Report, report, report_probes

pytestmark = pytest.mark.servers
AWAY = Postgres(dsn=SecretStr("postgresql://127.0.0.1:9/none"))
BOUNDARY_MS = 1_893_456_000_000  # 2030-01-01, when a price of vendor-a changes


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def settings(postgres: Postgres, directory: Path) -> CheckSettings:
    return CheckSettings(
        live=SnapshotSettings(postgres=postgres, directory=directory / "live"), directory=directory / "check"
    )


@pytest.fixture
def loaded(postgres: Postgres, tmp_path: Path) -> Postgres:
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    return postgres


def publish(postgres: Postgres, told: CheckSettings) -> None:
    """What a router's builder does."""
    with psycopg.connect(postgres.dsn.get_secret_value(), autocommit=True) as connection:
        Builder(told.live, now_ms).step(connection)


def test_the_routers_own_snapshot_answers_what_it_covers(loaded: Postgres, tmp_path: Path) -> None:
    told = settings(loaded, tmp_path)
    publish(loaded, told)
    moments = MomentSnapshots(told)
    assert moments.at(None, now_ms()).source == "live"
    assert moments.at(BOUNDARY_MS - 1, now_ms()).source == "live"  # no price comes into force until then
    assert not (tmp_path / "check").exists()
    assert moments.at(BOUNDARY_MS, now_ms()).source == "built"
    assert moments.at(now_ms() - 3_600_000, now_ms()).source == "built"


def test_with_postgresql_away_the_routers_own_still_answers(loaded: Postgres, tmp_path: Path) -> None:
    publish(loaded, settings(loaded, tmp_path))
    moments = MomentSnapshots(settings(AWAY, tmp_path))
    assert moments.at(None, now_ms()).source == "live"
    with pytest.raises(SnapshotAwayError, match="PostgreSQL does not answer"):
        moments.at(BOUNDARY_MS, now_ms())


def test_a_snapshot_that_cannot_be_read_is_built_anew(loaded: Postgres, tmp_path: Path) -> None:
    told = settings(loaded, tmp_path)
    publish(loaded, told)
    (tmp_path / "live" / "generation").write_text("{ not a pointer")
    assert MomentSnapshots(told).at(None, now_ms()).source == "built"


def test_a_full_limit_counts_on_its_node_and_now(loaded: Postgres, tmp_path: Path) -> None:
    with psycopg.connect(loaded.dsn.get_secret_value()) as connection:
        connection.execute("UPDATE peers SET max_concurrent = 5 WHERE name ~ '^vendor-[abc]$'")
    told = settings(loaded, tmp_path)
    publish(loaded, told)
    found = MomentSnapshots(told).at(None, now_ms())
    ids = {peer.name: peer.peer_id for peer in found.snapshot.config.peers}
    with psycopg.connect(loaded.dsn.get_secret_value()) as connection:
        connection.execute("INSERT INTO limit_nodes (node, reported_at) VALUES ('ast1', clock_timestamp())")
        connection.execute(
            "INSERT INTO limit_leases (limit_key, node, concurrent_share, concurrent_wanted, cps_wanted, used)"
            " VALUES (%s, 'ast1', 5, 5, 0, 5)",
            (f"p{ids['vendor-a']}",),
        )

    def verdicts(node: str, at_ms: int | None = None) -> tuple[str, dict[str, str]]:
        question = Question("acme", "442071234567", at_ms=at_ms, node=node)
        room = read_room(lambda: connect_to_read(loaded), question)
        answer = check(
            World(found.snapshot, full=room.full, closed=room.closed), question, now_ms(),
            expected_seconds=180, source=found.source, quality="unknown", limits=room.known,
        )  # fmt: skip
        return answer.limits, {one.vendor: one.verdict for one in answer.decision.candidates}

    free = {"vendor-a": "TAKEN", "vendor-b": "TAKEN", "vendor-c": "TAKEN"}
    assert verdicts("ast1") == ("read", {**free, "vendor-a": "LIMIT"})
    assert verdicts("ast2") == ("read", free)
    assert verdicts("") == ("unknown", free)
    assert verdicts("ast1", now_ms()) == ("unknown", free)
    assert read_room(lambda: connect_to_read(AWAY), Question("acme", "442071234567", node="ast1")) == Room("away")
    # With all of them full they are tried all the same, but for one that gets no call at all.
    with psycopg.connect(loaded.dsn.get_secret_value()) as connection:
        for vendor in ("vendor-b", "vendor-c"):
            connection.execute(
                "INSERT INTO limit_leases (limit_key, node, concurrent_share, concurrent_wanted, cps_wanted, used)"
                " VALUES (%s, 'ast1', 5, 5, 0, 5)",
                (f"p{ids[vendor]}",),
            )
        connection.execute("INSERT INTO letter_stops (peer_id, since) VALUES (%s, now())", (ids["vendor-b"],))
        connection.execute("UPDATE limit_nodes SET reported_at = clock_timestamp()")
    full = read_room(lambda: connect_to_read(loaded), Question("acme", "442071234567", node="ast1")).full
    assert full == {f"p{ids[vendor]}" for vendor in free}
    assert verdicts("ast1") == ("read", {**free, "vendor-b": "DEAD LETTERS"})


def test_a_vendor_that_does_not_answer_counts_on_its_node_and_now(loaded: Postgres, tmp_path: Path) -> None:
    told = settings(loaded, tmp_path)
    publish(loaded, told)
    found = MomentSnapshots(told).at(None, now_ms())
    ids = {peer.name: peer.peer_id for peer in found.snapshot.config.peers}
    with psycopg.connect(loaded.dsn.get_secret_value()) as connection:
        connection.execute(
            "INSERT INTO nodes (name, last_seen_at) VALUES ('ast1', now()), ('ast2', now())"
            " ON CONFLICT (name) DO UPDATE SET last_seen_at = now()"
        )
        report(connection, "ast1", [Report(ids["vendor-a"], 3, 0, None, 20_000)])
        report(connection, "ast1", [Report(ids["vendor-c"], 3, 0, None, -1)])  # its skip is over
        connection.execute("UPDATE peers SET probe = true WHERE name = 'vendor-b'")
        report_probes(connection, "ast1", [(ids["vendor-b"], "unreachable")])

    def answer(node: str, at_ms: int | None = None, postgres: Postgres = loaded) -> Checked:
        question = Question("acme", "442071234567", at_ms=at_ms, node=node)
        return check(
            World(found.snapshot), question, now_ms(), expected_seconds=180, source=found.source, quality="unknown",
            limits="unknown", reached=read_reached(lambda: connect_to_read(postgres), question),
        )  # fmt: skip

    def verdicts(checked: Checked) -> dict[str, tuple[str, str]]:
        return {one.vendor: (one.verdict, one.detail) for one in checked.decision.candidates}

    free = {f"vendor-{one}": ("TAKEN", "") for one in "abc"}
    here = answer("ast1")
    assert verdicts(here) == {
        "vendor-a": ("UNREACHABLE", "the last 3 INVITEs to it had no SIP response"),
        "vendor-b": ("UNREACHABLE", "its OPTIONS probes are not answered"),
        "vendor-c": ("TAKEN", ""),
    }
    assert here.reach == "read"
    assert {(one.vendor, one.state) for one in here.vendors} == {
        ("vendor-a", "skipped"), ("vendor-b", "unreachable"), ("vendor-c", "due"),
    }  # fmt: skip
    assert all(one.age_seconds is not None and one.age_seconds < 60 for one in here.vendors)
    for other, known, shown in (
        (answer("ast2"), "read", 0),
        (answer(""), "unknown", 3),
        (answer("ast1", now_ms()), "unknown", 0),
        (answer("ast1", postgres=AWAY), "away", 0),
    ):
        assert (verdicts(other), other.reach, len(other.vendors)) == (free, known, shown)
