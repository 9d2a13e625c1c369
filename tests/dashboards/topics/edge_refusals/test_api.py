"""What nodes refused before their dialplans, over REST."""

import json
import time

import psycopg
import pytest
from api_client import Api, problem
from pydantic import SecretStr
from refused_rows import refused_row

from runtime.connections import Postgres
from runtime.postgres_pool import Connections
from sinks.edge_refusals import write

pytestmark = pytest.mark.servers


def test_what_was_refused_before_the_dialplan(api: Api) -> None:
    with psycopg.connect(api.dsn) as connection:
        write(connection, "ast1", [refused_row("203.0.113.9", at_ms=int(time.time() * 1000))])
    (one,) = json.loads(api.get("edge-refusals", address="203.0.113.0/24").text)["refusals"]
    assert (one["address"], one["sip_code"], one["peer"], one["not_recorded"]) == ("203.0.113.9", 488, None, 3)
    assert json.loads(api.get("edge-refusals", address="203.0.113.8").text) == {"refusals": []}
    assert json.loads(api.get("edge-refusals", node="ast2").text) == {"refusals": []}
    assert problem(api.get("edge-refusals", address="nonsense"), 422)["errors"][0]["field"] == "address"
    assert problem(api.get("edge-refusals", hours="0"), 422)["errors"][0]["field"] == "hours"


def test_postgresql_that_is_down_is_said(api: Api) -> None:
    api.web.sources.edge_refusals._connections = Connections(Postgres(dsn=SecretStr("host=127.0.0.1 port=9")))
    assert problem(api.get("edge-refusals"), 503)["detail"] == "PostgreSQL does not answer."
