"""`streamco check-routing` on a real PostgreSQL: the answer, another moment's prices, JSON, and errors for people."""

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from configuration.world import load, load_deck
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
            "STREAMCO_POSTGRES_DSN": dsn,
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
    assert head.split() == [
        "route",
        "vendor",
        "verdict",
        "prio",
        "code",
        "price",
        "compared",
        "at",
        "margin",
        "cur",
        "why",
    ]
    # 0.0205 a minute and a connect fee of 0.001 over the expected 180 s: 0.0625 / 3.
    assert row.split()[:8] == ["1", "voicebridge", "TAKEN", "1", "447", "0.020500", "0.020833", "0.008167"]


def test_another_moment_has_the_prices_of_that_moment(tmp_path: Path, loaded: str) -> None:
    prices = {}
    for at in ("2026-11-30T23:59:59Z", "2026-12-01"):
        answer = json.loads(ask(tmp_path, loaded, "--at", at, "--json").stdout)
        prices[at] = answer["decision"]["candidates"][0]["price_e8"]
        assert answer["source"] == "built"
    assert prices == {"2026-11-30T23:59:59Z": 2_050_000, "2026-12-01": 1_980_000}


def test_the_json_has_the_names_of_a_stored_decision(tmp_path: Path, loaded: str) -> None:
    from schemas.events import CallRouted, Candidate

    answer = json.loads(ask(tmp_path, loaded, "--json", "--node", "ast1").stdout)
    assert set(answer["decision"]) == {*CallRouted.__struct_fields__, "type"}
    assert set(answer["decision"]["candidates"][0]) == set(Candidate.__struct_fields__)
    assert (answer["decision"]["call_id"], answer["decision"]["node"], answer["identified"]) == ("", "ast1", "acme")


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
    ],
)
def test_errors_name_field_value_and_rule(tmp_path: Path, loaded: str, arguments: tuple[str, ...], said: str) -> None:
    environment = {"STREAMCO_HOME": str(tmp_path / "home"), "STREAMCO_POSTGRES_DSN": loaded}
    done = CliRunner().invoke(commands, ["check-routing", *arguments], env=environment)
    assert done.exit_code == 1
    assert said in done.stderr


def test_without_a_database_it_says_so(tmp_path: Path) -> None:
    done = ask(tmp_path, "postgresql://127.0.0.1:1999/none")
    assert done.returncode == 1
    assert "PostgreSQL does not answer" in done.stderr
    done = run(tmp_path, "postgresql://127.0.0.1:1999/none", "why", "ast1-1-1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "must be NODE-EPOCH-SECONDS.SEQUENCE" in done.stderr
