"""The audit: equal stores are ok, and whatever is made unequal in any of them is found and named."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from crashed_calls import call_id_of, call_lines
from made_legs import (
    NOON_MS,
    Ended,
    Parties,
    insert_parties,
    journal_line,
    make_legs,
    produce,
    produce_events,
    write_journals,
)
from made_traffic import NAMES

from runtime.clickhouse import connect
from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.events import DeadLetter, RatedLeg
from schemas.journal import decode_line, encode_line
from schemas.topics import DEAD_LETTERS, RATED_LEGS
from sinks.audit.continuous.calls import NO_END, NOT_UP, NOT_VERIFIED, Heard, OpenCall
from sinks.audit.continuous.fold import add_hash, leg_hash
from sinks.audit.full.audit import NOT_IN_BOOKS, AuditReport, audit, compare, report_json
from sinks.audit.full.calls import ONE_SIDED, Open
from sinks.audit.full.journals import read_all
from sinks.audit.full.sources import AuditSettings, Ledger, Money, Sealed, Stores, read_stores, unclosed_legs
from sinks.cdrs import write_legs
from sinks.dead_letters.messages import dead_letter_messages
from sinks.dead_letters.store import keep_letters
from sinks.ledger import Ledger as Posting
from streams.folds.rating import rate_leg

CALL = "ast1-1795609861-1795609900.1"
INBOUND, OUTBOUND = f"{CALL}/0", f"{CALL}/1"
OTHER, UP = "ast1-1795609861-1795609900.2", "ast1-1795609861-1795609900.3"
SOLD, BOUGHT = Money("receivable", "USD", 1001, 700), Money("payable", "USD", 1002, 400)


def equal_stores() -> Stores:
    """One call of two legs, in every store alike."""
    legs = {INBOUND: SOLD, OUTBOUND: BOUGHT}
    return Stores(
        journal={INBOUND: None, OUTBOUND: None},
        unclosed=frozenset(),
        estimated=frozenset(),
        undecodable=0,
        unreported=[],
        rated=dict(legs),
        dead_letters=0,
        dead_legs=frozenset(),
        cdrs=dict(legs),
        ledger=Ledger(
            legs=dict(legs),
            repeated_legs={},
            balances={1001: (-700, -700), 1002: (400, 400)},
            held={1001: (0, 0), 1002: (0, 0)},
            leg_sums_by_balance={("USD", "receivable"): 700, ("USD", "payable"): 400},
            holds_open=0,
            holds_of_ended_calls=[],
        ),
    )


def with_calls(stores: Stores, admitted: Sequence[OpenCall] = (), holds: Sequence[OpenCall] = ()) -> Stores:
    """Calls without an end; the node ast1 was heard of just now, and lists one."""
    heard = {"ast1": Heard(1_000_000, frozenset({UP}))}
    return replace(of_ledger(stores, opened=Open(holds, heard, 1_000_000)), admitted=admitted)


def without(legs: Any, leg_id: str = OUTBOUND) -> dict[str, Any]:
    return {name: value for name, value in legs.items() if name != leg_id}


def of_ledger(stores: Stores, **changes: Any) -> Stores:
    return replace(stores, ledger=replace(stores.ledger, **changes))


def kinds(report: AuditReport) -> set[tuple[str, str]]:
    return {(one.kind, one.leg_id) for one in report.differences}


def test_equal_stores_are_ok_and_the_report_has_its_shape() -> None:
    report = compare(equal_stores(), "2026-11-25T12:00:00Z")
    line = report_json(report)
    assert "\n" not in line
    assert json.loads(line) == {
        "ok": True,
        "as_of": "2026-11-25T12:00:00Z",
        "calls": 1,
        "nodes": {"ast1": 2},
        "legs": {
            "journal": 2, "rated": 2, "cdr": 2, "ledger": 2, "dead_letters": 0, "undecodable": 0,
        },
        "money": [
            {"currency": "USD", "side": "payable", "rated_micros": 400, "cdr_micros": 400, "ledger_micros": 400,
             "balance_micros": 400},
            {"currency": "USD", "side": "receivable", "rated_micros": 700, "cdr_micros": 700, "ledger_micros": 700,
             "balance_micros": 700},
        ],
        "holds_open": 0,
        "calls_open": {},
        "differences_total": 0,
        "differences": [],
        "range": {"journals": {}, "topics": {}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "kind", "leg_id"),
    [
        (lambda s: replace(s, journal=without(s.journal)), "rated leg not in the journals", OUTBOUND),
        (lambda s: replace(s, rated=without(s.rated)), "journal leg not rated", OUTBOUND),
        (lambda s: replace(s, rated=without(s.rated)), "CDR of no rated leg", OUTBOUND),
        (lambda s: replace(s, rated=without(s.rated)), "ledger leg that was not rated", OUTBOUND),
        (lambda s: replace(s, cdrs=without(s.cdrs)), "rated leg without CDR", OUTBOUND),
        (lambda s: of_ledger(s, legs=without(s.ledger.legs)), "rated leg not in the ledger", OUTBOUND),
        (
            lambda s: replace(s, cdrs={**s.cdrs, INBOUND: SOLD._replace(amount_micros=701)}),
            "rated leg and CDR differ", INBOUND,
        ),
        (
            lambda s: replace(s, cdrs={**s.cdrs, INBOUND: SOLD._replace(account_id=7)}),
            "rated leg and CDR differ", INBOUND,
        ),
        (
            lambda s: of_ledger(s, legs={**s.ledger.legs, INBOUND: SOLD._replace(amount_micros=699)}),
            "rated leg and ledger differ", INBOUND,
        ),
        (lambda s: of_ledger(s, repeated_legs={OUTBOUND: 2}), "leg posted more than once", OUTBOUND),
        (lambda s: of_ledger(s, holds_of_ended_calls=[CALL]), "hold of a call that has ended", INBOUND),
        (lambda s: of_ledger(s, balances={1001: (-701, -700)}), "balance is not the sum of its entries", ""),
        (lambda s: of_ledger(s, held={1001: (5, 0)}), "held is not the sum of its holds", ""),
        (lambda s: of_ledger(s, leg_sums_by_balance={("USD", "payable"): 400}), "money", ""),
        (
            lambda s: replace(s, unclosed=frozenset({OUTBOUND}), rated=without(s.rated)),
            "leg of a call that died with its node not closed", OUTBOUND,
        ),
        (lambda s: replace(s, unreported=["ast1:Master.csv:0"]), "journal line neither read nor a dead letter", ""),
        (lambda s: replace(s, open_letters=[("calls/0/0/frame", "")]), "open dead letter", ""),
        (lambda s: replace(s, open_letters=[("calls/0/0/0", INBOUND)]), "open dead letter", INBOUND),
        (lambda s: replace(s, not_in_books=[(CALL, "no line closes it")]), NOT_IN_BOOKS, INBOUND),
        (lambda s: replace(s, one_sided=[CALL]), ONE_SIDED, INBOUND),
        (lambda s: with_calls(s, admitted=[OpenCall(NO_END, OTHER, "ast1", 0)]), NO_END, f"{OTHER}/0"),
        (lambda s: with_calls(s, holds=[OpenCall(NOT_UP, OTHER, "ast1", 0, 0)]), NOT_UP, f"{OTHER}/0"),
        (lambda s: with_calls(s, admitted=[OpenCall(NO_END, OTHER, "ast2", 0)]), NOT_VERIFIED, ""),
    ],
)  # fmt: skip
def test_each_difference_is_named(change: Callable[[Stores], Stores], kind: str, leg_id: str) -> None:
    report = compare(change(equal_stores()), "now")
    assert not report.ok
    assert (kind, leg_id) in kinds(report)
    assert report.differences_total == len(report.differences)


def test_an_estimated_leg_needs_no_closing_line_and_its_money_is_compared_all_the_same() -> None:
    stores = equal_stores()
    crashed = replace(stores, journal={}, estimated=frozenset({INBOUND, OUTBOUND}), unclosed=frozenset({INBOUND}))
    report = compare(crashed, "now")
    assert report.ok, report.differences
    assert report.legs.estimated == 2
    dearer = replace(crashed, cdrs={**stores.cdrs, INBOUND: SOLD._replace(amount_micros=701)})
    assert kinds(compare(dearer, "now")) == {("rated leg and CDR differ", INBOUND), ("money", "")}


def test_legs_opened_before_the_newest_start_of_their_node_and_not_closed() -> None:
    old, new = "ast1-1795609861-1795609900.7", "ast1-1795609999-1795610000.0"
    other = "ast2-1795600000-1795600000.0"  # another node, which has not started anew
    opened = [f"{old}/0", f"{old}/1", f"{new}/0", f"{new}/1", f"{other}/0"]
    assert unclosed_legs(opened, {f"{old}/1"}) == {f"{old}/0"}
    assert unclosed_legs([f"{old}/0"], ()) == frozenset()


def test_a_difference_of_an_account_names_the_account() -> None:
    report = compare(of_ledger(equal_stores(), balances={1001: (-701, -700), 1002: (400, 400)}), "now")
    assert [(one.account_id, one.detail) for one in report.differences] == [(1001, "-701 -700")]


def test_legs_among_the_dead_letters_are_accounted_for_with_their_money() -> None:
    stores = equal_stores()
    refused = of_ledger(
        replace(stores, dead_letters=1, dead_legs=frozenset({OUTBOUND})),
        legs=without(stores.ledger.legs),
        balances={1001: (-700, -700)},
        leg_sums_by_balance={("USD", "receivable"): 700},
    )
    report = compare(refused, "now")
    assert report.ok, report.differences
    assert (report.legs.ledger, report.legs.rated, report.legs.dead_letters) == (1, 2, 1)
    # But the letter excuses that leg's money and no other.
    less = of_ledger(refused, leg_sums_by_balance={("USD", "receivable"): 699})
    assert kinds(compare(less, "now")) == {("money", "")}


def test_legs_of_deleted_journals_are_those_that_their_manifests_sealed() -> None:
    stores = replace(equal_stores(), journal={INBOUND: None})
    assert kinds(compare(stores, "now")) == {("rated leg not in the journals", OUTBOUND)}
    sealed = replace(stores, sealed={"ast1": Sealed(1, leg_hash(OUTBOUND))})
    report = compare(sealed, "now")
    assert (report.ok, report.legs.journal, report.legs.sealed, report.nodes) == (True, 2, 1, {"ast1": 2})
    another = replace(stores, sealed={"ast1": Sealed(1, leg_hash(INBOUND))})
    assert kinds(compare(another, "now")) == {("rated leg not in the journals", OUTBOUND)}
    discarded = f"{CALL}7/0"
    with_dead = Sealed(2, add_hash(leg_hash(OUTBOUND), leg_hash(discarded)))
    of_dead = replace(sealed, sealed={"ast1": with_dead}, dead_legs=frozenset({discarded}))
    assert compare(of_dead, "now").ok


def test_only_so_many_differences_are_listed_and_all_are_counted() -> None:
    stores = replace(equal_stores(), journal={f"{CALL}{number}/0": None for number in range(1000)})
    report = compare(stores, "now")
    assert len(report.differences) == 200
    assert report.differences_total == 1002


def test_calls_that_asterisk_itself_saw_answered_have_an_answered_end(tmp_path: Path) -> None:
    """One is whole, one is up, one closed as not answered, one not closed; one was not answered, one is a leg's."""
    lines: list[bytes] = []
    for number in (1, 2, 3, 4, 5, 6):
        whole = call_lines(number, ["answers" if number != 5 else "fails"])
        call = {"call": call_id_of(number)}
        hung_up = encode_line("HANGUP", "1795609999.000000", call)
        if number == 3:
            whole[-1] = whole[-1].replace(b"|ansms=30000|status=ANSWER", b"|ansms=|status=CANCEL")
        if number in (2, 4):
            del whole[-1]
        if number == 6:  # the vendor's channel is none of the caller's
            whole = [encode_line("ANSWER", "1795609901.000000", {**call, "leg": "1"})]
        lines += [*whole, *([hung_up] if number != 2 else [])]
    (tmp_path / "Master.csv").write_bytes(b"".join(lines))
    read = read_all({"sim1": tmp_path})
    assert read.unreadable == []
    assert read.not_in_books == [(call_id_of(3), "closed as not answered"), (call_id_of(4), "no line closes it")]


