"""`streamco dead-letters` on a real table and broker: listed, shown, sent again, discarded, all of it recorded."""

import base64
import json
from pathlib import Path

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result
from command_role import command_environment
from made_legs import insert_parties

from runtime.connections import Kafka
from schemas import events
from schemas.events import DeadLetter, LegEnded, decode_event, encode_event
from schemas.topics import CALLS
from sinks.audit.full.sources import read_topic
from sinks.dead_letters.store import keep_letters
from streamco.dead_letters_cli import dead_letters
from streamco.embedded.temporary_users import as_user, environment_of

pytestmark = pytest.mark.servers
EXAMPLES = Path(events.__file__).parent / "examples"
ENDED = decode_event((EXAMPLES / "leg_ended.json").read_bytes())
LINES = (EXAMPLES / "journal.csv").read_bytes().splitlines(keepends=True)
LINE = LINES[0]


class Desk:
    """Somebody at the command line."""

    def __init__(self, home: Path, dsn: str, kafka: Kafka) -> None:
        self.dsn = dsn
        self.kafka = kafka
        self.environment = {
            "STREAMCO_HOME": str(home), **command_environment(dsn), **environment_of(as_user(kafka, "cli")),
        }  # fmt: skip

    async def keep(self, **raws: bytes) -> None:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
            for name, raw in raws.items():
                origin = name.replace("__", "/").replace("_", "-")
                one = DeadLetter(
                    event_id=origin, origin=origin, reason="refused", raw_base64=base64.b64encode(raw).decode(), at_ms=1
                )
                assert await keep_letters(connection, [one]) == [origin]

    def run(self, *arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(dead_letters, arguments, env=self.environment)
        assert done.exit_code == code, done.output
        return done

    def states(self) -> dict[str, str]:
        listed = json.loads(self.run("list", "--json").output)["letters"]
        return {one["origin"]: one["state"] for one in listed}

    def calls(self) -> list[object]:
        return list(read_topic(self.kafka, CALLS))


@pytest.fixture
def desk(tmp_path: Path, postgres_dsn: str, kafka: Kafka) -> Desk:
    return Desk(tmp_path, postgres_dsn, kafka)


async def test_list_and_show(desk: Desk) -> None:
    assert desk.run("list").output == "0 dead letters\n"
    await desk.keep(calls__0__0__frame=b"\xff poison", rated_legs__1__2__0=encode_event(ENDED))
    assert "calls/0/0/frame" in desk.run("list").output
    assert desk.run("list", "--state", "discarded").output == "0 dead letters\n"
    assert desk.states() == {"calls/0/0/frame": "open", "rated-legs/1/2/0": "open"}
    shown = json.loads(desk.run("show", "calls/0/0/frame", "--json").output)
    assert base64.b64decode(shown["raw_base64"]) == b"\xff poison"
    assert (shown["reason"], shown["source"], shown["replays"], shown["decided_at"]) == ("refused", "calls", 0, None)
    text = desk.run("show", "calls/0/0/frame").output
    assert "8 bytes:\n\\xff poison" in text
    assert "there is no such dead letter" in desk.run("show", "calls/9/9/9", code=1).output


async def test_replay_produces_first_and_records_who_and_why(desk: Desk) -> None:
    await desk.keep(calls__0__0__0=encode_event(ENDED), calls__0__0__1=b"{}", **{"journal:ast1:Master.csv:0": LINE})
    assert isinstance(ENDED, LegEnded)
    done = desk.run("replay", "calls/0/0/0", "journal:ast1:Master.csv:0", "--reason", "deck mended", "--by", "anna")
    assert "calls/0/0/0: sent again as calls/" in done.output
    assert "2 sent again, 0 not" in done.output
    sent = desk.calls()
    assert ENDED in sent
    assert len(sent) == 2
    assert desk.states() == {
        "calls/0/0/0": "replayed", "journal:ast1:Master.csv:0": "replayed", "calls/0/0/1": "open",
    }  # fmt: skip
    shown = json.loads(desk.run("show", "calls/0/0/0", "--json").output)
    assert (shown["decided_by"], shown["decided_why"], shown["replays"]) == ("anna", "deck mended", 1)
    assert shown["decided_at"]
    again = desk.run("replay", "calls/0/0/0", "calls/7/7/7", "--reason", "once more", code=1)
    assert "calls/0/0/0: was replayed" in again.output
    assert "calls/7/7/7: there is no such dead letter" in again.output
    assert len(desk.calls()) == 2


async def test_all_takes_the_open_ones_that_were_not_replayed_too_often(desk: Desk) -> None:
    await desk.keep(
        calls__0__0__0=encode_event(ENDED), calls__0__0__1=encode_event(msgspec.structs.replace(ENDED, cause=17)),
        calls__0__0__2=encode_event(msgspec.structs.replace(ENDED, cause=18)),
    )  # fmt: skip
    desk.run("discard", "calls/0/0/1", "--reason", "test traffic")
    with psycopg.connect(desk.dsn) as connection:
        connection.execute("UPDATE dead_letters SET replays = 3 WHERE origin = 'calls/0/0/2'")
    assert "1 sent again, 0 not" in desk.run("replay", "--all", "--reason", "deck mended").output
    assert desk.states() == {"calls/0/0/0": "replayed", "calls/0/0/1": "discarded", "calls/0/0/2": "open"}
    # By name it goes, and a discarded one too: the first decision is not forgotten.
    desk.run("replay", "calls/0/0/1", "calls/0/0/2", "--reason", "it was real", "--by", "bo")
    why = json.loads(desk.run("show", "calls/0/0/1", "--json").output)["decided_why"]
    assert why.startswith("it was real (before: discarded by ")
    assert len(desk.calls()) == 3


async def test_discard_needs_a_reason_and_an_open_letter(desk: Desk) -> None:
    await desk.keep(calls__0__0__0=b"{}", calls__0__0__1=b"{}")
    assert "--reason" in desk.run("discard", "calls/0/0/0", code=2).output
    assert "must say something" in desk.run("discard", "calls/0/0/0", "--reason", " ", code=2).output
    assert desk.states() == {"calls/0/0/0": "open", "calls/0/0/1": "open"}
    desk.run("discard", "calls/0/0/0", "--reason", "test traffic", "--by", "anna")
    shown = json.loads(desk.run("show", "calls/0/0/0", "--json").output)
    assert (shown["state"], shown["decided_by"], shown["decided_why"]) == ("discarded", "anna", "test traffic")
    again = desk.run("discard", "calls/0/0/0", "calls/0/0/1", "--reason", "again", code=1)
    assert "calls/0/0/0: is discarded, not open" in again.output
    assert desk.states() == {"calls/0/0/0": "discarded", "calls/0/0/1": "discarded"}


async def test_the_hold_goes_with_the_last_open_letter_of_its_call(desk: Desk) -> None:
    """The lines of one call, and one of a call whose id begins like its own."""
    result, ended = LINES[3:5]
    call_id, other = "ast1-1795609861-1795609900.12", "ast1-1795609861-1795609900.123"
    account = next(iter(insert_parties(desk.dsn).accounts.values()))
    with psycopg.connect(desk.dsn) as connection:
        for one in (call_id, other):
            connection.execute(
                "INSERT INTO holds (call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds,"
                " admitted_at, expires_at) VALUES (%s, 'ast1', 1, %s, 0.5, 60, 60, now(), now() + interval '1 h')",
                (one, account),
            )
        connection.execute("UPDATE account_balances SET held = 1 WHERE account_id = %s", (account,))

    def held() -> tuple[list[str], float]:
        with psycopg.connect(desk.dsn) as connection:
            calls = [one for (one,) in connection.execute("SELECT call_id FROM holds ORDER BY call_id").fetchall()]
            row = connection.execute("SELECT held FROM account_balances WHERE account_id = %s", (account,)).fetchone()
            assert row is not None
            return calls, float(row[0])

    await desk.keep(
        calls__0__0__0=encode_event(ENDED), calls__0__0__frame=b"\xff poison",
        **{"journal:ast1:M:0": result, "journal:ast1:M:9": ended.replace(b"00.12", b"00.123")},
    )  # fmt: skip
    desk.run("discard", "calls/0/0/frame", "journal:ast1:M:0", "--reason", "test traffic")
    assert held() == ([call_id, other], 1.0)
    done = desk.run("discard", "calls/0/0/0", "--reason", "test traffic")
    assert done.output == f"calls/0/0/0: discarded; the hold of {call_id} is released\n"
    assert held() == ([other], 0.5)
    desk.run("discard", "journal:ast1:M:9", "--reason", "test traffic")
    assert held() == ([], 0.0)


async def test_what_cannot_be_sent_stays_as_it_is(desk: Desk) -> None:
    await desk.keep(calls__0__0__0=encode_event(ENDED), **{"journal:ast1:Master.csv:0": b"garbage\n"})
    assert "still no line" in desk.run("replay", "journal:ast1:Master.csv:0", "--reason", "x", code=1).output
    desk.environment["STREAMCO_KAFKA_BOOTSTRAP"] = "127.0.0.1:1999"
    assert "does not answer" in desk.run("replay", "calls/0/0/0", "--reason", "x", code=1).output
    assert set(desk.states().values()) == {"open"}
    assert json.loads(desk.run("show", "calls/0/0/0", "--json").output)["replays"] == 0
    assert "name the letters" in desk.run("replay", "--reason", "x", code=2).output
    desk.environment["STREAMCO_POSTGRES_DSN"] = "postgresql://x@127.0.0.1:1999/x"
    assert "PostgreSQL does not answer" in desk.run("list", code=1).output
