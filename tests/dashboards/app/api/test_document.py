"""The API against its own OpenAPI document: thousands of made requests, right ones and wrong ones, on real stores.

No answer is an error of ours, none is undocumented in status, form or content, and none is given without a token. `make
test` tries some of each operation; with --whole ten thousand.
"""

import json
import time
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import schemathesis
from api_client import NOW, PASSWORD, Api
from check_world import load_check_world
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dashboards.access import users
from dashboards.access.api_tokens import make_token
from runtime.connections import ClickHouse, Postgres

CASES: Final = 200
WHOLE_CASES: Final = 10_000
EVERY: Final = 10  # of so many cases one is tried without a token, too
ALWAYS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.fixture
def api(postgres: Postgres, clickhouse: ClickHouse, tmp_path: Path, cheap_hashes: None) -> Api:
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    api = Api(postgres, tmp_path, per_minute=60_000, clickhouse=clickhouse)
    with psycopg.connect(api.dsn) as connection:
        users.add_user(connection, "the.tester", PASSWORD, "administrator")
        api.token = make_token(connection, "the.tester", "test", NOW, 30)
    return api


@pytest.mark.servers
@pytest.mark.timeout(3_600)
def test_made_requests_get_documented_answers(api: Api, whole: bool) -> None:
    document = json.loads(api.get("openapi.json").text)
    schema = schemathesis.openapi.from_dict(document)
    schema.app = api.web.server
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) == sum(len(path) for path in document["paths"].values()) > 9
    ways = [(operation, mode) for operation in found for mode in GenerationMode]
    counted: dict[int, int] = {}
    for operation, mode in ways:
        _try(api, operation, mode, (WHOLE_CASES if whole else CASES) // len(ways) + 1, counted)
    print({status: counted[status] for status in sorted(counted)})
    assert sum(counted.values()) >= (WHOLE_CASES if whole else CASES)
    assert {200, 422} <= set(counted)


def _answer(case: Case) -> Any:
    """The answer. A store that is busy with other tests is asked again: 503 says that it did not answer in time."""
    for pause_seconds in (1, 2, 4, 8):
        answer = case.call()
        if answer.status_code != 503 or b"does not answer" not in answer.content:
            return answer
        time.sleep(pause_seconds)
    return case.call()


def _try(api: Api, operation: Any, mode: GenerationMode, cases: int, counted: dict[int, int]) -> None:
    checks = [*ALWAYS, *([negative_data_rejection] if mode is GenerationMode.NEGATIVE else [])]

    @settings(
        max_examples=cases, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None,
        database=None, derandomize=True,
    )  # fmt: skip
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        made = {name: value for name, value in (case.headers or {}).items() if name.lower() != "authorization"}
        case.headers = made | {"Authorization": f"Bearer {api.token}", "Accept-Encoding": "identity"}
        answer = _answer(case)
        counted[answer.status_code] = counted.get(answer.status_code, 0) + 1
        case.validate_response(answer, checks=checks)
        if sum(counted.values()) % EVERY == 0:
            case.headers = made
            assert case.call().status_code == 401

    ask()