def test_the_journal_lines_of_made_legs_are_these_legs() -> None:
    for leg in make_legs(Parties({number: 1000 + number for number in range(20)}), 1, 60):
        assert decode_line(journal_line(leg)) == leg


@dataclass(frozen=True)
class World:
    """Real stores that agree."""

    settings: AuditSettings
    ended: list[Ended]
    rated: list[RatedLeg]

    def audit(self) -> AuditReport:
        return audit(self.settings)

    def sql(self, *statements: str) -> None:
        """Tamper with PostgreSQL as only a superuser could: without triggers."""
        with psycopg.connect(self.settings.postgres.dsn.get_secret_value()) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement.encode())

    async def keep(self, *letters: DeadLetter) -> None:
        """Put dead letters into their table, as the stream does."""
        async with await psycopg.AsyncConnection.connect(self.settings.postgres.dsn.get_secret_value()) as connection:
            await keep_letters(connection, letters)

    def clickhouse(self, statement: str) -> None:
        with connect(self.settings.clickhouse, query_settings={"mutations_sync": "2"}) as client:
            client.command(statement)


@pytest.fixture
async def world(tmp_path: Path, postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse) -> World:
    dsn = postgres.dsn.get_secret_value()
    ended = make_legs(insert_parties(dsn), 1, 30)
    rated = [rate_leg(leg) for leg in ended]
    produce_events(kafka, RATED_LEGS, [*rated, *rated[:9]])  # rated again after a crash: still the same legs
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await Posting(connection).post(rated)
    with connect(clickhouse) as client:
        write_legs(client, rated, NAMES)
    settings = AuditSettings(
        postgres=postgres, kafka=kafka, clickhouse=clickhouse, journals=write_journals(tmp_path, ended)
    )
    return World(settings, ended, rated)


