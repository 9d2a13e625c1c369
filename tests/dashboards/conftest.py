"""What tests of the dashboards share."""

from pathlib import Path

import argon2
import pytest
from api_client import Api
from check_world import load_check_world

from dashboards.access import users
from runtime.connections import Postgres


@pytest.fixture
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are checked in a moment: what they are hashed with is tested in test_users.py."""
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(users, "_hasher", cheap)
    monkeypatch.setattr(users, "_NOBODYS_HASH", cheap.hash("nobody's"))


@pytest.fixture
def api(postgres: Postgres, tmp_path: Path) -> Api:
    """The API over a configuration with originators, vendors and prices."""
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    return Api(postgres, tmp_path)
