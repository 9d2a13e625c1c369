"""The SQL for a ClickHouse server says what the embedded front enforces: each table, limit and setting."""

import hashlib
import re

import pytest

from streamco.clickhouse_access.grants import create_user, enable_user, grants
from streamco.clickhouse_access.rights import ANALYST, KINDS, READER, WRITER, Rights


def of(rights: Rights, start: str) -> list[str]:
    return [one for one in grants("calls") if one.startswith(start) and f"`{rights.role}`" in one]


@pytest.mark.parametrize("rights", [READER, ANALYST])
def test_what_reads_is_granted_table_by_table(rights: Rights) -> None:
    granted = {found[1] for one in of(rights, "GRANT SELECT ON `calls`") if (found := re.search(r"\.`(\w+)`", one))}
    assert granted == rights.tables
    system = {found[1] for one in of(rights, "GRANT SELECT ON system") if (found := re.search(r"\.`(\w+)`", one))}
    assert system == rights.system_tables
    assert all(one.startswith("GRANT SELECT ON ") for one in of(rights, "GRANT"))


def test_the_writer_has_our_database_only() -> None:
    assert of(WRITER, "GRANT SELECT, ") == [f"GRANT {', '.join(WRITER.privileges)} ON `calls`.* TO `streamco_writer`"]
    assert not {"ALL", "CREATE USER", "CREATE DICTIONARY", "SYSTEM", "FILE", "URL"} & set(WRITER.privileges)


@pytest.mark.parametrize("rights", KINDS)
def test_a_profile_fixes_limits_and_lets_only_listed_settings_be_changed(rights: Rights) -> None:
    (profile,) = of(rights, "CREATE SETTINGS PROFILE")
    settings = profile.partition("` SETTINGS ")[2].split(", ")
    if not rights.read_only:
        assert settings == ["readonly = 0"]
        return
    assert settings[0] == "readonly = 1"
    changeable = {one.split(" ")[0] for one in settings if one.endswith(" CHANGEABLE_IN_READONLY")}
    assert changeable == rights.settings
    for name, most in rights.maxima.items():
        assert f"{name} = {most} MIN 1 MAX {most} CHANGEABLE_IN_READONLY" in settings
    for name, value in rights.fixed:
        assert f"{name} = '{value}'" in settings


def test_people_have_a_quota_of_an_hour() -> None:
    limits = ANALYST.limits
    assert limits is not None
    (quota,) = of(ANALYST, "CREATE QUOTA")
    assert f"FOR INTERVAL 1 hour MAX queries = {limits.hour_queries}, execution_time = {limits.hour_seconds}" in quota
    assert "KEYED BY user_name" in quota
    assert not of(READER, "CREATE QUOTA")


def test_a_user_is_made_without_the_password() -> None:
    statements = create_user("a`b", "secret word", "00ff", ANALYST)
    assert "secret" not in "\n".join(statements)
    assert hashlib.sha256(b"secret word00ff").hexdigest() in statements[0]
    assert all("`a\\`b`" in one for one in statements)
    assert enable_user("ada", enabled=False) == "ALTER USER `ada` HOST NONE"
