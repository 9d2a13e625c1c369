"""F2, F3: poison is one dead letter each and can be sent again; where it cannot be written down, the worker stops."""

import base64
import json
from typing import Any

import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from command_role import command_environment
from fault_line import ServersLine
from feeder import call_messages
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from made_legs import Ended, journal_line, make_legs, produce, produce_events, write_journals

from runtime.topics import make_topics
from schemas.events import DeadLetter, LegEnded, encode_event
from schemas.frame import partition_of
from schemas.ids import make_leg_id
from schemas.topics import CALLS, DEAD_LETTERS
from sinks.audit.continuous.letters import OPEN_LETTER
from sinks.audit.full.audit import AuditReport
from sinks.dead_letters.messages import dead_letter_messages
from streamco.dead_letters_cli import dead_letters
from streamco.embedded.temporary_users import as_user, environment_of
from tests.faults.report import report

pytestmark = [pytest.mark.servers, pytest.mark.faults]


def desk(line: ServersLine, *arguments: str, code: int = 0) -> str:
    environment = {
        "STREAMCO_HOME": str(line.directory / "home"), **command_environment(line.dsn),
        **environment_of(as_user(line.kafka, "cli")),
    }  # fmt: skip
    done = CliRunner().invoke(dead_letters, arguments, env=environment)
    assert done.exit_code == code, done.output
    return done.output


def open_letters(audited: AuditReport) -> set[str]:
    """The origins of the dead letters that the audit names because nobody has decided about them."""
    return {one.detail for one in audited.differences if one.kind == OPEN_LETTER}


def paid_leg(ended: list[Ended]) -> LegEnded:
    return next(leg for leg in ended if isinstance(leg, LegEnded) and leg.duration_ms)


def spoilt(leg: LegEnded, **changes: Any) -> bytes:
    return json.dumps({**json.loads(encode_event(leg)), **changes}).encode()


def test_f2_poison_is_one_letter_each_and_goes_through_the_same_door_again(line: ServersLine) -> None:
    ended = make_legs(line.parties, 2, 60)
    paid = paid_leg(ended)
    stranger = msgspec.structs.replace(
        paid, call_id="sim1-1795000000-1795608000.7", facts=msgspec.structs.replace(paid.facts, account_id=999_999)
    )
    unread = next(leg for leg in reversed(ended) if isinstance(leg, LegEnded))  # an older agent could not read its line
    relayed = [leg for leg in ended if leg is not unread]
    poison = {
        "calls/0/0/frame": b"\xff\xfe no frame",
        "calls/1/0/0": spoilt(paid, v=2),
        "calls/1/0/1": spoilt(paid, duration_ms=-1),
    }
    produce(line.kafka, CALLS, [(0, poison["calls/0/0/frame"]), (1, b"[1,[%s,%s]]" % tuple(poison.values())[1:])])
    produce_events(line.kafka, CALLS, [*relayed[:50], stranger, *relayed[50:]])
    from_journal = DeadLetter(
        event_id="journal:sim1:Master.csv~0:7", origin="journal:sim1:Master.csv~0:7", reason="no such kind",
        raw_base64=base64.b64encode(journal_line(unread)).decode(), at_ms=1,
    )  # fmt: skip
    produce(line.kafka, DEAD_LETTERS, dead_letter_messages([from_journal] * 2, line.kafka.partitions))
    for name, role in {"streams-1": "billing", "streams-2": "cdrs"}.items():
        line.start(name, role)
    line.until(lambda: line.posted() == len(relayed) and len(line.letters()) == 5)
    line.until(lambda: line.written() == len(relayed) + 1)
    (refused,) = line.letters().keys() - poison.keys() - {from_journal.origin}
    assert refused.startswith("rated-legs/")
    journals = write_journals(line.directory / "nodes", [*ended, stranger])
    audited = line.audit(journals, settle_seconds=0)
    # Every open letter is named; the stranger's leg by its letter alone. Nobody could tell which leg the journal's line
    # was: so that leg is missing, too.
    assert open_letters(audited) == set(line.letters())
    assert {(one.kind, one.leg_id) for one in audited.differences if one.kind != OPEN_LETTER} == {
        ("journal leg not rated", make_leg_id(unread.call_id, unread.leg))
    }
    desk(line, "replay", from_journal.origin, refused, "--reason", "trying again")
    line.until(lambda: line.posted() == len(ended) and len(line.letters()) == 6)
    (again,) = line.letters().keys() - poison.keys() - {from_journal.origin, refused}
    shown = json.loads(desk(line, "show", again, "--json"))
    assert (shown["replay_of"], shown["replays"], shown["state"]) == (refused, 1, "open")
    with psycopg.connect(line.dsn) as connection:
        connection.execute(
            "INSERT INTO accounts (account_id, name, kind, currency, payment, company_id)"
            " SELECT 999999, 'found', 'vendor', 'USD', 'postpaid', min(company_id) FROM companies"
        )
    desk(line, "replay", again, *poison, "--reason", "the account is there now")
    line.until(lambda: line.posted() == len(ended) + 1 and len(line.letters()) == 9)
    back = [one for one in json.loads(desk(line, "list", "--state", "open", "--json"))["letters"] if one["replay_of"]]
    assert {one["replay_of"]: base64.b64decode(one["raw_base64"]) for one in back} == poison
    desk(line, "discard", *(one["origin"] for one in back), "--reason", "noise of a broken test set")
    audited = line.audit(journals)
    assert audited.ok, audited.differences
    assert (audited.legs.ledger, audited.legs.dead_letters) == (len(ended) + 1, 3)
    assert sorted(line.letters().values()) == ["discarded"] * 3 + ["replayed"] * 6
    assert set(line.letters()) == line.letters_in_topic()
    line.end()
    report("F2 poison: one letter each, replayed, back again, discarded", len(poison) + 2, len(ended) + 1, 4, "equal")