@pytest.mark.servers
def test_real_stores_tampered_with_one_by_one(world: World) -> None:
    """One world, each store spoilt and mended in turn: nothing is found but what was done, and nothing stays."""
    report = world.audit()
    assert report.ok, report.differences
    assert report.calls == 30
    assert report.legs.journal == report.legs.rated == report.legs.cdr == report.legs.ledger == len(world.rated)
    assert report.nodes == {"sim1": len(world.rated)}
    totals = {row.side: row for row in report.money}
    for side in ("receivable", "payable"):
        micros = sum(leg.amount_micros for leg in world.rated if leg.side == side)
        row = totals[side]
        assert (row.rated_micros, row.cdr_micros, row.ledger_micros, row.balance_micros) == (micros,) * 4
        assert micros > 0
    leg = next(leg for leg in world.rated if leg.side == "payable" and leg.amount_micros)
    at = f"leg_id = '{leg.leg_id}'"
    world.clickhouse(f"ALTER TABLE legs UPDATE amount = amount + 0.000001 WHERE {at}")
    assert kinds(world.audit()) == {("rated leg and CDR differ", leg.leg_id), ("money", "")}
    world.clickhouse(f"ALTER TABLE legs UPDATE amount = amount - 0.000001 WHERE {at}")
    assert world.audit().ok
    world.clickhouse(f"DELETE FROM legs WHERE {at}")
    assert kinds(world.audit()) == {("rated leg without CDR", leg.leg_id), ("money", "")}
    with connect(world.settings.clickhouse) as client:
        write_legs(client, [leg], NAMES)
    assert world.audit().ok
    answered = next(leg for leg in world.rated if leg.side == "payable" and leg.ended.answered_at_ms is not None)
    unanswered = f"ALTER TABLE legs UPDATE answered = {{}} WHERE leg_id = '{answered.leg_id}'"
    world.clickhouse(unanswered.format("false"))
    assert kinds(world.audit()) == {(ONE_SIDED, f"{answered.ended.call_id}/0")}
    world.clickhouse(unanswered.format("true"))
    assert world.audit().ok
    entry = f"reference = '{leg.leg_id}'"
    world.sql(f"UPDATE ledger_entries SET amount = amount + 0.000001 WHERE {entry}")
    assert kinds(world.audit()) == {
        ("rated leg and ledger differ", leg.leg_id), ("balance is not the sum of its entries", ""), ("money", ""),
    }  # fmt: skip
    world.sql(f"UPDATE ledger_entries SET amount = amount - 0.000001 WHERE {entry}")
    assert world.audit().ok
    other_day = "occurred_at + interval '1 second'"
    columns = "reference, account_id, kind, contra_account_id, amount, occurred_at"
    world.sql(
        f"INSERT INTO ledger_entries ({columns}) SELECT reference, account_id, kind, contra_account_id, amount,"
        f" {other_day} FROM ledger_entries WHERE {entry}"
    )
    assert ("leg posted more than once", leg.leg_id) in kinds(world.audit())
    world.sql(f"DELETE FROM ledger_entries WHERE {entry} AND occurred_at > (SELECT min(occurred_at) FROM ledger_entries"
              f" WHERE {entry})")  # fmt: skip
    assert world.audit().ok
    world.sql(
        f"CREATE TABLE aside AS SELECT * FROM ledger_entries WHERE {entry}", f"DELETE FROM ledger_entries WHERE {entry}"
    )
    assert ("rated leg not in the ledger", leg.leg_id) in kinds(world.audit())
    world.sql("INSERT INTO ledger_entries SELECT * FROM aside")
    assert world.audit().ok
    world.sql(f"UPDATE account_balances SET balance = balance + 1 WHERE account_id = {leg.account_id}")
    report = world.audit()
    assert kinds(report) == {("balance is not the sum of its entries", ""), ("money", "")}
    assert leg.account_id in {one.account_id for one in report.differences}
    world.sql(f"UPDATE account_balances SET balance = balance - 1 WHERE account_id = {leg.account_id}")
    assert world.audit().ok


