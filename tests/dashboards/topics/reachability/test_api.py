"""Which vendors answer, over REST."""

import json

import psycopg
import pytest
from api_client import Api

from sinks.reachability import Report, report

pytestmark = pytest.mark.servers


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
    api.web.sources.reach._cached.expire()  # it is kept for three seconds
    (one,) = json.loads(api.get("reachability").text)["vendors"]
    assert (one["vendor"], one["node"], one["state"], one["probe"]) == ("vendor-a", "ast1", "skipped", None)
    (one,) = json.loads(api.check(node="ast1").text)["vendors"]
    assert one["state"] == "skipped"