def alter(line: ServersLine, settings: dict[str, str]) -> None:
    admin = KafkaAdminClient(**line.kafka.client())
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, DEAD_LETTERS.name, configs=settings)])
    finally:
        admin.close()


def delete_topic(line: ServersLine) -> None:
    admin = KafkaAdminClient(**line.kafka.client())
    try:
        admin.delete_topics([DEAD_LETTERS.name])
    finally:
        admin.close()


BREAKING = {
    "read-only": (
        lambda line: alter(line, {"max.message.bytes": "1"}), lambda line: alter(line, {"max.message.bytes": "1048588"})
    ),
    "deleted": (delete_topic, lambda line: make_topics(line.kafka)),
}  # fmt: skip


@pytest.mark.parametrize("how", ["read-only", pytest.param("deleted", marks=pytest.mark.long)])
def test_f3_where_the_topic_of_dead_letters_takes_nothing_the_worker_stops(line: ServersLine, how: str) -> None:
    spoil, mend = BREAKING[how]
    ended = make_legs(line.parties, 3, 40)
    paid = paid_leg(ended)
    home = partition_of(paid.call_id, line.kafka.partitions)
    for name, role in {"streams-1": "billing", "streams-2": "cdrs"}.items():
        line.start(name, role, send_seconds=5)
    line.until(lambda: line.working("streams-1", "streams-2"))
    spoil(line)
    produce(line.kafka, CALLS, [(home, b"[1,[" + spoilt(paid, v=2) + b"," + encode_event(paid) + b"]]")])
    produce(line.kafka, CALLS, call_messages(ended, line.kafka.partitions, 5))
    deaths = 0
    while deaths < 2:  # and again, when it is started again
        line.until(lambda: not line.alive("streams-1"), seconds=60)
        assert line.pid("streams-1")
        assert line.returncode("streams-1") == 1
        deaths += 1
        if deaths < 2:
            line.start("streams-1", "billing", send_seconds=5)
    loud = line.said("streams-1", "stream worker crashed") + line.said("streams-1", "stream worker ends itself")
    assert len(loud) == deaths, "it stopped, but not loudly"
    assert line.committed("billing").get(TopicPartition(CALLS.name, home), 0) == 0
    assert line.letters() == {}
    mend(line)
    assert line.letters_in_topic() == set()
    line.start("streams-1", "billing")
    line.until(lambda: line.posted() == len(ended) == line.written() and line.letters())
    origin = f"calls/{home}/0/0"
    audited = line.audit_of(ended, settle_seconds=0)
    assert (open_letters(audited), audited.differences_total) == ({origin}, 1)
    assert line.letters() == {origin: "open"}
    assert line.letters_in_topic() == set(line.letters())
    desk(line, "discard", origin, "--reason", "understood")
    audited = line.audit({"sim1": line.directory / "nodes" / "sim1" / "journal"})
    assert audited.ok, audited.differences
    line.end()
    report(
        f"F3 topic of dead letters {how}: stopped, offset unmoved",
        deaths,
        len(ended),
        line.repeated("streams-1"),
        "equal",
    )


