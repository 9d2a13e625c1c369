"""A stored decision over REST."""

from pathlib import Path

import pytest
from api_client import Api, problem
from check_world import load_check_world
from made_traffic import Try, insert, make_call

from runtime.connections import ClickHouse, Postgres
from schemas.events import decode_event

pytestmark = pytest.mark.servers


def test_a_stored_decision_comes_whole(postgres: Postgres, clickhouse: ClickHouse, tmp_path: Path) -> None:
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    call = make_call(1, 1_795_000_000_000, [Try(11, "ANSWER", 16, 200, talk_ms=61_000)])
    insert(clickhouse, [call])
    api = Api(postgres, tmp_path, clickhouse=clickhouse)
    answer = api.get(f"decisions/{call.call_id}")
    assert answer.status_code == 200, answer.text
    assert decode_event(answer.data) == call.decision
    problem(api.get("decisions/sim1-1795000000-1795000000.999"), 404)


def test_what_is_no_calls_id(api: Api) -> None:
    (fault,) = problem(api.get("decisions/abc"), 422)["errors"]
    assert (fault["field"], fault["value"]) == ("call_id", "abc")


def test_stores_that_are_away_are_said_to_be(api: Api) -> None:
    assert "ClickHouse does not answer" in problem(api.get("decisions/ast1-1795609861-1795609900.1"), 503)["detail"]
