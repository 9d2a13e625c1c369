"""The control role on the real Kafka and PostgreSQL: it acts once, over kills and beside another; by time, by hand."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from made_legs import insert_parties, produce_events
from pydantic import SecretStr

from runtime.connections import ClickHouse, Kafka, Postgres
from schemas import events
from schemas.events import RatedLeg, decode_event
from schemas.topics import DECISIONS, RATED_LEGS
from sinks.control_actions import ControlActionError, list_actions, release_action
from streamco.embedded.temporary_users import as_user
from streams.control import LOOK_SECONDS, Controller
from streams.control_notify import Notifier
from streams.settings import StreamsSettings

pytestmark = pytest.mark.servers
EXAMPLES = Path(events.__file__).parent / "examples"
LEG: Any = decode_event((EXAMPLES / "leg_ended.json").read_bytes())
RATED: Any = decode_event((EXAMPLES / "rated_leg.json").read_bytes())
ROUTED: Any = decode_event((EXAMPLES / "call_routed.json").read_bytes())
BAD, GOOD, CUSTOMER = 11, 12, 1
TERMINATION = """
    INSERT INTO termination_controls
        (name, metric, threshold, checks, check_seconds, window_seconds, minimum_sample, release_minutes)
    VALUES ('bad ASR', 'asr', 20, 3, 10, 60, 10, 1)