@pytest.mark.servers
async def test_holds_payments_journals_and_topics_that_do_not_agree(world: World, tmp_path: Path) -> None:
    inbound = next(leg for leg in world.rated if leg.side == "receivable" and leg.amount_micros)
    call_id, account = inbound.ended.call_id, inbound.account_id
    hold = (
        "INSERT INTO holds (call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds,"
        f" admitted_at, expires_at) VALUES ('{{}}', 'sim1', 1, {account}, 1, 60, 60, now(), now())"
    )
    held = f"UPDATE account_balances SET held = {{}} WHERE account_id = {account}"
    world.sql(hold.format("sim1-1795000000-1795608000.999"), held.format(1))
    report = world.audit()
    assert report.ok, report.differences  # a call that goes on
    assert report.holds_open == 1
    world.sql(held.format(2))
    assert kinds(world.audit()) == {("held is not the sum of its holds", "")}
    world.sql(hold.format(call_id))
    assert kinds(world.audit()) == {("hold of a call that has ended", f"{call_id}/0")}
    world.sql("DELETE FROM holds", held.format(0))
    # A payment moves the balance and no leg's money.
    world.sql(
        "SELECT ledger_partition(now())",
        "INSERT INTO ledger_entries (reference, account_id, occurred_at, kind, contra_account_id, amount)"
        f" SELECT 'payment-1', {account}, now(), 'payment', account_id, 25 FROM accounts WHERE name = 'cash USD'",
        f"UPDATE account_balances SET balance = balance + 25 WHERE account_id = {account}",
    )
    assert world.audit().ok
    journal = world.settings.journals["sim1"] / "Master.csv"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'"USER_DEFINED","1.0","LEG_RES')  # torn: not a line yet
    assert world.audit().ok
    journal.write_bytes(whole + b"garbage\n")
    report = world.audit()
    assert report.legs.undecodable == 1
    assert [(one.kind, one.detail) for one in report.differences] == [
        ("journal line neither read nor a dead letter", f"sim1:Master.csv:{len(whole)}")
    ]
    letter = DeadLetter(
        event_id="journal:sim1:x:7", origin="journal:sim1:x:7", reason="no line",
        raw_base64=base64.b64encode(b"garbage\n").decode(), at_ms=NOON_MS,
    )  # fmt: skip
    produce(world.settings.kafka, DEAD_LETTERS, dead_letter_messages([letter, letter], 8))
    assert ("dead letter not in the table", "") in kinds(world.audit())
    await world.keep(letter)
    for state in ("open", "discarded", "replayed"):
        world.sql(
            f"UPDATE dead_letters SET state = '{state}', decided_by = 'me', decided_why = 'so', decided_at = now()"
        )
        report = world.audit()
        wanted = {
            "open": [("open dead letter", letter.origin)],
            "discarded": [],
            "replayed": [("journal line neither read nor a dead letter", f"sim1:Master.csv:{len(whole)}")],
        }
        assert [(one.kind, one.detail) for one in report.differences] == wanted[state]
        assert (report.ok, report.legs.undecodable) == (state == "discarded", 1)
        assert report.legs.dead_letters == (state != "replayed")
    lines = whole.splitlines(keepends=True)
    world.sql("UPDATE dead_letters SET state = 'discarded'")
    journal.write_bytes(b"".join(lines[1:]))
    (journal.parent / "Master.csv.1").write_bytes(lines[0])
    assert world.audit().ok  # rotated, and not lost
    (journal.parent / "Master.csv.1").unlink()
    missing = rate_leg(world.ended[0]).leg_id
    assert kinds(world.audit()) == {("rated leg not in the journals", missing)}
    journal.write_bytes(whole)
    again = msgspec.structs.replace(inbound, revision=2, amount_micros=inbound.amount_micros + 5)
    produce_events(world.settings.kafka, RATED_LEGS, [again])
    produce(world.settings.kafka, RATED_LEGS, [(0, b"not a frame"), (1, b'[1,[{"type":"rated_leg"}]]')])
    assert kinds(world.audit()) == {
        ("rated leg and CDR differ", inbound.leg_id), ("rated leg and ledger differ", inbound.leg_id), ("money", ""),
    }  # fmt: skip


