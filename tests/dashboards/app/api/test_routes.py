"""The REST API on a real PostgreSQL: who gets in, what is answered, every error a problem with its field."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from api_client import NOW, PASSWORD, Api, problem
from check_world import load_check_world
from made_traffic import Try, insert, make_call
from refused_rows import refused_row

from dashboards.access import users
from dashboards.access.api_tokens import end_token, make_token
from runtime.connections import ClickHouse, Postgres
from schemas.events import ExplainedCall, decode_event
from sinks.edge_refusals import write
from sinks.reachability import Report, report

pytestmark = pytest.mark.servers
CALL = "ast1-1795609861-1795609900.1"


@pytest.fixture
def api(postgres: Postgres, tmp_path: Path) -> Api:
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    return Api(postgres, tmp_path)


def test_the_answer_is_the_cores_with_the_names_of_a_stored_decision(api: Api) -> None:
    answer = api.check(caller="12125550100")
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    found = json.loads(answer.text)
    assert set(found["decision"]) == {*ExplainedCall.__struct_fields__, "type"}
    taken = [(one["position"], one["vendor"]) for one in found["decision"]["candidates"]]
    assert taken == [(1, "vendor-a"), (2, "vendor-b"), (3, "vendor-c")]
    assert (found["peer"], found["identified"], found["decision"]["price_e8"]) == ("acme", "acme", 1_000_000)


def test_what_the_invite_says_of_the_caller_counts_as_it_would(api: Api) -> None:
    asked = {"caller": "12125550100", "asserted": '"Anna" <sip:+442079460000@x>', "privacy": "id", "caller_name": "Bob"}

    def caller() -> tuple[str, bool, str]:
        found = json.loads(api.check(**asked).text)["decision"]
        return found["caller"], found["withheld"], found["candidates"][0].get("caller_sent", "")

    assert caller() == ("12125550100", True, "")
    with psycopg.connect(api.dsn) as connection:
        connection.execute("UPDATE peers SET trusted = true WHERE name IN ('acme', 'vendor-a')")
    assert caller() == ("442079460000", True, "442079460000")


def test_a_look_up_is_asked_only_if_it_is_wanted(api: Api) -> None:
    with psycopg.connect(api.dsn) as connection:  # nobody listens there
        connection.execute(
            "INSERT INTO lookups (name, kind, url, answer_field)"
            " VALUES ('NPAC', 'lrn', 'http://127.0.0.1:9/{number}', 'lrn')"
        )
        connection.execute("UPDATE peers SET lookup_id = (SELECT lookup_id FROM lookups) WHERE name = 'acme'")
    found = json.loads(api.check().text)
    assert (found["looked_up"]["outcome"], found["decision"].get("lookup", "")) == ("not asked", "")
    found = json.loads(api.check(look_up="true").text)
    assert (found["looked_up"]["outcome"], found["decision"]["lookup"]) == ("no answer", "NPAC: no answer")
    assert found["decision"]["reason"] == ""
    assert json.loads(api.check(**{"from": "acme-tech", "look_up": "true"}).text)["looked_up"] is None
    api.web.sources.checks.close()


def test_another_moment_has_its_prices_and_is_built_once(api: Api) -> None:
    def price(at: str) -> int:
        return int(json.loads(api.check(at=at).text)["decision"]["candidates"][0]["price_e8"])

    assert (price("2029-12-31T23:59:59Z"), price("2030-01-01")) == (600_000, 650_000)
    built = api.built()
    assert len(built) == 2
    assert price("2031-05-05") == 650_000
    assert price("2030-06-01T12:00:00+02:00") == 650_000
    assert api.built() == built


def test_a_change_of_the_configuration_is_seen_by_the_next_question(api: Api) -> None:
    assert json.loads(api.check(callee="12125550100").text)["decision"]["reason"] == "NO ROUTE"
    with psycopg.connect(api.dsn) as connection:
        connection.execute(
            "INSERT INTO prices (deck_id, code, price) SELECT deck_id, '1', 0.001 FROM decks WHERE name = 'vendor-b'"
        )
    assert json.loads(api.check(callee="12125550100").text)["decision"]["reason"] == ""


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


@pytest.mark.parametrize(
    ("query", "field", "value", "rule"),
    [
        ({"from": "nobody"}, "from", "nobody", "no peer of that name"),
        ({"from": "vendor-a"}, "from", "vendor-a", "is a terminator"),
        ({"from": ""}, "from", "", "length >= 1"),
        ({"callee": "4" * 257}, "callee", "4" * 80, "length <= 256"),
        ({"callee": ""}, "callee", "", "length >= 1"),
        ({"at": "tomorrow"}, "at", "tomorrow", "must be a date or a time"),
        ({"node": "A"}, "node", "A", "must be a node's name"),
        ({"caller_name": "x" * 257}, "caller_name", "x" * 80, "length <= 256"),
        ({"seed": "-1"}, "seed", "-1", ">= 0"),
        ({"seed": "4294967296"}, "seed", "4294967296", "<= 4294967295"),
        ({"seed": "x"}, "seed", "x", "Expected `int`"),
        ({"look_up": "maybe"}, "look_up", "maybe", "Expected `bool`"),
        ({"routing_number": "x"}, "routing_number", "x", "must be 1 to 15 digits"),
        ({"routing_number": "1201", "look_up": "true"}, "look_up", "true", "must not be asked where a routing number"),
        ({"colour": "red"}, "colour", "red", "unknown field"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_field_value_and_rule(
    api: Api, query: dict[str, str], field: str, value: str, rule: str
) -> None:
    (fault,) = problem(api.check(**query), 422)["errors"]
    assert (fault["field"], fault["value"]) == (field, value)
    assert rule in fault["rule"]


def test_a_missing_field_is_named(api: Api) -> None:
    (fault,) = problem(api.get("check-routing", **{"from": "acme"}), 422)["errors"]
    assert fault["field"] == "callee"


def test_paths_and_methods_that_are_not_there(api: Api) -> None:
    problem(api.get("nowhere"), 404)
    for path, allowed in (("check-routing", "GET"), ("try-translation", "POST"), ("users", "GET, POST")):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - set(allowed.split(", ")):
            headers = {"Authorization": f"Bearer {api.token}"}
            answer = api.client.open(f"/api/v1/{path}", method=method, headers=headers)
            problem(answer, 405)
            assert set(allowed.split(", ")) <= set(answer.headers["Allow"].split(", ")), (method, path)
    (fault,) = problem(api.get("decisions/abc"), 422)["errors"]
    assert (fault["field"], fault["value"]) == ("call_id", "abc")


def test_stores_that_are_away_are_said_to_be(api: Api) -> None:
    assert "ClickHouse does not answer" in problem(api.get(f"decisions/{CALL}"), 503)["detail"]


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


def test_a_stored_decision_comes_whole(postgres: Postgres, clickhouse: ClickHouse, tmp_path: Path) -> None:
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    call = make_call(1, 1_795_000_000_000, [Try(11, "ANSWER", 16, 200, talk_ms=61_000)])
    insert(clickhouse, [call])
    api = Api(postgres, tmp_path, clickhouse=clickhouse)
    answer = api.get(f"decisions/{call.call_id}")
    assert answer.status_code == 200, answer.text
    assert decode_event(answer.data) == call.decision
    problem(api.get("decisions/sim1-1795000000-1795000000.999"), 404)


def test_which_vendors_answer(api: Api) -> None:
    assert json.loads(api.get("reachability").text) == {"vendors": []}
    with psycopg.connect(api.dsn) as connection:
        connection.execute(
            "INSERT INTO nodes (name, last_seen_at) VALUES ('ast1', now())"
            " ON CONFLICT (name) DO UPDATE SET last_seen_at = now()"
        )
        row = connection.execute("SELECT peer_id FROM peers WHERE name = 'vendor-a'").fetchone()
        assert row is not None
        report(connection, "ast1", [Report(row[0], 3, 0, None, 20_000)])
    api.web.sources.reach._read_at = float("-inf")  # it is kept for three seconds
    (one,) = json.loads(api.get("reachability").text)["vendors"]
    assert (one["vendor"], one["node"], one["state"], one["probe"]) == ("vendor-a", "ast1", "skipped", None)
    (one,) = json.loads(api.check(node="ast1").text)["vendors"]
    assert one["state"] == "skipped"


def test_what_was_refused_before_the_dialplan(api: Api) -> None:
    with psycopg.connect(api.dsn) as connection:
        write(connection, "ast1", [refused_row("203.0.113.9", at_ms=int(time.time() * 1000))])
    (one,) = json.loads(api.get("edge-refusals", address="203.0.113.0/24").text)["refusals"]
    assert (one["address"], one["sip_code"], one["peer"], one["not_recorded"]) == ("203.0.113.9", 488, None, 3)
    assert json.loads(api.get("edge-refusals", address="203.0.113.8").text) == {"refusals": []}
    assert json.loads(api.get("edge-refusals", node="ast2").text) == {"refusals": []}
    assert problem(api.get("edge-refusals", address="nonsense"), 422)["errors"][0]["field"] == "address"
    assert problem(api.get("edge-refusals", hours="0"), 422)["errors"][0]["field"] == "hours"
