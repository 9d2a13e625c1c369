"""Users over REST: a life of one, errors by field, value and rule, every act with its person."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from api_client import Api, problem

from dashboards.access.users import check_login
from runtime.connections import Postgres
from runtime.user_acts import list_acts

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cheap_hashes")]


@pytest.fixture
def api(postgres: Postgres, tmp_path: Path) -> Api:
    made = Api(postgres, tmp_path)
    with psycopg.connect(made.dsn) as connection:
        connection.execute("UPDATE users SET role = 'administrator' WHERE login = 'noc'")
    return made


def done(api: Api, path: str, body: Any = None) -> dict[str, Any]:
    answer = api.post(path, {} if body is None else body)
    assert answer.status_code == 200, answer.text
    return dict(json.loads(answer.text))


def test_a_users_life(api: Api) -> None:
    made = done(api, "users", {"login": "nora", "role": "analyst"})
    password = done(api, "users/nora/password")["password"]
    assert password != made["password"]
    assert done(api, "users/nora/role", {"role": "viewer"}) == {"login": "nora"}
    with psycopg.connect(api.dsn) as connection:
        assert check_login(connection, "nora", made["password"]) is None
        user = check_login(connection, "nora", password)
    assert user is not None
    assert user.role == "viewer"
    assert done(api, "users/nora/disable") == {"login": "nora", "sessions_ended": 0, "tokens_ended": 0}
    found = {one["login"]: one for one in json.loads(api.get("users").text)["users"]}
    assert (found["nora"]["enabled"], found["nora"]["last_login_at_ms"]) == (False, None)
    assert [one["name"] for one in found["noc"]["tokens"]] == ["test"]
    assert done(api, "users/nora/enable") == {"login": "nora"}
    with psycopg.connect(api.dsn) as connection:
        acts = list_acts(connection, 10)
    assert [one.act for one in reversed(acts)] == ["add", "password", "role", "disable", "enable"]
    assert {(one.person, one.via, one.origin) for one in acts} == {("noc", "api", "127.0.0.1")}


def test_what_may_not_be_is_refused_by_field_value_and_rule(api: Api) -> None:
    for path, body, field, value, rule in (
        ("users", {"login": "noc", "role": "noc"}, "login", "noc", "there is such a user already"),
        ("users", {"login": "A B", "role": "noc"}, "login", "A B", "matching regex"),
        ("users", {"login": "nora", "role": "root"}, "role", "root", "Invalid enum value"),
        ("users", {"login": "nora"}, "role", "", "missing required field"),
        ("users", {"login": "nora", "role": "company"}, "company", "", "must be named for role company"),
        ("users/noc/role", {"role": "noc"}, "login", "noc", "the last administrator cannot be given another role"),
        ("users/noc/disable", {}, "login", "noc", "the last administrator cannot be disabled"),
        ("users/noc/enable", {}, "login", "noc", "is not disabled"),
        ("users/nobody/password", {}, "login", "nobody", "there is no such user"),
        ("users/%C2%85noc/password", {}, "login", "\x85noc", "must be 1 to 64 of"),
        ("users/Noc/password", {}, "login", "Noc", "must be 1 to 64 of"),
    ):
        (fault,) = problem(api.post(path, body), 422)["errors"]
        assert (fault["field"], fault["value"]) == (field, value)
        assert rule in fault["rule"]
