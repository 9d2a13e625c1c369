"""The REST API as a client sees it: a server on a real PostgreSQL, a user's token, its problems read."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from dashboards.access import users
from dashboards.access.api_tokens import make_token
from dashboards.app.web import Web
from dashboards.settings import DashboardsSettings
from router.check import CheckSettings
from router.settings import SnapshotSettings
from runtime.connections import ClickHouse, Kafka, Postgres

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"


class Api:
    """The API as a client sees it."""

    def __init__(
        self, postgres: Postgres, directory: Path, per_minute: int = 1000, clickhouse: ClickHouse | None = None
    ) -> None:
        self.dsn = postgres.dsn.get_secret_value()
        self.directory = directory
        self.now = NOW
        live = SnapshotSettings(postgres=postgres, directory=directory / "live")
        settings = DashboardsSettings(
            postgres=postgres,
            kafka=Kafka(bootstrap="127.0.0.1:9"),
            clickhouse=clickhouse or ClickHouse(url="http://127.0.0.1:9"),
            secret_key=SecretStr("k" * 32),
            api_requests_per_minute=per_minute,
            check=CheckSettings(live=live, directory=directory / "check"),
        )
        self.web = Web(settings, lambda: self.now)
        self.client: FlaskClient = self.web.server.test_client()
        with psycopg.connect(self.dsn) as connection:
            users.add_user(connection, "noc", PASSWORD, "noc")
            self.token = make_token(connection, "noc", "test", NOW, 30)

    def get(self, path: str, token: str | None = None, **query: str) -> TestResponse:
        """A request with the token, or another."""
        headers = {"Authorization": f"Bearer {token if token is not None else self.token}"}
        return self.client.get(f"/api/v1/{path}", query_string=query, headers=headers)

    def post(self, path: str, body: Any) -> TestResponse:
        """A question in JSON, or raw bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return self.client.post(f"/api/v1/{path}", data=data, headers=headers)

    def built(self) -> list[str]:
        """The snapshots that were built for questions."""
        return sorted(path.name for path in (self.directory / "check").glob("g*-*"))

    def check(self, **query: str) -> TestResponse:
        """The usual question, with what the test changes in it."""
        return self.get("check-routing", **{"from": "acme", "callee": "442071234567", **query})


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    """The problem that an answer tells of, with this status."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    found = json.loads(answer.text)
    assert found["status"] == status
    assert found["title"]
    return dict(found)
