"""The audit's page: what it says of runs, differences and journals; and what its store reads."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from dashboards.topics.audit.page import cards, difference_row, disk_words, journal_row, strip, verdict, wall_word
from dashboards.topics.audit.store import AuditState, AuditStore, Difference, Journal, Run
from runtime.connections import Postgres
from runtime.postgres_pool import Connections

NOW = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
LEG = "ast1-1795609861-1795609900.12/2"


def run(seconds_ago: float, differences: int = 0) -> Run:
    return Run(NOW - timedelta(seconds=seconds_ago), 0.21, not differences, 1_000, 3, differences)


def difference(seconds_ago: float = 300, subject: str = LEG, resolved: datetime | None = None) -> Difference:
    return Difference(
        7, "rated leg not in the ledger", subject, "rated 5", NOW - timedelta(seconds=seconds_ago), resolved
    )


def text_of(one: Any) -> str:
    """All that is written in a component."""
    if isinstance(one, str):
        return one + " "
    if isinstance(one, list | tuple):
        return "".join(text_of(part) for part in one)
    return text_of(getattr(one, "children", None) or "")


@pytest.mark.parametrize(
    ("state", "colour", "text"),
    [
        (AuditState(away="PostgreSQL does not answer"), "red", "PostgreSQL does not answer"),
        (AuditState(), "amber", "has not run yet"),
        (AuditState([run(181)]), "red", "No audit since"),
        (AuditState([run(20)]), "normal", "Equal: every leg is rated, billed and written once"),
        (AuditState([run(20), run(80), run(140, 2)]), "normal", "in all runs since"),
        (AuditState([run(20, 1)], [difference()]), "red", "1 difference since"),
        (AuditState([run(20, 3_000)], [difference()]), "red", "3,000 differences since"),
        (AuditState([run(181, 3)], [difference()]), "red", "No audit since"),
    ],
)
def test_one_sentence_says_how_it_stands(state: AuditState, colour: str, text: str) -> None:
    word = verdict(state, NOW)
    assert (word.state, text in word.text) == (colour, True), word
    on_the_wall = wall_word(state, NOW)
    if colour == "normal":
        assert on_the_wall is None
    else:
        assert on_the_wall is not None
        assert (on_the_wall.state, on_the_wall.text, on_the_wall.href) == (colour, f"Audit: {word.text}", "/audit")


def test_a_leg_leads_to_its_call_and_says_since_when() -> None:
    row = difference_row(difference(300), NOW)
    assert (row["call"], row["subject"], row["age"]) == ("ast1-1795609861-1795609900.12", LEG, 300)
    assert difference_row(difference(subject="account 1001"), NOW)["call"] == ""
    mended = difference_row(difference(300, resolved=NOW - timedelta(seconds=240)), NOW)
    assert mended["age"] == 60
    yesterday = difference_row(difference(86_400 * 2), NOW)
    assert yesterday["since"].startswith("2026-11-2")


def test_figures_and_the_strip_name_what_is_wrong() -> None:
    journal = Journal("ast1", NOW, 3_000_000, 4, 3, 2, 1, 9_500_000, 1_200, 1_203, NOW - timedelta(days=2))
    state = AuditState([run(20, 2), run(80)], [difference()], [], [journal], 3, 4)
    texts = [text_of(card) for card in cards(state, NOW)]
    assert "2 the oldest for 5:00" in texts[0]
    assert "0:20 ago" in texts[1]
    assert "1,200" in texts[4]
    assert "1,203" in texts[5]
    assert "3 of 4" in texts[5]
    assert [card.className for card in cards(state, NOW)][:2] == ["card red", "card normal"]
    assert "2 runs, 1 with differences" in text_of(strip(state.runs))
    assert text_of(strip(state.runs)).count("■") == 1
    assert "no run yet" in text_of(strip([]))
    row = journal_row(journal, NOW)
    assert (row["waiting"], row["megabytes"], row["late"]) == ("3.0\u2009MB", 9.5, False)
    assert journal_row(Journal("ast2", None, 0, 0, 0, 0, 0, 0, 0, 5, None), NOW)["late"] is True


@pytest.mark.servers
def test_the_store_reads_what_auditor_and_agents_have_written(postgres_dsn: str) -> None:
    store = AuditStore(Connections(Postgres(dsn=SecretStr(postgres_dsn))))
    empty = store.state()
    assert (empty.runs, empty.open, empty.journals, empty.away) == ([], [], [], "")
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "INSERT INTO audit_runs (at, seconds, ok, rated, posted, compared, waiting, differences)"
            " SELECT now() - number * interval '1 minute', 0.5, number > 1, 1, 2, 3, 4, 5 FROM generate_series(1, 99)"
            " AS of (number)"
        )
        connection.execute(
            "INSERT INTO audit_differences (kind, subject, since, last_seen_at, resolved_at) VALUES"
            " ('a', 'open', now(), now(), NULL), ('b', 'mended', now(), now(), now()),"
            " ('c', 'long ago', now(), now(), now() - interval '2 days')"
        )
        connection.execute("INSERT INTO audit_journals VALUES ('ast1', now(), 5)")
        connection.execute(
            "INSERT INTO journal_segments (node, file, name, bytes, tail, legs, leg_hash, undecodable, sealed_at,"
            " posted_at, deleted_at) VALUES ('ast1', 'f', 'n', 10, '', 3, 1, 0, now(), now(), now()),"
            " ('ast1', 'g', 'm', 20, '', 4, 1, 0, now(), NULL, NULL)"
        )
        connection.execute("INSERT INTO audit_hours VALUES (now(), 'ast1', 6, 0, 0, now(), true)")
    assert store.state() is empty  # for some seconds
    store._cached.expire()
    state = store.state()
    assert (len(state.runs), state.runs[0].ok, state.runs[1].ok) == (60, False, True)
    assert ([one.subject for one in state.open], [one.subject for one in state.mended]) == (["open"], ["mended"])
    (journal,) = state.journals
    assert (journal.files, journal.sealed, journal.posted, journal.deleted) == (1, 1, 0, 1)
    assert (journal.bytes, journal.legs, journal.posted_legs, journal.waiting_bytes) == (20, 7, 6, 5)
    assert (state.hours_compared, state.hours) == (1, 1)
    away = AuditStore(Connections(Postgres(dsn=SecretStr("host=127.0.0.1 port=1 dbname=x"))))
    assert "PostgreSQL does not answer" in away.state().away


@pytest.mark.servers
def test_a_node_whose_disk_is_nearly_full_is_a_red_word(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO nodes (name) VALUES ('ast2')")
        connection.execute("INSERT INTO nodes (name, disk_low_since) VALUES ('ast1', '2026-11-25 12:00:00Z')")
    state = AuditStore(Connections(Postgres(dsn=SecretStr(postgres_dsn)))).state()
    (word,) = disk_words(state)
    assert (word.state, word.text[:28]) == ("red", "ast1: disk nearly full since")
    assert word.text.endswith("new calls are refused")
    assert disk_words(AuditState()) == []
