"""Every case of the decision table, decided by the product: see README.md."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from decision_table import Case, TableWorld, cases, differences, files

from schemas.refusals import Refusal, Verdict

pytestmark = pytest.mark.servers

# Refusals that the core never gives, and whose word they are.
NOT_THE_CORES = {
    Refusal.NO_BALANCE: "admission, which asks the account",
    Refusal.ROUTER_UNAVAILABLE: "the dialplan, when no router answers",
    Refusal.DATABASE_UNAVAILABLE: "admission, when PostgreSQL does not answer",
    Refusal.OVERLOAD: "the router's session, before it decides",
    Refusal.NODE_SILENT: "admission, when the node's agent is silent",
    Refusal.NODE_DISK_FULL: "the router, by the state of the node's disk",
    Refusal.ROUTER_DISK_FULL: "the router, by the state of its own disk",
    Refusal.DEAD_LETTERS: "the router, by the open dead letters of the originator",
}
LEAST_CASES = 340


class Worlds:
    """The worlds of the table, each made when its first case asks."""

    def __init__(self, server: str, template: str, directory: Path) -> None:
        self._server, self._template, self._directory = server, template, directory
        self._worlds: dict[str, TableWorld] = {}
        self.databases: list[str] = []

    def of(self, file: str) -> TableWorld:
        if file not in self._worlds:
            name = f"{self._template}_{file}".replace("-", "_")
            with psycopg.connect(self._server, autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"'.encode())
            self.databases.append(name)
            dsn = self._server.rsplit("/", 1)[0] + f"/{name}"
            self._worlds[file] = TableWorld(files()[file], dsn, self._directory / file)
        return self._worlds[file]


@pytest.fixture(scope="module")
def worlds(postgres_server: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    made = Worlds(postgres_server, postgres_template, tmp_path_factory.mktemp("decisions"))
    yield made
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for name in made.databases:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_case(case: Case, worlds: Worlds) -> None:
    found = list(differences(case, worlds.of(case.file).decide(case)))
    assert not found, f"{case.name} shows: {case.row['shows']}\n  " + "\n  ".join(found)


def test_every_reason_is_in_the_table() -> None:
    refused = {case.row["refused"] for case in cases() if "refused" in case.row}
    assert refused == {reason.value for reason in Refusal if reason not in NOT_THE_CORES}
    verdicts = {verdict for case in cases() for verdict in case.row.get("not_taken", {}).values()}
    verdicts |= {case.row["others"] for case in cases() if "others" in case.row}
    verdicts |= {Verdict.TAKEN.value} if any("routes" in case.row for case in cases()) else set()
    assert verdicts == {verdict.value for verdict in Verdict}


def test_every_case_says_what_it_shows_and_no_two_say_the_same() -> None:
    shown = [case.row["shows"] for case in cases()]
    assert len(shown) >= LEAST_CASES
    assert all(len(text) > 10 for text in shown)
    twice = sorted({text for text in shown if shown.count(text) > 1})
    assert not twice
