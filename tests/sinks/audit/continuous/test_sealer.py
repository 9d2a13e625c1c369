"""Sealing on real servers: settled ranges go with their manifest; what anybody still needs stays, whatever its age."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest
from audit_world import World, commit, commit_all, offsets_of, said
from kafka import KafkaProducer
from made_legs import produce, produce_events

from schemas.events import DeadLetter, NodeHeartbeat, RatedLeg, encode_event
from schemas.frame import pack_frames
from schemas.topics import CALLS, DEAD_LETTERS, DECISIONS, NODES, RATED_LEGS, Topic
from sinks.audit.continuous import seal_rows
from sinks.audit.continuous.main import Auditor
from sinks.audit.continuous.seal_fold import hash_of
from sinks.audit.continuous.seal_topics import SealTopics
from sinks.dead_letters.store import keep_letters
from streamco.embedded.temporary_users import as_user, values_of

pytestmark = pytest.mark.servers
DAYS_LATER = timedelta(days=8)
RETRIED = timedelta(minutes=6)
BEAT = NodeHeartbeat(
    event_id="ast1:1", node="ast1", epoch=1, at_ms=1, agent_id="a", journal_offset=0, journal_waiting_bytes=0, calls=[]
)
OF_RATED = "FROM topic_segments WHERE topic = 'rated-legs'"


async def keep_letter(world: World, origin: str, leg_id: str = "") -> None:
    letter = DeadLetter(event_id=origin, origin=origin, reason="no", raw_base64="", at_ms=1, leg_id=leg_id)
    async with await psycopg.AsyncConnection.connect(world.dsn) as connection:
        await keep_letters(connection, [letter])


def decide(world: World, state: str) -> None:
    world.sql(f"UPDATE dead_letters SET state = '{state}', decided_by = 'me', decided_why = 'so', decided_at = now()")


def seal_all(world: World) -> int:
    """How many steps it took."""
    for steps in range(100):
        if not world.auditor.seal():
            return steps
    raise AssertionError("sealing has no end")


def left(world: World, topic: Topic) -> int:
    return sum(end - first for first, end in offsets_of(world.settings.kafka, topic))


async def settle(world: World, legs: Sequence[RatedLeg]) -> None:
    """Rated, posted, written, audited, and every worker has done with it; and it is old."""
    world.rate([*legs])
    await world.post([*legs])
    world.write([*legs])
    world.now = max(world.now, datetime.now(UTC) + DAYS_LATER) + RETRIED
    assert world.run().differences == []
    commit_all(world.settings.kafka)


async def test_what_is_settled_and_old_is_sealed_and_deleted(world: World, legs: list[RatedLeg]) -> None:
    kafka = world.settings.kafka
    produce_events(kafka, CALLS, [leg.ended for leg in legs])
    produce_events(kafka, NODES, [BEAT])
    world.run()
    await settle(world, [*legs[:40], *legs[:40]])  # rated twice: counted once
    world.now = datetime.now(UTC)
    assert seal_all(world) == 0  # younger than it is to be kept
    assert left(world, RATED_LEGS) > 0
    world.now += DAYS_LATER
    assert world.sql("SELECT count(*) FROM ledger_entries WHERE rated_offset IS NULL") == [(0,)]
    seal_all(world)
    # The closings of the others are in `calls`, and not in the ledger: they stay.
    assert world.sql(
        "SELECT sum(legs), wrapped(sum(leg_hash)), sum(refused), bool_and(deleted_at IS NOT NULL) " + OF_RATED
    ) == [(40, hash_of(leg.leg_id for leg in legs[:40]), 0, True)]
    for side in ("receivable", "payable"):
        micros = sum(leg.amount_micros for leg in legs[:40] if leg.side == side)
        assert world.sql(f"SELECT (sum(amount) * 1000000)::bigint FROM topic_segment_money WHERE side = '{side}'") == [
            (micros,)
        ]
    assert (left(world, RATED_LEGS), left(world, NODES)) == (0, 0)
    assert left(world, CALLS) > 0
    await settle(world, legs[40:])
    assert seal_all(world) > 0
    assert (left(world, RATED_LEGS), left(world, CALLS)) == (0, 0)
    assert world.sql("SELECT sum(legs), wrapped(sum(leg_hash)) " + OF_RATED) == [
        (len(legs), hash_of(leg.leg_id for leg in legs))
    ]
    assert world.run().differences == []
    # A correction and a repeat of what was sealed long ago are read and judged like any other.
    inbound = next(leg for leg in legs if leg.side == "receivable" and leg.amount_micros)
    again = msgspec.structs.replace(inbound, revision=2, amount_micros=inbound.amount_micros + 7)
    await settle(world, [legs[3], again])
    seal_all(world)
    assert world.sql("SELECT sum(legs), wrapped(sum(leg_hash)) " + OF_RATED) == [
        (len(legs), hash_of(leg.leg_id for leg in legs))
    ]
    micros = sum(leg.amount_micros for leg in legs if leg.side == "receivable") + 7
    assert world.sql("SELECT (sum(amount) * 1000000)::bigint FROM topic_segment_money WHERE side = 'receivable'") == [
        (micros,)
    ]
    # Another auditor begins where there is something to begin at.
    world.sql("DELETE FROM audit_state")
    assert world.run().differences == []


async def test_nothing_goes_that_somebody_has_not_done_with(world: World, legs: list[RatedLeg]) -> None:
    kafka = world.settings.kafka
    world.run()
    position = world.sql("SELECT rated_offsets FROM audit_state")
    world.rate(legs)
    await world.post(legs)
    world.write(legs)
    world.now = datetime.now(UTC) + DAYS_LATER
    whole = left(world, RATED_LEGS)
    seal_all(world)  # no group has committed anything
    commit(kafka, "streamco-billing", RATED_LEGS)
    seal_all(world)  # the CDRs' has not
    commit(kafka, "streamco-cdrs", RATED_LEGS)
    assert world.sql("SELECT rated_offsets FROM audit_state") == position
    seal_all(world)  # the auditor itself has not
    assert left(world, RATED_LEGS) == whole
    assert world.run().differences == []
    commit(kafka, "somebody", RATED_LEGS, less=1)  # a reader that is not ours lags by a message
    seal_all(world)
    full = sum(first < end for first, end in offsets_of(kafka, RATED_LEGS))
    assert 0 < left(world, RATED_LEGS) == full < whole
    commit(kafka, "somebody", RATED_LEGS)
    seal_all(world)
    assert left(world, RATED_LEGS) == 0


async def test_legs_that_are_not_settled_and_letters_that_wait_hold_their_range(
    world: World, legs: list[RatedLeg]
) -> None:
    world.run()
    await settle(world, legs)
    dear = next(leg for leg in legs if leg.side == "payable" and leg.amount_micros)
    at = f"WHERE reference = '{dear.leg_id}'"
    world.sql(f"UPDATE ledger_entries SET amount = amount + 1 {at}")
    seal_all(world)
    kept = left(world, RATED_LEGS)
    assert kept > 0
    world.sql(f"UPDATE ledger_entries SET amount = amount - 1 {at}")
    assert left(world, RATED_LEGS) == kept
    world.now += RETRIED
    world.clickhouse(f"ALTER TABLE legs DELETE WHERE leg_id = '{dear.leg_id}'")
    seal_all(world)
    assert left(world, RATED_LEGS) == kept
    world.write([dear])
    # A dead letter of that very message, still to be decided about.
    ((partition, first),) = [
        (number, first)
        for number, (first, end) in enumerate(offsets_of(world.settings.kafka, RATED_LEGS))
        if first < end
    ]
    await keep_letter(world, f"rated-legs/{partition}/{first}/0")
    world.now += RETRIED
    seal_all(world)
    assert left(world, RATED_LEGS) == kept
    decide(world, "discarded")
    world.now += RETRIED
    seal_all(world)
    assert left(world, RATED_LEGS) == 0


async def test_what_was_refused_and_what_cannot_be_read_is_in_the_manifest_once_decided(
    world: World, legs: list[RatedLeg]
) -> None:
    kafka = world.settings.kafka
    world.run()
    refused, good = legs[0], legs[1:]
    world.rate([refused])
    ((partition, _),) = [place for place in enumerate(offsets_of(kafka, RATED_LEGS)) if place[1][1]]
    origin = f"rated-legs/{partition}/0/0"
    world.write([refused])
    produce(kafka, RATED_LEGS, [(partition, b"not a frame")])
    letter = DeadLetter(event_id=origin, origin=origin, reason="no", raw_base64="", at_ms=1, leg_id=refused.leg_id)
    produce_events(kafka, DEAD_LETTERS, [letter])
    await keep_letter(world, origin, refused.leg_id)
    assert said(world.run()) == {("open dead letter", origin)}
    decide(world, "discarded")
    await settle(world, good)
    seal_all(world)
    left_now = left(world, RATED_LEGS)
    assert left_now > 0  # the message that is no frame is nowhere among the dead letters
    await keep_letter(world, f"rated-legs/{partition}/1/frame")
    decide(world, "replayed")
    decide(world, "discarded")
    world.now += RETRIED
    seal_all(world)
    assert (left(world, RATED_LEGS), left(world, DEAD_LETTERS)) == (0, 0)
    assert world.sql("SELECT sum(legs), sum(refused), wrapped(sum(refused_hash)) " + OF_RATED) == [
        (len(good), 1, hash_of([refused.leg_id]))
    ]


class KilledError(Exception):
    """What a kill looks like from within."""


async def test_killed_between_manifest_and_deletion_or_after_it(
    world: World, legs: list[RatedLeg], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    await settle(world, legs)

    def dies(*_: object) -> None:
        raise KilledError

    whole = left(world, RATED_LEGS)
    sums = "SELECT sum(legs), wrapped(sum(leg_hash)), count(*) FILTER (WHERE deleted_at IS NULL) " + OF_RATED
    with monkeypatch.context() as patch:
        patch.setattr(SealTopics, "delete", dies)
        with pytest.raises(KilledError):
            seal_all(world)
    assert left(world, RATED_LEGS) == whole
    assert world.sql("SELECT count(*) " + OF_RATED + " AND deleted_at IS NULL") == [(1,)]
    with monkeypatch.context() as patch:
        patch.setattr(seal_rows, "set_deleted", dies)
        with pytest.raises(KilledError):
            seal_all(world)  # the deletion is made good, and not written down
    assert left(world, RATED_LEGS) < whole
    world.auditor.close()
    world.auditor = Auditor(world.settings, lambda: world.now)
    world.run()
    seal_all(world)
    assert left(world, RATED_LEGS) == 0
    assert world.sql(sums) == [(len(legs), hash_of(leg.leg_id for leg in legs), 0)]
    for topic in (CALLS, DECISIONS):
        assert left(world, topic) == 0


PROGRAM = """
import sys
from sinks.audit.continuous.main import run
from sinks.audit.continuous.settings import AuditorSettings
run(AuditorSettings.model_validate_json(sys.stdin.read()))
"""


def test_the_auditor_s_process_seals_between_its_runs(world: World, tmp_path: Path) -> None:
    settings = world.settings
    values = {
        "postgres": {"dsn": world.dsn},
        "kafka": values_of(as_user(settings.kafka, "auditor")),
        "clickhouse": {
            **settings.clickhouse.model_dump(mode="json"),
            "password": settings.clickhouse.password.get_secret_value(),
        },
        "topic_seconds": 3_600,
        "beat": str(tmp_path / "auditor.beat"),
    }
    producer = KafkaProducer(**settings.kafka.client())
    (frame,) = pack_frames([encode_event(BEAT)])
    for hours in (9, 0):
        at_ms = int((datetime.now(UTC) - timedelta(hours=hours)).timestamp() * 1000)
        producer.send(NODES.name, frame, partition=0, timestamp_ms=at_ms)
    producer.flush(30)
    producer.close()
    commit_all(settings.kafka)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=log, stderr=log)
    assert process.stdin is not None
    process.stdin.write(json.dumps(values).encode())
    process.stdin.close()
    try:
        deadline = time.monotonic() + 60
        while left(world, NODES) > 1:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert world.sql("SELECT topic, to_offset, messages, legs FROM topic_segments") == [("nodes", 1, 1, 0)]
    assert left(world, NODES) == 1
    assert json.loads((tmp_path / "auditor.beat").read_text())["detail"] == "equal; 0 legs on their way"
