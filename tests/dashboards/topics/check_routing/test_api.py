"""Check routing over REST, on a real PostgreSQL: the core's own answer, and every bad question refused by its field."""

import json

import psycopg
import pytest
from api_client import Api, problem

from schemas.events import ExplainedCall

pytestmark = pytest.mark.servers


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
