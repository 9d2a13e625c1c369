"""The whole way of a control: a vendor's ASR collapses, the controller blocks it, the router's next calls pass it by,
and go there again when its time is over.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from made_legs import produce_events
from pydantic import SecretStr
from small_world import make_small_world

from runtime.connections import ClickHouse, Kafka, Postgres
from schemas import events
from schemas.events import RatedLeg, decode_event
from schemas.topics import RATED_LEGS
from streamco.embedded.temporary_users import as_user
from streams.control import Controller
from streams.settings import StreamsSettings
from tests.router.server.test_main import Running

pytestmark = pytest.mark.servers
EXAMPLES = Path(events.__file__).parent / "examples"
LEG: Any = decode_event((EXAMPLES / "leg_ended.json").read_bytes())
RATED: Any = decode_event((EXAMPLES / "rated_leg.json").read_bytes())
PATIENCE_SECONDS = 60.0


def failed_legs(vendor: int, now_ms: int) -> list[RatedLeg]:
    """A leg a second of the last minute and a half, none of them answered."""
    made = []
    for number in range(90):
        ended = msgspec.structs.replace(
            LEG, call_id=f"sim1-1795000000-1795608000.{number + 1}", leg=1, ended_at_ms=now_ms - 1_000 * number,
            facts=msgspec.structs.replace(LEG.facts, vendor_peer_id=vendor), dial_status="CONGESTION", sip_code=503,
            answered_at_ms=None, duration_ms=0, asterisk_duration_ms=None,
        )  # fmt: skip
        made.append(msgspec.structs.replace(RATED, leg_id=f"{ended.call_id}/1", side="payable", ended=ended))
    return made


async def test_from_bad_legs_to_calls_that_go_elsewhere_and_back(
    postgres: Postgres, postgres_dsn: str, kafka: Kafka, tmp_path: Path
) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        world = make_small_world(connection)
        connection.execute("UPDATE accounts SET credit_limit = 1000 WHERE account_id = %s", (world.customer_account,))
        connection.execute(
            "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id)"
            " SELECT company_id, 'spare', role, 'v-spare', '127.0.0.22', account_id, pack_id, deck_id FROM peers"
            " WHERE role = 'terminator'"
        )
        connection.execute("INSERT INTO prices (deck_id, code, price) SELECT deck_id, '44', 0.06 FROM decks")
        connection.execute(
            "INSERT INTO route_class_entries (route_class_id, peer_id, priority)"
            " SELECT c.route_class_id, peer_id, peer_id FROM route_classes c, peers WHERE role = 'terminator'"
        )
        connection.execute(
            "INSERT INTO termination_controls (name, metric, threshold, checks, check_seconds, window_seconds,"
            " minimum_sample, release_minutes) VALUES ('bad ASR', 'asr', 20, 2, 10, 60, 10, 1)"
        )
        router = Running(postgres_dsn, tmp_path)
        numbers = iter(range(1, 10_000))

        async def tried() -> list[str]:
            answer = await router.call(next(numbers))
            assert answer is not None
            assert answer["DECISION"] == "ALLOW"
            return [answer[f"ROUTE_{number}_DIAL"].rpartition("@")[2] for number in range(1, int(answer["ROUTES"]) + 1)]

        async def until_tried(vendors: list[str]) -> None:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while await tried() != vendors:
                assert time.monotonic() < deadline, router.said()
                await asyncio.sleep(0.1)

        controller: Controller | None = None
        try:
            await router.until_ready()
            assert await tried() == ["v-seller", "v-spare"]
            produce_events(kafka, RATED_LEGS, failed_legs(world.terminator, time.time_ns() // 1_000_000))
            controller = Controller(
                StreamsSettings(
                    role="control", kafka=as_user(kafka, "control"), postgres=postgres, data_directory=tmp_path,
                    clickhouse=ClickHouse(url="http://127.0.0.1:9", password=SecretStr("x")),
                )
            )  # fmt: skip
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not connection.execute("SELECT 1 FROM control_actions").fetchone():
                assert time.monotonic() < deadline
                await asyncio.to_thread(controller.step)
            await until_tried(["v-spare"])
            # Its time comes nearer than a minute; the row is not released, the router ends it at that moment itself.
            connection.execute(
                "UPDATE control_actions SET since = since - interval '1 minute', until = now() + interval '3 seconds'"
            )
            await until_tried(["v-seller", "v-spare"])
            assert connection.execute("SELECT released_at, until <= now() FROM control_actions").fetchone() == (
                None,
                True,
            )
        finally:
            if controller is not None:
                controller.close()
            router.end()
