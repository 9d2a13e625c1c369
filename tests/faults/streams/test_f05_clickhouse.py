"""F5: ClickHouse away, killed in mid-insert, its answers lost, everything replayed: the table equals the ledger."""

import random
import time
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from fault_line import ServersLine
from feeder import Feeder, call_messages
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import GroupIdNotFoundError
from made_legs import make_legs, produce, produce_events
from tcp_proxy import TcpProxy, Trap

from runtime.clickhouse import connect
from schemas.topics import CALLS, RATED_LEGS
from streams.folds.rating import rate_leg
from tests.faults.report import report

pytestmark = [pytest.mark.servers, pytest.mark.faults]


def proxy_of(line: ServersLine) -> TcpProxy:
    url = urlsplit(line.clickhouse.url)
    assert url.hostname is not None
    assert url.port is not None
    return TcpProxy((url.hostname, url.port))


def stop_merges(line: ServersLine) -> None:
    """So that every row that was inserted can be counted, those that were there already too."""
    with connect(line.clickhouse) as client:
        client.command(
            f"ALTER TABLE {line.clickhouse.database}.legs MODIFY SETTING"
            " max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"
        )


def rewind(line: ServersLine) -> None:
    """The CDRs' group begins anew, as after a loss of its offsets."""
    admin = KafkaAdminClient(**line.kafka.client())
    try:
        with suppress(GroupIdNotFoundError):  # it has not come to commit any
            admin.delete_group_offsets(
                "streamco-cdrs", [TopicPartition(RATED_LEGS.name, number) for number in range(line.kafka.partitions)]
            )
    finally:
        admin.close()


def test_f5_answers_lost_after_the_insert_and_a_replay_from_the_beginning(line: ServersLine) -> None:
    ended = make_legs(line.parties, 7, 400)
    stop_merges(line)
    with proxy_of(line) as proxy:
        line.start("streams-1", "billing")
        line.reach["clickhouse"] = proxy.address
        line.keep("streams-2", "cdrs", insert_seconds=0.2)
        line.until(lambda: line.working("streams-1", "streams-2"))
        feeder = Feeder(line.kafka, ended, 5, in_a_frame=5)
        lost = 0
        for _ in range(3):
            trap = proxy.trap(Trap("up", b"INSERT", "answer"))
            line.until(lambda: trap.sprung)  # noqa: B023
            lost += trap.sprung
            time.sleep(0.3)
        feeder.finish()
        line.until(lambda: line.posted() == len(ended) == line.written())
        repeated = line.ask("SELECT count() FROM legs") - len(ended)
        assert repeated > 0, "every lost answer should have been followed by the same insert"
        audited = line.audit_of(ended)
        assert audited.ok, audited.differences
        line.end()
        rewind(line)
        line.start("streams-3", "cdrs", instance=1)
        line.until(lambda: line.ask("SELECT count() FROM legs") >= 2 * len(ended) + repeated, alive=["streams-3"])
    assert line.written() == len(ended)
    audited = line.audit_of(ended)
    assert audited.ok, audited.differences
    line.end()
    report("F5 ClickHouse: answers lost, then all replayed", lost, len(ended), repeated + len(ended), "equal")


@pytest.mark.long
def test_f5_the_owner_killed_in_mid_insert(line: ServersLine, chance: random.Random) -> None:
    kills = 3
    ended = make_legs(line.parties, 8, 500 * (kills + 1))
    stop_merges(line)
    with proxy_of(line) as proxy:
        line.start("streams-1", "billing")
        line.reach["clickhouse"] = proxy.address
        line.keep("streams-2", "cdrs", insert_seconds=0.1)
        line.until(lambda: line.working("streams-1", "streams-2"))
        feeder = Feeder(line.kafka, ended, 7 * kills + 4, in_a_frame=20)
        for _ in range(kills):
            before = line.written()
            line.until(lambda: line.written() > before)  # noqa: B023
            seen = proxy.bytes["up"]
            line.until(lambda: proxy.bytes["up"] > seen + 20_000)  # noqa: B023 - an insert is on its way
            time.sleep(chance.uniform(0, 0.03))
            line.servers.kill("clickhouse")
            deaths = line.restarts()
            line.until(lambda: line.restarts() > deaths)  # noqa: B023
            line.servers.start("clickhouse")
            stop_merges(line)
        feeder.finish()
        line.until(lambda: line.posted() == len(ended) == line.written())
        repeated = line.ask("SELECT count() FROM legs") - len(ended)
        audited = line.audit_of(ended)
        assert audited.ok, audited.differences
        line.end()
    report("F5 ClickHouse kill -9 in mid-insert", kills, len(ended), repeated, "equal")


@pytest.mark.long
def test_f5_the_ledger_goes_on_while_clickhouse_is_away(line: ServersLine) -> None:
    ended = make_legs(line.parties, 9, 800)
    names = ("streams-1", "streams-2")
    with proxy_of(line) as proxy:
        line.start("streams-1", "billing")
        line.reach["clickhouse"] = proxy.address
        line.keep("streams-2", "cdrs")
        line.until(lambda: line.working(*names))
        produce(line.kafka, CALLS, call_messages(ended[:100], line.kafka.partitions, 5))
        line.until(lambda: line.written() == 100)
        proxy.away()
        produce(line.kafka, CALLS, call_messages(ended[100:], line.kafka.partitions, 5))
        line.until(lambda: line.posted() == len(ended), alive=["streams-1"])
        line.until(lambda: line.restarts() >= 2)  # it has tried, and been told to wait longer
        assert line.written() == 100
        proxy.back()
        line.until(lambda: line.written() == len(ended))
        audited = line.audit_of(ended)
        assert audited.ok, audited.differences
        line.end()
    report("F5 ClickHouse away while the ledger goes on", line.restarts(), len(ended), 0, "equal")


@pytest.mark.long
def test_cdrs_come_in_few_large_inserts_within_their_time(line: ServersLine) -> None:
    """Hundreds of legs a second in single frames: an insert a second or so, and few parts."""
    ended = make_legs(line.parties, 10, 1_000)
    line.start("streams-1", "billing")
    line.start("streams-2", "cdrs")
    line.until(lambda: line.working("streams-1", "streams-2"))
    begun = time.monotonic()
    feeder = Feeder(line.kafka, ended, 8, in_a_frame=1)
    feeder.finish()
    line.until(lambda: line.written() == len(ended), alive=["streams-1", "streams-2"])
    seconds = time.monotonic() - begun
    inserts = line.ask("SELECT uniqExact(rated_at) FROM legs")  # one insert, one moment
    assert inserts <= seconds / 0.8 + 2, f"{inserts} inserts for {len(ended)} legs in {seconds:.0f} s"
    assert len(ended) / inserts > 100
    database = line.clickhouse.database
    parts = line.ask(f"SELECT count() FROM system.parts WHERE database = '{database}' AND table = 'legs' AND active")
    assert parts <= 20
    slowest = 0.0
    late = make_legs(line.parties, 11, 5, 1_795_700_000_000)
    for leg in late[:5]:
        before = line.written()
        produce_events(line.kafka, RATED_LEGS, [rate_leg(leg)])
        asked = time.monotonic()
        line.until(lambda: line.written() > before)  # noqa: B023
        slowest = max(slowest, time.monotonic() - asked)
    assert slowest < 2.0, f"a lonely leg waited for {slowest:.1f} s"
    line.end()
    report(f"F5 {len(ended)} legs in {inserts} inserts, {parts} parts, {slowest:.1f} s at most", 0, len(ended), 0, "-")