def test_f3_one_peers_letters_stop_nobody_and_wait_in_their_topic(line: ServersLine) -> None:
    ended = make_legs(line.parties, 5, 60)
    paid = paid_leg(ended)
    without_account = msgspec.structs.replace(paid.facts, account_id=999_999, vendor_peer_id=4_711)
    strangers: list[Ended] = [
        msgspec.structs.replace(paid, call_id=f"sim1-1795000000-1795608000.{number}", facts=without_account)
        for number in range(12)
    ]
    limits = {"max_peer_letters": 8, "max_dead_letters": 1}
    line.start("streams-1", "billing", **limits)
    line.start("streams-2", "cdrs", **limits)
    produce_events(line.kafka, CALLS, [*ended[:40], *strangers[:6]])
    line.until(lambda: line.posted() == 40 and len(line.letters()) == 6, alive=["streams-1"])
    line.until(lambda: line.caught_up("billing", CALLS))  # or they would be rated again, and be other letters
    line.kill("streams-1")  # what counts are the letters that are open, whatever was started when
    line.start("streams-1", "billing", **limits)
    produce_events(line.kafka, CALLS, [*strangers[6:], *ended[40:]])
    line.until(lambda: line.posted() == len(ended), alive=["streams-1", "streams-2"])
    line.until(lambda: len(line.letters_in_topic()) == len(strangers) and len(line.letters()) == 8)

    def rows(statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(line.dsn) as connection:
            return connection.execute(statement.encode()).fetchall()

    line.until(lambda: rows("SELECT DISTINCT peer_id FROM waiting_letters") == [(4_711,)])
    assert rows("SELECT peer_id FROM letter_stops") == [(4_711,)]  # routers pass the vendor over
    journals = write_journals(line.directory / "nodes", [*ended, *strangers])
    audited = line.audit(journals, settle_seconds=0)
    assert open_letters(audited) == set(line.letters())
    kept_nowhere = {one.detail for one in audited.differences if one.kind == "dead letter not in the table"}
    assert kept_nowhere == line.letters_in_topic() - set(line.letters())
    assert len(kept_nowhere) == 4
    # The cause is mended; what there was room for is replayed, and what has waited comes in its place.
    with psycopg.connect(line.dsn) as connection:
        connection.execute(
            "INSERT INTO accounts (account_id, name, kind, currency, payment, company_id)"
            " SELECT 999999, 'found', 'vendor', 'USD', 'postpaid', min(company_id) FROM companies"
        )
    desk(line, "replay", "--all", "--reason", "the account is there now")
    line.until(lambda: len(line.letters()) == len(strangers), alive=["streams-1"])
    desk(line, "replay", "--all", "--reason", "the account is there now")
    line.until(lambda: line.posted() == len(ended) + len(strangers) == line.written())
    emptied = "SELECT (SELECT count(*) FROM letter_stops) + (SELECT count(*) FROM waiting_letters)"
    line.until(lambda: rows(emptied) == [(0,)])
    audited = line.audit(journals)
    assert audited.ok, audited.differences
    assert sorted(line.letters().values()) == ["replayed"] * len(strangers)
    line.end()
    report("F3 one peer's letters: others billed, the rest waits", 1, len(ended) + len(strangers), 12, "equal")


@pytest.mark.long
def test_f3_the_limit_holds_over_restarts(line: ServersLine) -> None:
    ended = make_legs(line.parties, 4, 40)
    poison = [b'{"type":"of nobody","v":%d}' % number for number in range(2, 9)]
    line.start("streams-1", "billing", max_dead_letters=5)
    produce(line.kafka, CALLS, [(0, b"[1,[" + b",".join(poison[:4]) + b"]]")])
    line.until(lambda: len(line.letters()) == 4, alive=["streams-1"])
    line.until(lambda: line.committed("billing").get(TopicPartition(CALLS.name, 0)) == 1)
    line.kill("streams-1")
    produce(line.kafka, CALLS, [(0, b"[1,[" + b",".join(poison[4:]) + b"]]")])
    produce(line.kafka, CALLS, call_messages(ended, line.kafka.partitions, 5))
    for _ in range(2):
        line.start("streams-1", "billing", max_dead_letters=5)
        line.until(lambda: not line.alive("streams-1"), seconds=60)
        assert line.returncode("streams-1") == 1
        assert line.said("streams-1", "3 dead letters more with 4 open, 5 allowed: the first is calls/0/1/0")
        assert line.committed("billing")[TopicPartition(CALLS.name, 0)] == 1
        assert set(line.letters()) == line.letters_in_topic() == {f"calls/0/0/{number}" for number in range(4)}
    desk(line, "discard", "calls/0/0/0", "calls/0/0/1", "--reason", "understood")
    for name, role in {"streams-1": "billing", "streams-2": "cdrs"}.items():
        line.start(name, role, max_dead_letters=5)
    line.until(lambda: line.posted() == len(ended) == line.written() and len(line.letters()) == 7)
    left = {origin for origin, state in line.letters().items() if state == "open"}
    audited = line.audit_of(ended, settle_seconds=0)
    assert (open_letters(audited), audited.differences_total) == (left, 5)
    desk(line, "discard", *sorted(left), "--reason", "understood")
    audited = line.audit({"sim1": line.directory / "nodes" / "sim1" / "journal"})
    assert audited.ok, audited.differences
    assert audited.legs.dead_letters == 7
    line.end()
    report("F3 limit of dead letters over restarts: stopped, offset unmoved", 3, len(ended), 0, "equal")
