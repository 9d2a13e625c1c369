"""Trying patterns over REST: saved rules and others, what is wrong with a question, bounds; nothing is saved."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from api_client import Api, problem
from check_world import load_check_world

from runtime.connections import Postgres
from runtime.postgres_pool import Connections

pytestmark = pytest.mark.servers
RULES = (
    "INSERT INTO translations SELECT peer_id, 'in', 'callee', 1, '^011', '+' FROM peers WHERE name = 'acme-tech'",
    "INSERT INTO translations SELECT peer_id, 'out', 'caller', 1, '^44', '0' FROM peers WHERE name = 'vendor-a'",
)


@pytest.fixture
def api(postgres: Postgres, tmp_path: Path) -> Api:
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    with psycopg.connect(postgres.dsn.get_secret_value()) as connection:
        for rule in RULES:
            connection.execute(rule.encode())
    return Api(postgres, tmp_path)


def ask(api: Api, **question: Any) -> dict[str, Any]:
    answer = api.post("try-translation", question)
    assert answer.status_code == 200, answer.text
    return dict(json.loads(answer.text))


def test_what_is_saved_is_tried_step_by_step(api: Api) -> None:
    found = ask(api, peer="acme-tech", numbers=["123011493012345", "493012345"])
    assert (found["direction"], found["field"], found["tech_prefix"]) == ("in", "callee", "123")
    assert found["rules"] == found["saved"] == [{"pattern": "^011", "replacement": "+"}]
    good, bad = found["trials"]
    assert [one["after"] for one in good["steps"]] == ["011493012345", "+493012345", "493012345"]
    assert (good["result"], good["consequence"]) == ("493012345", "")
    assert (bad["result"], bad["consequence"]) == ("", "BAD NUMBER")
    assert "must begin with the tech prefix 123" in bad["refused"]
    found = ask(api, peer="vendor-a", field="caller", numbers=["442071234567"])
    assert (found["direction"], found["trials"][0]["result"]) == ("out", "02071234567")


def test_other_rules_are_tried_and_nothing_is_saved(api: Api) -> None:
    def stored() -> list[Any]:
        with psycopg.connect(api.dsn) as connection:
            rules = connection.execute("SELECT * FROM translations ORDER BY 1, 2, 3, 4").fetchall()
            return [*rules, connection.execute("SELECT generation FROM configuration_generation").fetchone()]

    before = stored()
    rules = [{"pattern": "^0(.*)", "replacement": "44\\1"}, {"pattern": "^445", "replacement": "446"}]
    found = ask(api, peer="acme", rules=rules, numbers=["0512345"])
    assert found["trials"][0]["result"] == "44612345"
    assert (found["rules"][0], found["saved"]) == (rules[0], [])
    assert ask(api, peer="acme-tech", rules=[], numbers=["123011493012345"])["trials"][0]["result"] == "011493012345"
    nobody = ask(api, direction="out", field="caller_name", rules=[{"pattern": "^"}], numbers=["Anna", 'a"b'])
    assert [(one["result"], one["consequence"]) for one in nobody["trials"]] == [("Anna", ""), ("", "NONE")]
    assert stored() == before


@pytest.mark.parametrize(
    ("question", "field", "value", "rule"),
    [
        ({"rules": [{"pattern": "("}]}, "rules[0].pattern", "(", "RE2 does not accept it: missing )"),
        ({"rules": [{"pattern": "(?=1)"}]}, "rules[0].pattern", "(?=1)", "RE2 does not accept it"),
        ({"rules": [{"pattern": "(((1{1000}){1000}){1000})"}]}, "rules[0].pattern", "(((1{1000}){1000}){1000})", "RE2"),
        ({"rules": [{"pattern": "1" * 201}]}, "rules[0].pattern", "1" * 60, "must be 1 to 200 printable ASCII"),
        ({"rules": [{"pattern": "1", "replacement": "\\1"}]}, "rules[0].replacement", "\\1", "names group 1"),
        ({"rules": [{"pattern": "1", "replacement": ";"}]}, "rules[0].replacement", ";", "must be up to 64 of"),
        ({"rules": [{"pattern": "1"}] * 33}, "rules", "33 rules", "must be 32 at most"),
        ({"rules": [{"pattern": 1}]}, "rules[0].pattern", "1", "Expected `str`"),
        ({"rules": [{"pattern": "1", "x": "y"}]}, "rules[0]", '{"pattern":"1","x":"y"}', "unknown field `x`"),
        ({"numbers": []}, "numbers", "[]", "length >= 1"),
        ({"numbers": ["1"] * 51}, "numbers", "[" + '"1",' * 19 + '"1"', "length <= 50"),
        ({"numbers": ["4", "4" * 257]}, "numbers[1]", "4" * 80, "must have at most 256 characters"),
        ({"numbers": None}, "numbers", "", "Expected `array`"),
        ({"peer": "nobody"}, "peer", "nobody", "there is no peer of that name"),
        ({"peer": "acme", "direction": "out"}, "direction", "out", "is an originator: its patterns are in"),
        ({"direction": "up"}, "direction", "up", "Invalid enum value"),
        ({"field": "sender"}, "field", "sender", "Invalid enum value"),
        ({"colour": "red"}, "colour", "red", "unknown field"),
    ],
)
def test_what_cannot_be_tried_is_refused_by_field_value_and_rule(
    api: Api, question: dict[str, Any], field: str, value: str, rule: str
) -> None:
    (fault,) = problem(api.post("try-translation", {"numbers": ["4930"], **question}), 422)["errors"]
    assert (fault["field"], fault["value"]) == (field, value)
    assert rule in fault["rule"]


def test_all_that_is_wrong_is_said_at_once(api: Api) -> None:
    question = {"peer": "nobody", "rules": [{"pattern": "("}, {"pattern": "1"}, {"pattern": "["}], "numbers": ["1"]}
    found = problem(api.post("try-translation", question), 422)
    assert [one["field"] for one in found["errors"]] == ["peer", "rules[0].pattern", "rules[2].pattern"]
    assert "rule 3, pattern '[': RE2 does not accept it" in found["detail"]


@pytest.mark.parametrize("body", [b"", b"x", b"\xff", b"[]", b"null", b"[" * 60_000, b'{"numbers": ["\\ud800"]}'])
def test_what_is_no_question_is_said_to_be_none(api: Api, body: bytes) -> None:
    problem(api.post("try-translation", body), 422)


def test_a_body_is_bounded_and_only_posted(api: Api) -> None:
    problem(api.post("try-translation", {"numbers": ["1"], "peer": "x" * 70_000}), 413)
    problem(api.get("try-translation"), 405)
    answer = api.client.post("/api/v1/try-translation", data=b"{}")
    problem(answer, 401)


def test_one_may_not_ask_more_often_than_allowed(postgres: Postgres, tmp_path: Path) -> None:
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    api = Api(postgres, tmp_path, per_minute=2)
    assert [api.post("try-translation", {"numbers": ["493012345"]}).status_code for _ in range(3)] == [200, 200, 429]


def test_without_postgresql_it_says_so_and_tries_nobodys_rules(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = api.web.sources.trials
    away = Postgres.model_validate({"dsn": "postgresql://127.0.0.1:9/none"})
    monkeypatch.setattr(trials, "_connections", Connections(away))
    found = problem(api.post("try-translation", {"peer": "acme", "numbers": ["493012345"]}), 503)
    assert "PostgreSQL does not answer" in found["detail"]
    assert ask(api, numbers=["493012345"])["trials"][0]["result"] == "493012345"
    assert trials.names() == []


def test_the_document_describes_the_question(api: Api) -> None:
    document = json.loads(api.get("openapi.json").text)
    asked = document["paths"]["/api/v1/try-translation"]["post"]
    assert asked["requestBody"]["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/TrialBody"
    schemas = document["components"]["schemas"]
    body = schemas["TrialBody"]
    assert set(body["properties"]) == {"numbers", "peer", "direction", "field", "rules"}
    assert body["required"] == ["numbers"]
    assert {"Tried", "Trial", "Step", "TrialRule"} <= set(schemas)
    assert set(asked["responses"]) == {"200", "400", "401", "403", "405", "413", "422", "429", "503"}
    assert body["properties"]["peer"]["pattern"] == schemas["TrialRule"]["properties"]["pattern"]["pattern"]
