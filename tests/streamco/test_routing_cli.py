"""`streamco check-routing` on a real PostgreSQL: the answer, another moment's prices, JSON, and errors for people."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from command_role import command_environment
from made_traffic import Try, insert, make_call

from billing.prices.load import load_deck
from configuration.load import load
from dashboards.access import users
from dashboards.access.api_tokens import user_of_token
from runtime.connections import ClickHouse
from schemas.events import decode_event
from streamco.cli import commands

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def loaded(postgres_dsn: str) -> str:
    load(postgres_dsn, EXAMPLES / "world.yaml")
    for peer in ("acme", "voicebridge"):
        load_deck(postgres_dsn, peer, EXAMPLES / f"{peer}.csv")
    return postgres_dsn


def run(home: Path, dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamco.cli", *arguments],
        env={
            "PATH": "/usr/bin:/bin", "HOME": str(home), "STREAMCO_HOME": str(home / "home"),
            **command_environment(dsn),
        },
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def ask(home: Path, dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(home, dsn, "check-routing", "--from", "acme", "--callee", "+447700900123", *arguments)


def test_the_answer_comes_in_words_then_in_figures(tmp_path: Path, loaded: str) -> None:
    done = ask(tmp_path, loaded, "--caller", "12125550100", "--at", "2026-06-01")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Goes to voicebridge at 0.020500 USD."
    assert "Sold at 0.029000 USD a minute (code 447), route class Standard." in done.stdout
    assert "+447700900123 (asked) → 447700900123 (billed as)" in done.stdout
    head, row = lines[-2:]
    assert " ".join(head.split()) == ("route vendor verdict prio code price cur compared at margin why")
    # 0.0205 a minute and a connect fee of 0.001 over the expected 180 s: 0.0625 / 3.
    assert row.split()[:8] == ["1", "voicebridge", "TAKEN", "1", "447", "0.020500", "USD", "0.020833"]


def test_another_moment_has_the_prices_of_that_moment(tmp_path: Path, loaded: str) -> None:
    prices = {}
    for at in ("2026-11-30T23:59:59Z", "2026-12-01"):
        answer = json.loads(ask(tmp_path, loaded, "--at", at, "--json").stdout)
        prices[at] = answer["decision"]["candidates"][0]["price_e8"]
        assert answer["source"] == "built"
    assert prices == {"2026-11-30T23:59:59Z": 2_050_000, "2026-12-01": 1_980_000}


def test_the_json_has_the_names_of_a_stored_decision(tmp_path: Path, loaded: str) -> None:
    from schemas.events import Candidate, ExplainedCall

    answer = json.loads(ask(tmp_path, loaded, "--json", "--node", "ast1").stdout)
    assert set(answer["decision"]) == {*ExplainedCall.__struct_fields__, "type"}
    assert set(answer["decision"]["candidates"][0]) <= set(Candidate.__struct_fields__)
    assert (answer["decision"]["call_id"], answer["decision"]["node"], answer["identified"]) == ("", "ast1", "acme")


def test_what_the_invite_says_and_a_look_up_that_is_asked(tmp_path: Path, loaded: str) -> None:
    with psycopg.connect(loaded) as connection:
        connection.execute("UPDATE peers SET trusted = true WHERE name = 'acme'")
        connection.execute(
            "INSERT INTO lookups (name, kind, url, answer_field)"
            " VALUES ('NPAC', 'lrn', 'http://127.0.0.1:9/{number}', 'lrn')"
        )
        connection.execute("UPDATE peers SET lookup_id = (SELECT max(lookup_id) FROM lookups) WHERE name = 'acme'")
    said = (
        "--asserted",
        "<tel:+442079460000>",
        "--caller-name",
        "Anna",
        "--privacy",
        "id",
        "--call",
        "ast1-1795609861-1795609900.1",
    )
    plain = ask(tmp_path, loaded, *said)
    assert "from     acme, caller 442079460000" in plain.stdout, plain.stderr
    assert "look-up  A call would first ask NPAC about 447700900123: not asked here." in plain.stdout
    asked = ask(tmp_path, loaded, *said, "--look-up")
    assert "no answer in its time; so it goes by the number called." in asked.stdout, asked.stderr


def test_nothing_is_counted_or_held(tmp_path: Path, loaded: str) -> None:
    with psycopg.connect(loaded, autocommit=True) as connection:
        tables = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]

        def rows() -> dict[str, int]:
            return {
                name: connection.execute(f'SELECT count(*) FROM "{name}"'.encode()).fetchone()[0]  # type: ignore[index]
                for name in tables
            }

        before = rows()
        assert ask(tmp_path, loaded).returncode == 0
        assert rows() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "nobody", "--callee", "44"), "from 'nobody': there is no peer of that name"),
        (("--from", "voicebridge", "--callee", "44"), "from 'voicebridge': is a terminator"),
        (("--from", "acme", "--callee", ""), "callee '': must be the number"),
        (("--from", "acme", "--callee", "4" * 300), "must have at most 256 characters"),
        (("--from", "acme", "--callee", "44", "--at", "tomorrow"), "at 'tomorrow': must be a date or a time"),
        (("--from", "acme", "--callee", "44", "--at", "1812-01-01"), "must be in the years 1970 to 2099"),
        (("--from", "acme", "--callee", "44", "--node", "A;b"), "node 'A;b': must be a node's name"),
        (("--from", "acme", "--callee", "44", "--seed", "x"), "seed 'x': must be a whole number"),
        (("--from", "acme", "--callee", "44", "--call", "x"), "must be NODE-EPOCH-SECONDS.SEQUENCE"),
        (("--from", "acme", "--callee", "44", "--privacy", "x" * 257), "privacy"),
    ],
)
def test_errors_name_field_value_and_rule(tmp_path: Path, loaded: str, arguments: tuple[str, ...], said: str) -> None:
    environment = {"STREAMCO_HOME": str(tmp_path / "home"), **command_environment(loaded)}
    done = CliRunner().invoke(commands, ["check-routing", *arguments], env=environment)
    assert done.exit_code == 1
    assert said in done.stderr


def test_without_a_database_it_says_so(tmp_path: Path) -> None:
    done = ask(tmp_path, "postgresql://127.0.0.1:1999/none")
    assert done.returncode == 1
    assert "PostgreSQL does not answer" in done.stderr
    done = run(tmp_path, "postgresql://127.0.0.1:1999/none", "why", "ast1-1-1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ClickHouse does not answer")


def test_why_shows_the_stored_decision(tmp_path: Path, postgres_dsn: str, clickhouse: ClickHouse) -> None:
    call = make_call(1, 1_795_000_000_000, [Try(11, "ANSWER", 16, 200, talk_ms=61_000)])
    insert(clickhouse, [call])
    environment = {
        "STREAMCO_HOME": str(tmp_path / "home"),
        **command_environment(postgres_dsn),
        "STREAMCO_CLICKHOUSE_URL": clickhouse.url,
        "STREAMCO_CLICKHOUSE_USER": clickhouse.user,
        "STREAMCO_CLICKHOUSE_PASSWORD": clickhouse.password.get_secret_value(),
        "STREAMCO_CLICKHOUSE_DATABASE": clickhouse.database,
    }
    shown = CliRunner().invoke(commands, ["why", call.call_id], env=environment)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("Goes to danube at 0.020110 USD. 2 vendors not taken: 2 no profit.")
    assert "configuration 7" in shown.stdout
    as_json = CliRunner().invoke(commands, ["why", "--json", call.call_id], env=environment)
    assert decode_event(as_json.stdout.encode()) == call.decision
    missing = CliRunner().invoke(commands, ["why", "sim1-1795000000-1795000000.999"], env=environment)
    assert (missing.exit_code, "no decision is stored" in missing.stderr) == (1, True)


def test_why_finds_a_call_by_the_sip_call_id_of_any_leg(
    tmp_path: Path, postgres_dsn: str, clickhouse: ClickHouse
) -> None:
    first, second = (make_call(n, 1_795_000_000_000, [Try(11, talk_ms=61_000)]) for n in (1, 2))
    with_ids = [  # of each call the inbound leg, then the other
        msgspec.structs.replace(leg, ended=msgspec.structs.replace(leg.ended, sip_call_id=sip_call_id))
        for leg, sip_call_id in zip(first.legs + second.legs, ("a b';--@x", "v-1@y", "shared", "shared"), strict=True)
    ]
    first, second = (replace(one, legs=tuple(with_ids[at : at + 2])) for one, at in ((first, 0), (second, 2)))
    insert(clickhouse, [first, second])
    environment = {
        "STREAMCO_HOME": str(tmp_path / "home"), **command_environment(postgres_dsn),
        "STREAMCO_CLICKHOUSE_URL": clickhouse.url, "STREAMCO_CLICKHOUSE_USER": clickhouse.user,
        "STREAMCO_CLICKHOUSE_PASSWORD": clickhouse.password.get_secret_value(),
        "STREAMCO_CLICKHOUSE_DATABASE": clickhouse.database,
    }  # fmt: skip
    for text, says in (("a b';--@x", first.call_id), ("v-1@y", first.call_id), ("shared", second.call_id)):
        done = CliRunner().invoke(commands, ["why", "--json", text], env=environment)
        assert (done.exit_code, says in done.output) == (0, True), done.output
    done = CliRunner().invoke(commands, ["why", "nobody's"], env=environment)
    assert (done.exit_code, "neither a call has it" in done.stderr) == (1, True)


def test_a_token_is_given_shown_once_and_ended(tmp_path: Path, postgres_dsn: str) -> None:
    environment = {"STREAMCO_HOME": str(tmp_path / "home"), **command_environment(postgres_dsn)}
    with psycopg.connect(postgres_dsn) as connection:
        users.add_user(connection, "noc", "correct horse battery", "noc")
    made = CliRunner().invoke(commands, ["api-token", "noc", "monitoring", "--days", "7"], env=environment)
    token = made.stdout.split()[1]
    with psycopg.connect(postgres_dsn) as connection:
        found = user_of_token(connection, token, datetime.now(UTC))
        assert found is not None
        assert found.login == "noc"
        assert user_of_token(connection, token, datetime.now(UTC) + timedelta(days=8)) is None
        stored = connection.execute("SELECT token_hash::text FROM api_tokens").fetchall()
        assert token not in str(stored)
    for arguments, said in (
        (["nobody", "x"], "login 'nobody': there is no such user"),
        (["noc", "x", "--end"], "has no token of that name"),
        (["noc", "a\nb"], "must be 1 to 64 letters, digits, signs and single blanks between them"),
    ):
        refused = CliRunner().invoke(commands, ["api-token", *arguments], env=environment)
        assert (refused.exit_code, said in refused.stderr) == (1, True), refused.stderr
    assert CliRunner().invoke(commands, ["api-token", "noc", "monitoring", "--end"], env=environment).exit_code == 0
    with psycopg.connect(postgres_dsn) as connection:
        assert user_of_token(connection, token, datetime.now(UTC)) is None
