"""What check routing says, the router does: the same requests to a real router's process and to the check's own way."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from agi_client import SECRET, ask, header
from decision_table import TableWorld, files
from kafka import KafkaConsumer, TopicPartition
from pydantic import SecretStr

from router.check import CheckSettings, MomentSnapshots, Question, check
from router.check.answer import request_of
from router.core import Request, World, seed_of
from router.settings import SnapshotSettings
from router.snapshot.config import Peer
from runtime.connections import Kafka, Postgres
from schemas.events import CallRouted, ExplainedCall, decode_event, explained
from schemas.frame import unpack_frame
from schemas.topics import DECISIONS
from streamco.embedded.temporary import free_port
from streamco.embedded.temporary_users import as_user, values_of

pytestmark = pytest.mark.servers
REQUESTS = 150
PREFIXES = ("44", "+44", "0044", "49", "33", "1", "4420", "", "999")
NAMES = ("", "Anna", '"><', "x" * 40)
ASSERTED = ("", '"Bob" <sip:+442079460000@host>', "<tel:12125550111>", "<sip:no,body>")
PRIVACY = ("", "id", "none", "critical; HEADER")
CALL = "ast1-1795609861-1795609900.{}"
STARTED_AT = "1795609900.000"
ODD = ("", "x", "+", "44", "4" * 16, "44 20", "${EXTEN}", "44,20", '4"4', "4\\4")
PROGRAM = """
import sys
from pathlib import Path
from pydantic import SecretStr
from router.server.main import run
from router.settings import RouterSettings, SnapshotSettings
from runtime.connections import Kafka, Postgres
dsn, kafka, directory, port, secret = sys.argv[1:]
directory = Path(directory)
run(RouterSettings(
    snapshot=SnapshotSettings(postgres=Postgres(dsn=SecretStr(dsn)), directory=directory / "snapshot"),
    kafka=Kafka.model_validate_json(kafka), spool=directory / "spool.sqlite", port=int(port), beat=directory / "beat",
    admission=False, agi_secret=SecretStr(secret),
))
"""


@pytest.fixture
def port(postgres_dsn: str, kafka: Kafka, tmp_path: Path) -> Iterator[int]:
    """A router on the world of choice.yaml, without admission: money is not the core's."""
    TableWorld(files()["choice"], postgres_dsn, tmp_path / "world")
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("UPDATE peers SET trusted = peer_id % 2 = 0")
    port = free_port()
    arguments = [postgres_dsn, json.dumps(values_of(as_user(kafka, "router"))), str(tmp_path), str(port), SECRET]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while not (tmp_path / "beat").exists():
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.1)
    yield port
    process.terminate()
    assert process.wait(20) == 0


def _questions(peers: list[Peer]) -> list[Question]:
    random_ = random.Random(20_261_128)
    made = []
    for number in range(REQUESTS):
        digits = "".join(random_.choices("0123456789", k=random_.randrange(0, 13)))
        callee = random_.choice(ODD) if random_.random() < 0.15 else random_.choice(PREFIXES) + digits
        caller = random_.choice(("12125550100", "", "anonymous", "+4420", '"><'))
        made.append(
            Question(
                random_.choice(peers).name,
                callee or "0",
                caller,
                node="ast1",
                caller_name=random_.choice(NAMES),
                asserted=random_.choice(ASSERTED),
                privacy=random_.choice(PRIVACY),
                seed=seed_of(CALL.format(number)),
            )
        )
    return made


def _decisions(kafka: Kafka) -> dict[str, ExplainedCall]:
    """The events that the router sent, by call."""
    consumer: Any = KafkaConsumer(**kafka.client(), group_id=None, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(DECISIONS.name, number) for number in range(kafka.partitions)])
    found: dict[str, ExplainedCall] = {}
    deadline = time.monotonic() + 60
    while len(found) < REQUESTS and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=500).values():
            for raw in (raw for record in records for raw in unpack_frame(record.value)):
                event = decode_event(raw)
                assert isinstance(event, CallRouted)
                found[event.call_id] = explained(event)
    consumer.close()
    return found


def _without_the_call(event: ExplainedCall) -> ExplainedCall:
    no_call = {"event_id": "", "call_id": "", "routed_at_ms": 0, "decision_micros": 0, "call_started_at_ms": None}
    return msgspec.structs.replace(event, **no_call)


async def test_the_check_and_the_live_router_say_the_same(
    port: int, kafka: Kafka, postgres: Postgres, tmp_path: Path
) -> None:
    live = SnapshotSettings(
        postgres=Postgres(dsn=SecretStr("postgresql://127.0.0.1:9/none")), directory=tmp_path / "snapshot"
    )
    found = MomentSnapshots(CheckSettings(live=live, directory=tmp_path / "check")).at(
        None, time.time_ns() // 1_000_000
    )
    peers = {peer.name: peer for peer in found.snapshot.originators}
    questions = _questions(list(peers.values()))
    for number, question in enumerate(questions):
        asked: Request = request_of(peers[question.peer], question)
        said = (STARTED_AT, asked.caller_name, asked.asserted, asked.privacy)
        sent = header(
            CALL.format(number), asked.endpoint, asked.remote_address, asked.callee, asked.caller, *said
        )  # fmt: skip
        answered = await ask(port, sent)
        assert answered is not None
    routed = await asyncio.to_thread(_decisions, kafka)
    assert len(routed) == REQUESTS
    for number, question in enumerate(questions):
        event = routed[CALL.format(number)]
        checked = check(
            World(found.snapshot), question, event.routed_at_ms,
            expected_seconds=live.expected_call_seconds, source=found.source, quality="unknown", limits="unknown",
        )  # fmt: skip
        assert _without_the_call(checked.decision) == _without_the_call(event), question
    reasons = {event.reason for event in routed.values()}
    assert {"", "BAD NUMBER", "NOT BILLABLE", "NO ROUTE"} <= reasons
    assert "442079460000" in {event.caller for event in routed.values()}
    assert {event.withheld for event in routed.values()} == {True, False}
