"""What tests of the dashboards share."""

import argon2
import pytest

from dashboards.access import users


@pytest.fixture
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are checked in a moment: what they are hashed with is tested in test_users.py."""
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(users, "_hasher", cheap)
    monkeypatch.setattr(users, "_NOBODYS_HASH", cheap.hash("nobody's"))
