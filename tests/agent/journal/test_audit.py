"""The journal's audit on a real ledger: posted is equal; what is missing, repeated or too many is named by leg."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from made_legs import Ended, Parties, insert_parties, journal_line, make_legs
from pydantic import SecretStr

from agent.journal import audit as journal_audit
from agent.journal import rows as journal_rows
from agent.journal.audit import JournalAudit
from agent.journal.marks import AgentState, Mark, head_of
from agent.restart.last_heartbeat import LastHeartbeat, store_heartbeat
from runtime.connections import Postgres
from schemas.journal import encode_line
from sinks.audit.continuous import store
from sinks.audit.continuous.journals import BEHIND, journal_differences
from sinks.ledger import Ledger
from streams.folds.rating import rate_leg

pytestmark = pytest.mark.servers
NODE = "sim1"


def leg_of(ended: Ended) -> str:
    return f"{ended.call_id}/{getattr(ended, 'leg', 0)}"


class Node:
    """A node's journal, the ledger, and the agent's audit of the one by the other. Nothing has to settle."""

    def __init__(self, directory: Path, dsn: str, settings_of: Callable[..., Any]) -> None:
        self.directory, self.dsn = directory, dsn
        self.journal = directory / "journal"
        self.journal.mkdir(parents=True)
        self.live = self.journal / "Master.csv"
        self._settings_of = settings_of
        self.changes: dict[str, Any] = {}
        self.relayed = True
        self.forgotten: list[int] = []
        self.audit = self.started()

    def started(self) -> JournalAudit:
        """The audit of an agent that has started now."""
        settings = self._settings_of(
            self.directory,
            node=NODE,
            postgres=Postgres(dsn=SecretStr(self.dsn)),
            **{"settle_seconds": 1e-9, **self.changes},
        )
        if (before := getattr(self, "audit", None)) is not None:
            before._disconnect()
        self.audit = JournalAudit(settings, self.state, self.forgotten.append)
        return self.audit

    def state(self) -> AgentState:
        """The relay's: it has all of it, or nothing."""
        marks = []
        for path in self.journal.iterdir() if self.relayed else []:
            head = head_of(path.read_bytes()[:256])
            if head is not None:
                marks.append(Mark(path.stat().st_ino, head, path.stat().st_size, ""))
        return AgentState(epoch=7, files=tuple(marks))

    def write(self, legs: Sequence[Ended]) -> None:
        with self.live.open("ab") as file:
            file.write(b"".join(journal_line(leg) for leg in legs))

    def post(self, legs: Sequence[Ended]) -> None:
        async def posting() -> None:
            async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
                await Ledger(connection).post([rate_leg(leg) for leg in legs])

        asyncio.run(posting())

    def look(self, times: int = 3) -> set[tuple[str, str]]:
        """Look, the hours too; what the auditor would say of it."""
        for _ in range(times):
            self.count_ledger()
            self.audit._hours_at = float("-inf")
            while self.audit.look():
                pass
        return self.differences()

    def differences(self) -> set[tuple[str, str]]:
        with psycopg.connect(self.dsn) as connection:
            return {(one.kind, one.subject) for one in journal_differences(connection, datetime.now(UTC))}

    def count_ledger(self) -> None:
        """As the auditor does, long ago."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint").fetchone()
            assert row is not None
            store.begin(connection, row[0])
            store.save(connection, store.Position("here", row[0], ()), {})
            connection.execute("UPDATE audit_hours SET changed_at = now() - interval '1 hour'")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            connection.execute("SET session_replication_role = replica")
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def node(tmp_path: Path, postgres_dsn: str, settings_of: Callable[..., Any]) -> Iterator[Node]:
    node = Node(tmp_path / NODE, postgres_dsn, settings_of)
    yield node
    node.audit._disconnect()


@pytest.fixture
def parties(postgres_dsn: str) -> Parties:
    return insert_parties(postgres_dsn)


@pytest.fixture
def legs(parties: Parties) -> list[Ended]:
    return [leg for leg in make_legs(parties, 1, 60) if leg.call_id.startswith(f"{NODE}-")]


def test_what_is_posted_is_equal_whatever_is_read_again(node: Node, legs: list[Ended]) -> None:
    node.write(legs[:50])
    node.post(legs)
    assert node.look() != set()  # half of it is in the ledger alone
    node.write(legs[50:])
    assert node.look() == set()
    ((counted, size),) = node.sql("SELECT legs, bytes FROM journal_segments")
    assert (counted, size) == (len(legs), node.live.stat().st_size)
    assert node.sql("SELECT sum(legs) FROM audit_journal_hours") == [(len(legs),)]
    node.live.rename(node.journal / "Master.csv.1")  # renamed by others, copied back, and another agent
    node.started()
    assert node.look() == set()
    assert node.sql("SELECT sum(legs) FROM audit_journal_hours") == [(len(legs),)]
    node.live.write_bytes((node.journal / "Master.csv.1").read_bytes())
    (node.journal / "Master.csv.1").unlink()
    assert node.look() == set()
    assert node.sql("SELECT sum(legs), count(*) FROM journal_segments") == [(len(legs), 1)]


def test_a_leg_that_is_not_posted_is_named_until_it_is(node: Node, legs: list[Ended]) -> None:
    missing = [leg for leg in legs if leg.call_id == legs[0].call_id]
    node.write(legs)
    node.post(legs[len(missing) :])
    assert node.look() == {("journal leg not in the ledger", leg_of(leg)) for leg in missing}
    assert node.started() is node.audit
    assert node.look() == {("journal leg not in the ledger", leg_of(leg)) for leg in missing}
    node.post(missing)
    assert node.look() == set()
    assert node.sql("SELECT count(*) FROM audit_journal_findings") == [(0,)]


def test_dead_letters_excuse_until_they_are_replayed(node: Node, legs: list[Ended]) -> None:
    refused, other = legs[0], legs[1]
    node.write(legs)
    node.post(legs[2:])
    letter = (
        "INSERT INTO dead_letters (origin, source, reason, raw, leg_id, at, state, decided_by, decided_why, decided_at)"
    )
    node.sql(f"{letter} VALUES ('x/0/0/0', 'calls', 'no', '', '{leg_of(refused)}', now(), 'open', '', '', NULL)")
    node.sql(
        f"{letter} VALUES ('x/0/0/1', 'calls', 'no', '', '{leg_of(other)}', now(), 'discarded', 'me', 'so', now())"
    )
    assert node.look() == set()  # the hour neither, though the ledger has two legs less
    node.sql("UPDATE dead_letters SET state = 'replayed', decided_by = 'me', decided_why = 'again', decided_at = now()"
             " WHERE state = 'open'")  # fmt: skip
    assert node.look() == {("journal leg not in the ledger", leg_of(refused))}
    node.post([refused])
    assert node.look() == set()


def test_what_the_ledger_has_too_much_is_named_and_estimates_are_not(node: Node, legs: list[Ended]) -> None:
    import msgspec

    surplus, estimated = legs[0], legs[1]
    node.write(legs[2:])
    node.post([*legs[2:], surplus, msgspec.structs.replace(estimated, estimated=True)])
    assert ("ledger leg without a journal line", leg_of(surplus)) in node.look()
    assert not any(leg_of(estimated) == leg for kind, leg in node.differences() if kind.startswith("ledger"))
    node.write([surplus])
    assert {leg for _, leg in node.look()} <= {leg_of(estimated)}
    node.write([estimated])  # its true end came late, and was posted as a correction
    node.post([estimated])
    assert node.look() == set()


def test_a_leg_closed_twice_and_a_leg_that_nothing_closed(node: Node, legs: list[Ended]) -> None:
    hunted = next(leg for leg in legs if leg_of(leg).endswith("/1"))
    node.write([leg for leg in legs if leg is not hunted])
    node.post([leg for leg in legs if leg is not hunted])
    assert node.look() == {("leg of an ended call that nothing closed", leg_of(hunted))}
    node.post([hunted])
    node.write([hunted, hunted])
    assert node.look() == {("leg closed more than once in the journal", leg_of(hunted))}


def test_a_call_that_asterisk_saw_answered_is_closed_as_answered(node: Node, legs: list[Ended]) -> None:
    """Also by an agent that was started while it was up."""
    call = next(leg for leg in legs if not getattr(leg, "leg", 0) and leg.answered_at_ms is None)
    rest = [leg for leg in legs if leg is not call]
    with node.live.open("ab") as file:
        file.write(encode_line("ANSWER", "1795609904.350000", {"call": call.call_id}))
    node.write(rest)
    node.post(legs)
    before = node.look()
    node.started()
    node.write([call])
    with node.live.open("ab") as file:
        file.write(encode_line("HANGUP", "1795609964.350000", {"call": call.call_id}))
    assert node.look() - before == {(journal_rows.NOT_IN_BOOKS, call.call_id)}


def test_lines_that_cannot_be_read_must_be_dead_letters(node: Node, legs: list[Ended]) -> None:
    node.write(legs)
    node.post(legs)
    at = node.live.stat().st_size
    with node.live.open("ab") as file:
        file.write(b"garbage\nto")
    ((kind, origin),) = node.look()
    assert kind == "journal line neither read nor a dead letter"
    assert origin.startswith(f"journal:{NODE}:Master.csv~")
    assert origin.endswith(f":{at}")
    node.sql(
        f"INSERT INTO dead_letters (origin, source, reason, raw, at) VALUES ('{origin}', 'journal', 'no', 'g', now())"
    )
    assert node.look() == set()
    node.live.rename(node.journal / "Master.csv.1")
    assert node.look() == {("rotated journal file ends in a torn line", "Master.csv.1")}
    with (node.journal / "Master.csv.1").open("ab") as file:
        file.write(b"rn\n")
    assert {kind for kind, _ in node.look()} == {"journal line neither read nor a dead letter"}


def test_a_journal_that_lost_its_end_is_counted_anew(node: Node, legs: list[Ended]) -> None:
    node.write(legs[:60])
    node.post(legs[:60])
    assert node.look() == set()
    lines = node.live.read_bytes().splitlines(keepends=True)
    node.live.write_bytes(b"".join(lines[:-2]))
    node.write(legs[60:70])
    node.post(legs[60:70])
    lost = {("ledger leg without a journal line", leg_of(leg)) for leg in legs[58:60]}
    assert node.look() == lost
    assert node.sql("SELECT legs FROM journal_segments") == [(68,)]


def test_a_file_is_rotated_sealed_posted_and_then_deleted_when_it_is_old(node: Node, legs: list[Ended]) -> None:
    node.changes = {"rotate_bytes": 2_000, "keep_journal_seconds": 0}
    node.started()
    node.write(legs[:20])
    node.post(legs[1:])
    text = node.live.read_bytes()
    node.relayed = False
    node.look()
    (rotated,) = node.journal.iterdir()
    assert rotated.name.startswith("Master.csv.2")
    node.write(legs[20:21])
    node.look()
    assert node.sql("SELECT count(*) FROM journal_segments WHERE sealed_at IS NOT NULL") == [(0,)]  # not all relayed
    node.relayed = True
    node.look()
    ((legs_in, sha256, posted),) = node.sql(
        "SELECT legs, sha256, posted_at FROM journal_segments WHERE sealed_at IS NOT NULL"
    )
    assert (legs_in, sha256, posted) == (20, hashlib.sha256(text).hexdigest(), None)  # one leg is not in the ledger
    node.post(legs[:1])
    node.look()
    assert rotated.exists()  # posted; but no heartbeat tells which calls are up
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    store_heartbeat(node.directory, LastHeartbeat(7, now_ms, 0, {f"{NODE}-1795000000-1000000000.1": None}))
    node.look()
    assert rotated.exists()  # a call is up that began before the file's last line
    store_heartbeat(node.directory, LastHeartbeat(7, now_ms, 0, {f"{NODE}-1795000000-9000000000.1": None}))
    inode = rotated.stat().st_ino
    assert node.look() <= {("ledger leg without a journal line", leg_of(leg)) for leg in legs[21:]}
    assert not rotated.exists()
    assert node.forgotten == [inode]
    assert node.sql("SELECT count(*) FROM journal_segments WHERE deleted_at IS NOT NULL") == [(1,)]
    node.write(legs[21:])
    assert node.look() == set()  # what the deleted file had counts on
    assert node.sql("SELECT sum(legs) FROM audit_journal_hours") == [(len(legs),)]


def test_a_file_that_grew_after_its_seal_is_sealed_again(node: Node, legs: list[Ended]) -> None:
    rotated = node.journal / "Master.csv.1"
    node.write(legs[:20])
    node.post(legs)
    node.live.rename(rotated)
    node.look()
    ((first,),) = node.sql("SELECT sha256 FROM journal_segments WHERE posted_at IS NOT NULL")
    with rotated.open("ab") as file:  # by a writer that was stopped with the file open
        file.write(b"".join(journal_line(leg) for leg in legs[20:]))
    assert node.look() == set()
    ((second, counted),) = node.sql("SELECT sha256, legs FROM journal_segments WHERE posted_at IS NOT NULL")
    assert (second != first, counted) == (True, len(legs))


def test_a_file_that_vanished_before_it_was_posted_is_told(node: Node, legs: list[Ended]) -> None:
    node.write(legs)
    node.post(legs[1:])
    node.look()
    node.live.unlink()
    kinds = {kind for kind, _ in node.look()}
    assert kinds == {"journal leg not in the ledger", "journal file vanished before it was posted"}


def test_at_the_bound_of_what_is_wrong_it_reads_no_further(
    node: Node, legs: list[Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_audit, "MOST_WRONG", 5)
    monkeypatch.setattr("agent.journal.reading.LONGEST_PIECE", 4_000)
    node.write(legs)
    named = node.look(5)
    assert 5 <= len(named) < 25
    ((read,),) = node.sql("SELECT bytes FROM journal_segments")
    assert read < node.live.stat().st_size / 2
    assert node.sql("SELECT waiting_bytes > 0 FROM audit_journals") == [(True,)]
    node.post(legs)
    assert node.look() == set()
    assert node.sql("SELECT bytes FROM journal_segments") == [(node.live.stat().st_size,)]
    with psycopg.connect(node.dsn) as connection:
        connection.execute("UPDATE audit_journals SET waiting_bytes = 9")
        later = datetime.now(UTC) + timedelta(minutes=6)
        assert [(one.kind, one.subject) for one in journal_differences(connection, later)] == [(BEHIND, NODE)]


def test_killed_at_any_statement_nothing_is_counted_twice(
    node: Node, legs: list[Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.journal.reading.LONGEST_PIECE", 6_000)
    node.write(legs)
    node.post(legs)
    for point in ("count_hours", "keep_segment", "keep_findings"):
        real = getattr(journal_rows, point)
        turns = iter(range(100))

        def dies(*arguments: Any, real: Any = real, turns: Any = turns) -> Any:
            result = real(*arguments)
            if next(turns) == 1:
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(journal_rows, point, dies)
        with pytest.raises(KeyboardInterrupt):
            node.look()
        monkeypatch.setattr(journal_rows, point, real)
        node.audit._disconnect()
        node.started()
    assert node.look() == set()
    assert node.sql("SELECT sum(legs), max(bytes) FROM journal_segments") == [(len(legs), node.live.stat().st_size)]
    assert node.sql("SELECT sum(legs) FROM audit_journal_hours") == [(len(legs),)]
