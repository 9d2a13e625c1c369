"""The stream workers as processes on the real Kafka, PostgreSQL and ClickHouse: kill -9, poison, and the limit."""

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from audit_world import seal_everything
from click.testing import CliRunner
from command_role import command_environment
from kafka import KafkaConsumer, TopicPartition
from made_legs import Ended, Parties, insert_parties, journal_line, make_legs, produce, produce_events, write_journals
from made_traffic import make_traffic

from runtime.clickhouse import connect
from runtime.connections import ClickHouse, Kafka, Postgres
from schemas import events
from schemas.events import CallEnded, DeadLetter, LegEnded, LegStarted, RatedLeg, decode_event, encode_event
from schemas.frame import partition_of
from schemas.live import LIVE_CALL_DECODER, NODE_STATE_DECODER
from schemas.topics import ACTIVE_CALLS, CALLS, DEAD_LETTERS, DECISIONS, NODE_STATES, NODES, RATED_LEGS, SEALED, Topic
from sinks.audit.continuous.calls import NOT_VERIFIED
from sinks.audit.continuous.letters import OPEN_LETTER
from sinks.audit.full.audit import AuditReport, audit
from sinks.audit.full.sources import AuditSettings, read_topic
from sinks.dead_letters.messages import dead_letter_messages
from streamco.dead_letters_cli import dead_letters
from streamco.embedded.temporary_users import as_user, environment_of, values_of
from streams.folds.rating import rate_leg
from streams.worker import READ

pytestmark = pytest.mark.servers
EXAMPLES = Path(events.__file__).parent / "examples"
PROGRAM = """
import sys
from streamco.logs import configure_logs
from streams.settings import StreamsSettings
from streams.worker import run
configure_logs("streams")
run(StreamsSettings.model_validate_json(sys.stdin.read()))
"""
FIRST_WORK_SECONDS = 60.0