@pytest.mark.servers
async def test_only_open_and_discarded_letters_excuse_a_leg_that_is_missing(world: World) -> None:
    leg = next(leg for leg in world.rated if leg.side == "payable" and leg.amount_micros)
    world.sql(
        f"DELETE FROM ledger_entries WHERE reference = '{leg.leg_id}'",
        f"UPDATE account_balances SET balance = balance - {leg.amount_micros} * 0.000001"
        f" WHERE account_id = {leg.account_id}",
    )
    missing = {("rated leg not in the ledger", leg.leg_id), ("money", "")}
    assert kinds(world.audit()) == missing
    origin = "rated-legs/0/0/0"
    await world.keep(
        DeadLetter(event_id=origin, origin=origin, reason="no", raw_base64="", at_ms=NOON_MS, leg_id=leg.leg_id)
    )
    assert kinds(world.audit()) == {("open dead letter", leg.leg_id)}
    decided = "decided_by = 'me', decided_why = 'so', decided_at = now()"
    world.sql(f"UPDATE dead_letters SET state = 'discarded', {decided}")
    assert world.audit().ok
    world.sql(f"UPDATE dead_letters SET state = 'replayed', {decided}")
    assert kinds(world.audit()) == missing


@pytest.mark.servers
def test_a_journal_leg_that_nobody_rated_is_waited_for_and_then_named(world: World) -> None:
    late = make_legs(Parties({number: 1000 + number for number in range(20)}), 9, 1)[-1]
    journal = world.settings.journals["sim1"] / "Master.csv"
    with journal.open("ab") as file:
        file.write(journal_line(late))
    told: list[str] = []
    report = audit(world.settings, settle_seconds=5, progress=told.append)
    assert kinds(report) == {("journal leg not rated", rate_leg(late).leg_id)}
    assert "1 differences" in told[0]
    assert len(told) > 1
    assert read_stores(world.settings).journal.keys() - {leg.leg_id for leg in world.rated} == {rate_leg(late).leg_id}