"""


def legs(now_ms: int, vendor: int, answered_percent: int, begin: int) -> list[RatedLeg]:
    """Two legs a second over the last three minutes."""
    made = []
    for number in range(360):
        answered = number % 100 < answered_percent
        ended_at_ms = now_ms - 500 * number
        ended = msgspec.structs.replace(
            LEG, call_id=f"sim1-1795000000-1795608000.{begin + number}", leg=1, ended_at_ms=ended_at_ms,
            facts=msgspec.structs.replace(LEG.facts, vendor_peer_id=vendor),
            dial_status="ANSWER" if answered else "CONGESTION",
            answered_at_ms=ended_at_ms - 900 if answered else None, duration_ms=900 if answered else 0,
        )  # fmt: skip
        made.append(msgspec.structs.replace(RATED, leg_id=f"{ended.call_id}/1", side="payable", ended=ended))
    return made


@pytest.fixture
def settings(tmp_path: Path, postgres: Postgres, kafka: Kafka) -> StreamsSettings:
    insert_parties(postgres.dsn.get_secret_value())
    return StreamsSettings(
        role="control", kafka=as_user(kafka, "control"), postgres=postgres, data_directory=tmp_path,
        clickhouse=ClickHouse(url="http://127.0.0.1:9", password=SecretStr("x")),
    )  # fmt: skip


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


def work(controller: Controller, done: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline
        controller.step()
    return found


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_a_bad_vendor_is_blocked_once_over_a_restart_and_released_by_time_and_by_hand(
    settings: StreamsSettings, kafka: Kafka, connection: psycopg.Connection[Any]
) -> None:
    connection.execute(TERMINATION)
    at_ms = now_ms()
    produce_events(kafka, RATED_LEGS, [*legs(at_ms, BAD, 5, 1), *legs(at_ms, GOOD, 60, 1_000)])

    def rows() -> list[tuple[Any, ...]]:
        return connection.execute("SELECT peer_id, action, released_by FROM control_actions").fetchall()

    generation = "SELECT generation FROM configuration_generation"
    before = connection.execute(generation).fetchone()
    first, ahead_ms = None, 0
    try:
        first = Controller(settings, lambda: now_ms() + ahead_ms)
        work(first, rows)
        assert rows() == [(BAD, "block", None)]
        assert connection.execute(generation).fetchone() > before  # type: ignore[operator]
        (action,) = list_actions(connection, "in force", 10)
        assert action.control == "bad ASR"
        assert "ASR 5" in action.reason or "ASR 4" in action.reason
        assert action.until is not None
        assert (action.until - action.since).total_seconds() == 60
        # Another controller waits for its turn, and takes it: from the log and the rows, it finds nothing to add.
        other = Controller(settings)
        assert not other.works
        assert other.step() == "another controller works"
        other.close()
        first.close()
        first = Controller(settings)
        deadline = time.monotonic() + 12  # a check more, at the least
        while time.monotonic() < deadline:
            first.step()
        assert rows() == [(BAD, "block", None)]
        # By time.
        connection.execute(
            "UPDATE control_actions SET since = since - interval '1 hour', until = now() - interval '1 second'"
        )
        work(first, lambda: rows() == [(BAD, "block", "time")])
        # A new control looks further back than anything that was read so far: the window is made anew for it.
        connection.execute(
            "INSERT INTO termination_controls (name, metric, threshold, checks, check_seconds, window_seconds,"
            " minimum_sample, action) VALUES ('long memory', 'asr', 20, 1, 10, 300, 330, 'demote')"
        )
        work(first, lambda: (BAD, "demote", None) in rows())
        connection.execute("DELETE FROM control_actions WHERE action = 'demote'")
    finally:
        if first is not None:
            first.close()
    # By hand: once, and only with a name and a reason.
    connection.execute("UPDATE control_actions SET released_at = NULL, released_by = NULL, until = NULL")
    with pytest.raises(ControlActionError, match="needs a name and a reason"):
        release_action(connection, action.action_id, "ada", " ")
    release_action(connection, action.action_id, "ada", "the vendor has mended it")
    (done,) = list_actions(connection, "released", 10)
    assert (done.released_by, done.released_why) == ("ada", "the vendor has mended it")
    with pytest.raises(ControlActionError, match="released already, by ada"):
        release_action(connection, action.action_id, "bob", "again")
    with pytest.raises(ControlActionError, match="no such action"):
        release_action(connection, "termination/0", "bob", "again")
    assert list_actions(connection, "in force", 10) == []


def test_a_customer_who_calls_too_much_is_capped_and_his_destinations_are_kept(
    settings: StreamsSettings, kafka: Kafka, connection: psycopg.Connection[Any]
) -> None:
    connection.execute(
        "INSERT INTO origination_controls (name, measure, threshold, window_seconds, action, cap_concurrent)"
        " VALUES ('surge', 'cps', 3, 60, 'cap', 4)"
    )
    at_ms = now_ms()
    produce_events(
        kafka,
        DECISIONS,
        [
            msgspec.structs.replace(
                ROUTED, call_id=f"sim1-1795000000-1795608000.{number + 1}", routed_at_ms=at_ms - 200 * number,
                customer_peer_id=CUSTOMER, destination_id=1 + number % 3,
            )
            for number in range(400)
        ],
    )  # fmt: skip
    controller = Controller(settings)
    try:
        (row,) = work(
            controller,
            lambda: connection.execute(
                "SELECT peer_id, action, cap_concurrent, until, reason FROM control_actions"
            ).fetchall(),
        )
        assert row[:4] == (CUSTOMER, "cap", 4, None)
        assert "calls a second in 60 s, above 3" in row[4]
        kept = "SELECT destination_id FROM customer_destinations WHERE peer_id = %s ORDER BY 1"
        work(controller, lambda: connection.execute(kept, (CUSTOMER,)).fetchall() == [(1,), (2,), (3,)])
    finally:
        controller.close()


def test_a_controller_with_nothing_to_release_leaves_the_configuration_alone(
    settings: StreamsSettings, connection: psycopg.Connection[Any]
) -> None:
    """Else every router would take a new snapshot at each of its rounds."""
    connection.execute(TERMINATION)
    generation = "SELECT generation FROM configuration_generation"
    before = connection.execute(generation).fetchone()
    controller = Controller(settings)
    try:
        deadline = time.monotonic() + 3 * LOOK_SECONDS
        while time.monotonic() < deadline:
            controller.step()
        assert controller.step().startswith("1 controls")
    finally:
        controller.close()
    assert connection.execute(generation).fetchone() == before


class _Receiver(http.server.BaseHTTPRequestHandler):
    told: list[dict[str, Any]] = []  # noqa: RUF012
    answers: list[int] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answers.pop(0))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def test_what_was_done_is_told_until_it_is_taken(
    settings: StreamsSettings, connection: psycopg.Connection[Any]
) -> None:
    insert = (
        "INSERT INTO control_actions (action_id, kind, control_id, control, peer_id, action, reason, since)"
        " VALUES ('a/1', 'termination', 1, 'bad ASR', 11, 'block', 'ASR 3 %', now())"
    )
    connection.execute(insert)
    connection.execute("INSERT INTO control_notifications (action_id, event) VALUES ('a/1', 'taken')")
    state = "SELECT state, tries, last_error FROM control_notifications"
    Notifier(None).tell(connection)
    assert connection.execute(state).fetchall() == [("kept", 0, "")]
    connection.execute("UPDATE control_notifications SET state = 'pending'")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        _Receiver.answers[:] = [500, 204]
        notifier = Notifier(SecretStr(f"http://127.0.0.1:{server.server_port}/hook?secret=s"))
        notifier.tell(connection)
        assert connection.execute(state).fetchall() == [("pending", 1, "HTTP 500")]
        notifier.tell(connection)  # not yet
        assert len(_Receiver.told) == 1
        connection.execute("UPDATE control_notifications SET next_try_at = now()")
        notifier.tell(connection)
        assert connection.execute(state).fetchall() == [("sent", 2, "")]
        assert _Receiver.told[1]["id"] == "a/1:taken"
        assert (_Receiver.told[1]["peer"], _Receiver.told[1]["reason"]) == ("danube", "ASR 3 %")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    connection.execute("UPDATE control_notifications SET state = 'pending', tries = 7, next_try_at = now()")
    notifier.tell(connection)
    ((said, tries, error),) = connection.execute(state).fetchall()
    assert (said, tries) == ("given up", 8)
    assert "secret" not in error
