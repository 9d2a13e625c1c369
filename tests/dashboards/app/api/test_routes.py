"""The REST API on a real PostgreSQL: who gets in, and every error a problem with its field."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from api_client import NOW, PASSWORD, Api, problem
from check_world import load_check_world

from dashboards.access import users
from dashboards.access.api_tokens import end_token, make_token
from runtime.connections import Postgres

pytestmark = pytest.mark.servers
CALL = "ast1-1795609861-1795609900.1"


@pytest.mark.parametrize("authorisation", ["", "Bearer", "Bearer x", "Basic bm9jOng=", "bearer streamco_" + "a" * 43])
def test_without_a_token_nothing_is_told(api: Api, authorisation: str) -> None:
    for path in ("check-routing", f"decisions/{CALL}", "users", "openapi.json", "nowhere", ""):
        answer = api.client.get(f"/api/v1/{path}", headers={"Authorization": authorisation} if authorisation else {})
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_that_is_unknown_ended_or_of_a_disabled_user_opens_nothing(api: Api) -> None:
    problem(api.get("openapi.json", token="streamco_" + "a" * 43), 401)
    assert api.get("openapi.json").status_code == 200
    with psycopg.connect(api.dsn) as connection:
        other = make_token(connection, "noc", "other", NOW, 1)
    assert api.get("openapi.json", token=other).status_code == 200
    with psycopg.connect(api.dsn) as connection:
        end_token(connection, "noc", "other")
    problem(api.get("openapi.json", token=other), 401)
    api.now = NOW + timedelta(days=30)
    problem(api.get("openapi.json"), 401)
    api.now = NOW + timedelta(days=29)
    assert api.get("openapi.json").status_code == 200
    with psycopg.connect(api.dsn) as connection:
        connection.execute("UPDATE users SET enabled = false")
    problem(api.get("openapi.json"), 401)


def test_a_token_is_never_replaced_by_another_of_its_name(api: Api) -> None:
    with psycopg.connect(api.dsn) as connection:
        with pytest.raises(users.UserError, match="name 'test': noc has a token of that name; end it first"):
            make_token(connection, "noc", "test", NOW, 1)
        assert api.get("openapi.json").status_code == 200
        users.add_user(connection, "ben", PASSWORD, "noc")
        make_token(connection, "ben", "test", NOW, 1)  # another user's
        with pytest.raises(users.UserError, match="no such user"):
            make_token(connection, "nobody", "test", NOW, 1)
        later = make_token(connection, "noc", "test", NOW + timedelta(days=31), 1)  # the first has ended by then
        connection.execute("UPDATE users SET enabled = false WHERE login = 'ben'")
        with pytest.raises(users.UserError, match="is disabled"):
            make_token(connection, "ben", "another", NOW, 1)
    api.now = NOW + timedelta(days=31)
    assert api.get("openapi.json", token=later).status_code == 200


@pytest.mark.parametrize("written", ["Bearer {}", "bearer {}", "BEARER {}", "bEaReR   {}"])
def test_the_scheme_is_known_in_any_case(api: Api, written: str) -> None:
    answer = api.client.get("/api/v1/openapi.json", headers={"Authorization": written.format(api.token)})
    assert answer.status_code == 200


def test_nul_is_a_bad_request_wherever_it_stands(api: Api) -> None:
    for query in ({"from": "a\x00"}, {"callee": "\x00"}, {"x\x00": "1"}):
        problem(api.check(**query), 400)
    problem(api.get("decisions/a\x00b"), 400)
    problem(api.get("edge-refusals", node="a\x00"), 400)
    problem(api.post("try-translation", {"numbers": ["1"], "peer": "a\x00b"}), 400)
    problem(api.post("try-translation", {"numbers": ["1"], "\x00": "x"}), 400)


def test_a_companys_user_gets_nothing(api: Api) -> None:
    with psycopg.connect(api.dsn) as connection:
        row = connection.execute("SELECT company_id FROM companies WHERE name = 'Acme'").fetchone()
        assert row is not None
        users.add_user(connection, "acme", PASSWORD, "company", row[0])
        token = make_token(connection, "acme", "t", NOW, 1)
    assert "company" in problem(api.get("check-routing", token=token), 403)["detail"]


def test_a_session_of_the_pages_opens_nothing_here_and_a_token_none_of_the_pages(api: Api) -> None:
    with psycopg.connect(api.dsn) as connection:
        user = users.check_login(connection, "noc", PASSWORD)
        assert user is not None
        session = users.open_session(connection, user, "127.0.0.1", NOW, 1)
    api.client.set_cookie("streamco_session", session)
    problem(api.client.get("/api/v1/openapi.json"), 401)
    api.client.delete_cookie("streamco_session")
    answer = api.client.get("/", headers={"Authorization": f"Bearer {api.token}"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login?next=/")


def test_paths_and_methods_that_are_not_there(api: Api) -> None:
    problem(api.get("nowhere"), 404)
    for path, allowed in (("check-routing", "GET"), ("try-translation", "POST"), ("users", "GET, POST")):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - set(allowed.split(", ")):
            headers = {"Authorization": f"Bearer {api.token}"}
            answer = api.client.open(f"/api/v1/{path}", method=method, headers=headers)
            problem(answer, 405)
            assert set(allowed.split(", ")) <= set(answer.headers["Allow"].split(", ")), (method, path)


def test_one_may_not_ask_more_often_than_allowed(postgres: Postgres, tmp_path: Path) -> None:
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    api = Api(postgres, tmp_path, per_minute=3)
    assert [api.check().status_code for _ in range(3)] == [200] * 3
    problem(api.check(), 429)


def test_the_document_describes_what_is_there(api: Api) -> None:
    document = json.loads(api.get("openapi.json").text)
    assert document["openapi"].startswith("3.")
    names = ("check-routing", "decisions/{call_id}", "edge-refusals", "reachability", "try-translation", "users")
    names += tuple(f"users/{{login}}/{act}" for act in ("disable", "enable", "password", "role"))
    assert set(document["paths"]) == {f"/api/v1/{name}" for name in names}
    asked = document["paths"]["/api/v1/check-routing"]["get"]
    needed = {one["name"]: one["required"] for one in asked["parameters"]}
    optional = ("caller", "at", "node", "routing_number", "caller_name", "asserted", "privacy", "codecs", "seed")
    optional += ("look_up",)
    assert needed == {"from": True, "callee": True} | dict.fromkeys(optional, False)
    assert set(asked["responses"]) == {"200", "400", "401", "403", "405", "422", "429", "503"}
    found = document["paths"]["/api/v1/decisions/{call_id}"]["get"]
    assert "404" in found["responses"]
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                kinds = {"application/json" if status == "200" else "application/problem+json"}
                assert set(answer["content"]) == kinds
    assert found["parameters"][0]["schema"]["pattern"].startswith("^([a-z]")
    assert all("pattern" in one["schema"] for one in asked["parameters"] if one["schema"]["type"] == "string")
    schemas = document["components"]["schemas"]
    assert set(schemas["Checked"]["properties"]) == {
        "peer", "identified", "at_ms", "source", "snapshot_taken_at_ms", "quality", "limits", "looked_up", "steps",
        "decision", "reach", "vendors",
    }  # fmt: skip
    assert {"ExplainedCall", "Candidate", "Problem"} <= set(schemas)
    references = set(_references(document))
    assert references <= {f"#/components/schemas/{name}" for name in schemas}
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["security"]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "$ref":
                yield one
            else:
                yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)