class Line:
    """Three servers, and workers on them."""

    def __init__(self, directory: Path, postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse) -> None:
        self.directory, self.postgres, self.kafka, self.clickhouse = directory, postgres, kafka, clickhouse
        self.dsn = postgres.dsn.get_secret_value()
        self.parties: Parties = insert_parties(self.dsn)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, role: str, **options: Any) -> subprocess.Popen[bytes]:
        values = {
            "role": role,
            "kafka": values_of(as_user(self.kafka, role)),
            "postgres": {"dsn": self.dsn},
            "clickhouse": {
                **self.clickhouse.model_dump(mode="json"),
                "password": self.clickhouse.password.get_secret_value(),
            },
            "data_directory": str(self.directory / "faust" / role),
            "beat": str(self.directory / f"{role}.beat"),
            **options,
        }
        with (self.directory / f"{role}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert process.stdin is not None
        process.stdin.write(json.dumps(values).encode())
        process.stdin.close()
        self.running[role] = process
        return process

    def said(self) -> str:
        logs = {role: (self.directory / f"{role}.log").read_text()[-8_000:] for role in self.running}
        return "\n".join(f"--- {role}: {log}" for role, log in logs.items())

    def kill(self, role: str) -> None:
        self.running[role].kill()
        self.running[role].wait()

    def end(self) -> None:
        """SIGTERM, as the supervisor gives it."""
        for process in self.running.values():
            process.terminate()
        assert {role: process.wait(30) for role, process in self.running.items()} == dict.fromkeys(self.running, 0)

    def until(self, what: Callable[[], Any], seconds: float = FIRST_WORK_SECONDS) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, self.said()
            assert all(process.poll() is None for process in self.running.values()), self.said()
            time.sleep(0.1)
        return found

    def posted(self) -> int:
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SELECT count(*) FROM ledger_entries").fetchone()
            assert row is not None
            return int(row[0])

    def written(self, table: str = "legs") -> int:
        with connect(self.clickhouse) as client:
            return int(client.query(f"SELECT count() FROM {table} FINAL").result_rows[0][0])

    def audit(self, ended: list[Ended], settle_seconds: float = 30) -> AuditReport:
        """With the journals of these, or with those that are there."""
        journals = write_journals(self.directory / "nodes", ended)
        journals |= {place.name: place / "journal" for place in (self.directory / "nodes").iterdir()}
        settings = AuditSettings(
            postgres=self.postgres, kafka=as_user(self.kafka, "cli"), clickhouse=self.clickhouse, journals=journals
        )
        return audit(settings, settle_seconds=settle_seconds)

    def kept(self) -> set[str]:
        """Origins in the table of dead letters."""
        with psycopg.connect(self.dsn) as connection:
            return {origin for (origin,) in connection.execute("SELECT origin FROM dead_letters").fetchall()}

    def letters(self) -> dict[str, DeadLetter]:
        return {letter.origin: letter for letter in read_topic(self.kafka, DEAD_LETTERS)}


@pytest.fixture
def line(tmp_path: Path, postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse) -> Iterator[Line]:
    made = Line(tmp_path, postgres, kafka, clickhouse)
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()


def raw_messages(kafka: Kafka, topic: Topic) -> list[tuple[bytes | None, bytes | None, int]]:
    """(key, value, partition) of every message of a topic, as the dashboards would read it."""
    consumer = KafkaConsumer(**kafka.client(), enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(kafka.partitions)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        found = []
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for messages in consumer.poll(timeout_ms=300).values():
                found += [(message.key, message.value, message.partition) for message in messages]
        return found
    finally:
        consumer.close()


def latest(kafka: Kafka, topic: Topic) -> dict[bytes, bytes]:
    """What a compacted topic comes to: the last value of each key, without the tombstones."""
    values: dict[bytes, bytes] = {}
    for key, value, _ in raw_messages(kafka, topic):
        assert key is not None
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
    return values


def started(ended: LegEnded, inbound: CallEnded) -> LegStarted:
    assert inbound.facts is not None
    return LegStarted(
        event_id=f"{ended.call_id}/{ended.leg}:leg_started",
        call_id=ended.call_id,
        leg=ended.leg,
        started_at_ms=ended.started_at_ms,
        call_started_at_ms=ended.call_started_at_ms,
        facts=ended.facts,
        call_facts=inbound.facts,
    )


def test_events_in_rated_posted_written_and_shown(line: Line) -> None:
    now_ms = time.time_ns() // 1_000_000
    ended = make_legs(line.parties, 1, 150, now_ms - 2 * 3_600_000)
    inbound = {leg.call_id: leg for leg in ended if isinstance(leg, CallEnded)}
    starts = [started(leg, inbound[leg.call_id]) for leg in ended if isinstance(leg, LegEnded)]
    # One call goes on, one has just ended; all others ended an hour ago and more.
    on, just = (make_legs(line.parties, seed, 40, now_ms - 60_000) for seed in (2, 3))
    going = next(leg for leg in on if isinstance(leg, LegEnded) and leg.leg == 1)
    going_inbound = next(leg for leg in on if isinstance(leg, CallEnded) and leg.call_id == going.call_id)
    over = next(leg for leg in just if isinstance(leg, CallEnded) and not leg.legs)
    over = msgspec.structs.replace(over, ended_at_ms=now_ms)
    live = started(going, going_inbound)
    heartbeat: Any = decode_event((EXAMPLES / "node_heartbeat.json").read_bytes())
    beats = [msgspec.structs.replace(heartbeat, at_ms=at_ms) for at_ms in (now_ms - 9, now_ms, now_ms - 5)]
    decisions = [call.decision for call in make_traffic(1, now_ms - 3_600_000, now_ms, 50)]
    for role in ("billing", "cdrs", "live"):
        line.start(role)
    produce_events(line.kafka, CALLS, starts)  # frames of their own: these calls are seen before their ends come
    produce_events(line.kafka, CALLS, [*ended, live, over])
    produce_events(line.kafka, NODES, beats)
    produce_events(line.kafka, DECISIONS, decisions)
    ended.append(over)
    line.until(lambda: line.posted() == len(ended) and line.written() == len(ended))
    report = line.audit(ended)
    # The decisions are those of calls that are nowhere else, on a node that no agent speaks for.
    assert {one.kind for one in report.differences} == {NOT_VERIFIED}, report.differences
    assert report.legs.rated == len(ended)
    rated = {leg.leg_id: leg for leg in read_topic(line.kafka, RATED_LEGS) if isinstance(leg, RatedLeg)}
    assert rated == {leg.leg_id: leg for leg in map(rate_leg, ended)}
    for partition in {partition for _, _, partition in raw_messages(line.kafka, RATED_LEGS)}:
        accounts = {leg.account_id for leg in rated.values() if partition_of(str(leg.account_id), 8) == partition}
        assert accounts
    line.until(lambda: line.written("decisions") == len(decisions))
    # Live: the old calls that were seen to begin have gone again, those that nobody saw were never shown; the two
    # others are there, one of them as ended.
    line.until(lambda: NODE_STATE_DECODER.decode(latest(line.kafka, NODE_STATES).get(b"ast1", b"{}")).at_ms == now_ms
               if latest(line.kafka, NODE_STATES) else False)  # fmt: skip

    def swept() -> bool:
        # Each partition is swept with its next event; so give each one.
        again = [msgspec.structs.replace(live, call_id=f"sim1-1795000000-1795608000.{n}") for n in range(1, 60)]
        produce_events(line.kafka, CALLS, again)
        calls = latest(line.kafka, ACTIVE_CALLS)
        return going.call_id.encode() in calls and not calls.keys() & {leg.call_id.encode() for leg in ended[:-1]}

    time.sleep(1)
    line.until(swept)
    calls = {key.decode(): LIVE_CALL_DECODER.decode(raw) for key, raw in latest(line.kafka, ACTIVE_CALLS).items()}
    assert calls[going.call_id].ended_at_ms is None
    assert calls[going.call_id].legs[0].facts == going.facts
    assert calls[going.call_id].call_facts == going_inbound.facts
    assert calls[over.call_id].ended_at_ms == now_ms
    messages = raw_messages(line.kafka, ACTIVE_CALLS)
    begun = {event.call_id.encode() for event in starts}
    assert begun <= {key for key, value, _ in messages if value is None}
    unseen = {leg.call_id.encode() for leg in ended[:-1]} - begun
    assert unseen
    assert not unseen & {key for key, _, _ in messages}
    assert line.letters() == {}
    for role in ("billing", "cdrs", "live"):
        assert json.loads((line.directory / f"{role}.beat").read_text())["ok"]
    line.end()
    # All that the workers have done with may be sealed and deleted, and is counted all the same.
    seal_everything(line.postgres, line.kafka, line.clickhouse)
    assert [raw_messages(line.kafka, topic) for topic in SEALED] == [[]] * len(SEALED)
    again = line.audit(ended)
    assert {one.kind for one in again.differences} == {NOT_VERIFIED}, again.differences
    assert (again.legs.rated, again.legs.sealed_rated) == (len(ended), len(ended))


def test_what_is_sealed_waits_for_every_worker_that_reads_it() -> None:
    readers = {
        topic.name: {f"streamco-{role}" for role, topics in READ.items() if topic.name in topics} for topic in SEALED
    }
    assert readers == {topic.name: set(groups) for topic, groups in SEALED.items()}


def test_kill_9_in_the_middle_loses_and_doubles_nothing(line: Line) -> None:
    ended = make_legs(line.parties, 5, 2_000)
    half = len(ended) // 2
    assert len(ended) > 4_000
    small = {"batch_messages": 20, "batch_seconds": 0.05}
    for role in ("billing", "cdrs"):
        line.start(role, **small)
    produce_events(line.kafka, CALLS, ended[:half], in_a_frame=10)
    line.until(lambda: line.posted() > 0)
    line.kill("billing")
    line.kill("cdrs")
    assert line.posted() < half
    for role in ("billing", "cdrs"):
        line.start(role, **small)
    produce_events(line.kafka, CALLS, ended[half:], in_a_frame=10)
    before = line.written()
    line.until(lambda: line.written() > before)
    line.kill("cdrs")
    line.start("cdrs", **small)
    before = min(line.posted(), len(ended) - 1)  # it may have posted everything while cdrs came up
    line.until(lambda: line.posted() > before)
    line.kill("billing")
    line.start("billing", **small)
    line.until(lambda: line.posted() >= len(ended) and line.written() >= len(ended))
    report = line.audit(ended)
    assert report.ok, report.differences
    assert report.legs.ledger == report.legs.cdr == report.legs.journal == len(ended)
    assert line.letters() == {}
    line.end()


def test_poison_is_a_dead_letter_and_the_next_leg_posts(line: Line) -> None:
    ended = make_legs(line.parties, 6, 40)
    paid = next(leg for leg in ended if isinstance(leg, LegEnded) and leg.duration_ms)
    stranger = msgspec.structs.replace(
        paid, call_id="sim1-1795000000-1795608000.7", facts=msgspec.structs.replace(paid.facts, account_id=999_999)
    )
    unknown = json.dumps({**json.loads(encode_event(paid)), "v": 2}).encode()
    too_large = encode_event(paid).replace(f'"account_id":{paid.facts.account_id}'.encode(), b'"account_id":9999999999')
    poison = [b"\xff\xfe not a frame", b"[2,[]]", b"[1,[" + unknown + b"," + too_large + b",7]]"]
    produce(line.kafka, CALLS, [(partition, raw) for partition, raw in enumerate(poison)])
    produce(line.kafka, RATED_LEGS, [(0, b"poison"), (1, b"[1,[" + unknown + b"," + encode_event(paid) + b"]]")])
    produce(line.kafka, DECISIONS, [(3, b"poison")])
    produce(line.kafka, NODES, [(4, b"poison")])
    produce(line.kafka, DEAD_LETTERS, [(5, b"poison")])
    line.start("billing")
    line.start("cdrs")
    line.start("live")
    produce_events(line.kafka, CALLS, [*ended[:20], stranger, *ended[20:]], in_a_frame=1)
    line.until(lambda: line.posted() == len(ended) and line.written() == len(ended) + 1)
    letters = line.until(lambda: found if len(found := line.letters()) == 11 else None)
    raw = {origin: base64.b64decode(letter.raw_base64) for origin, letter in letters.items()}
    stranger_rated = rate_leg(stranger)
    assert stranger_rated.amount_micros
    (refused,) = (letter for letter in letters.values() if "no such account" in letter.reason)
    assert {letter.leg_id for letter in letters.values()} == {rate_leg(stranger).leg_id, rate_leg(paid).leg_id, ""}
    assert refused.leg_id == stranger_rated.leg_id
    assert refused.reason == "account_id 999999: there is no such account"
    assert refused.origin.startswith("rated-legs/")
    assert decode_event(raw[refused.origin]) == stranger_rated
    wanted = {
        "calls/0/0/frame": (poison[0], "not a frame"),
        "calls/1/0/frame": (poison[1], "frame version 2"),
        "calls/2/0/0": (unknown, "$.v"),
        "calls/2/0/1": (too_large, "account_id"),
        "calls/2/0/2": (b"7", "Expected `object`"),
        "rated-legs/0/0/frame": (b"poison", "not a frame"),
        "rated-legs/1/0/0": (unknown, "$.v"),
        "rated-legs/1/0/1": (encode_event(paid), "LegEnded: not a rated leg"),
        "decisions/3/0/frame": (b"poison", "not a frame"),
        "nodes/4/0/frame": (b"poison", "not a frame"),
    }
    assert letters.keys() == wanted.keys() | {refused.origin}
    for origin, (bytes_, reason) in wanted.items():
        assert raw[origin] == bytes_
        assert reason in letters[origin].reason
    line.until(lambda: line.kept() == letters.keys() | {"dead-letters/5/0/frame"})
    report = line.audit([*ended, stranger], settle_seconds=0)
    assert {(one.kind, one.detail) for one in report.differences} == {(OPEN_LETTER, one) for one in line.kept()}
    with psycopg.connect(line.dsn) as connection:
        connection.execute(
            "UPDATE dead_letters SET state = 'discarded', decided_by = 'me', decided_why = 'so', decided_at = now()"
        )
    report = line.audit([])
    assert report.ok, report.differences
    assert (report.legs.ledger, report.legs.rated, report.legs.dead_letters) == (len(ended), len(ended) + 1, 12)
    line.end()


def test_more_dead_letters_than_are_allowed_stop_the_worker_and_nothing_is_acknowledged(line: Line) -> None:
    process = line.start("billing", max_dead_letters=3)
    produce(line.kafka, CALLS, [(0, b"[1,[1,2,3,4,5]]")])
    assert process.wait(60) not in (0, None)
    assert "5 dead letters more with 0 open, 3 allowed: the first is calls/0/0/0" in line.said()
    assert line.letters() == {}
    line.start("billing", max_dead_letters=5)  # the same message again, and now it may
    line.until(lambda: len(line.letters()) == 5)
    line.end()


def test_lines_without_the_time_of_their_answer_are_posted_when_they_are_replayed(line: Line) -> None:
    """Both lines of a call have `m1` alone of their answer. Replayed, they close it as answered, and its hold goes."""
    ended = make_legs(line.parties, 7, 40)
    call = next(leg for leg in ended if isinstance(leg, CallEnded) and leg.answered_at_ms is not None)
    cut = [leg for leg in ended if leg.call_id == call.call_id and leg.answered_at_ms is not None]
    assert len(cut) == 2
    raws = {
        f"journal:sim1:Master.csv~0:{number}": re.sub(rb"\|(answer|m2|ansms)=[^|]*", rb"|\1=", journal_line(leg))
        for number, leg in enumerate(cut)
    }
    letters = [
        DeadLetter(
            event_id=origin, origin=origin, reason="both or none must be known", at_ms=1,
            raw_base64=base64.b64encode(raw).decode(),
        )
        for origin, raw in raws.items()
    ]  # fmt: skip
    with psycopg.connect(line.dsn) as connection:
        account_id = call.facts.account_id if call.facts else 0
        connection.execute(
            "INSERT INTO holds (call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds,"
            " admitted_at, expires_at) VALUES (%s, 'sim1', 1, %s, 1, 60, 60, now(), now() + interval '1 h')",
            (call.call_id, account_id),
        )
        connection.execute("UPDATE account_balances SET held = 1 WHERE account_id = %s", (account_id,))
    line.start("billing")
    line.start("cdrs")
    produce(line.kafka, DEAD_LETTERS, dead_letter_messages(letters, line.kafka.partitions))
    produce_events(line.kafka, CALLS, [leg for leg in ended if leg not in cut])
    line.until(lambda: line.posted() == line.written() == len(ended) - 2 and line.kept() == raws.keys())
    environment = {
        "STREAMCO_HOME": str(line.directory / "home"), **command_environment(line.dsn),
        **environment_of(as_user(line.kafka, "cli")),
    }  # fmt: skip
    done = CliRunner().invoke(dead_letters, ["replay", "--all", "--reason", "this version reads them"], env=environment)
    assert done.exit_code == 0, done.output
    line.until(lambda: line.posted() == line.written() == len(ended))
    with psycopg.connect(line.dsn) as connection:
        assert connection.execute("SELECT count(*), coalesce(sum(amount), 0) FROM holds").fetchone() == (0, 0)
        assert connection.execute("SELECT sum(held) FROM account_balances").fetchone() == (0,)
    with connect(line.clickhouse) as client:
        rows = client.query(
            "SELECT leg, answered, duration_ms, clock_disagreement FROM legs FINAL"
            " WHERE call_id = %(call)s AND answered ORDER BY leg", {"call": call.call_id},
        ).result_rows  # fmt: skip
    assert rows == [(0, True, 0, True), (call.legs, True, 0, True)]
    line.end()
