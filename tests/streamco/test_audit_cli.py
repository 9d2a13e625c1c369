"""`streamco audit`: the whole recount names its range, for people and for programs."""

import json

import pytest
from click.testing import CliRunner, Result
from command_role import command_environment
from made_legs import insert_parties, make_legs, produce_events

from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.topics import RATED_LEGS
from streamco.cli import commands
from streamco.embedded.temporary_users import as_user, environment_of
from streams.folds.rating import rate_leg

pytestmark = pytest.mark.servers


@pytest.fixture
def environment(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse
) -> dict[str, str]:
    return {
        "STREAMCO_HOME": str(tmp_path_factory.mktemp("home")),
        **command_environment(postgres.dsn.get_secret_value()),
        **environment_of(as_user(kafka, "cli")),
        "STREAMCO_CLICKHOUSE_URL": clickhouse.url,
        "STREAMCO_CLICKHOUSE_USER": clickhouse.user,
        "STREAMCO_CLICKHOUSE_PASSWORD": clickhouse.password.get_secret_value(),
        "STREAMCO_CLICKHOUSE_DATABASE": clickhouse.database,
    }


def run(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["audit", *arguments], env=environment)


def test_the_whole_audit_names_its_range(environment: dict[str, str], postgres: Postgres, kafka: Kafka) -> None:
    said = run(environment, "--full")
    assert said.exit_code == 0, said.output
    assert "recounted: journals of ast1 from now; before that 0 legs by manifests" in said.output
    assert "recounted: rated-legs from its first message (none yet)" in said.output
    legs = [rate_leg(leg) for leg in make_legs(insert_parties(postgres.dsn.get_secret_value()), 1, 3)]
    produce_events(kafka, RATED_LEGS, legs)
    said = run(environment, "--full", "--json")
    assert said.exit_code == 1
    report = json.loads(said.output)
    assert {one["kind"] for one in report["differences"]} >= {"rated leg without CDR", "rated leg not in the ledger"}
    topics = report["range"]["topics"]
    assert set(topics) == {"calls", "dead-letters", "decisions", "nodes", "rated-legs"}
    firsts = [one["first_at"] for one in topics["rated-legs"]]
    assert len(firsts) == 8
    assert any(firsts)
    assert all(one["first_offset"] == one["sealed_legs"] == 0 for one in topics["rated-legs"])
    assert report["range"]["journals"] == {"ast1": {"first_at": None, "sealed_legs": 0}}
    assert run(environment, "--full", "--last").exit_code == 2
