"""Files for an Asterisk of the user's own."""

from pathlib import Path

import psycopg
import pytest
from command_role import command_environment

from configuration.load import load
from runtime.user_acts import Person, list_acts
from streamco.own_asterisk import write_files
from streamco.secret_store import with_secrets
from streamco.settings import Settings, SettingsError, read_settings

ADA = Person("ada", "command", "ada")
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def settings_of(home: Path, dsn: str = "postgresql://127.0.0.1:1/none") -> Settings:
    return with_secrets(
        read_settings(
            {
                "STREAMCO_HOME": str(home),
                **command_environment(dsn),
                "STREAMCO_SIP_HOST_IPV6": "2001:db8::1",
                "STREAMCO_EXTERNAL_SIGNALING_ADDRESS": "203.0.113.5",
                "STREAMCO_LOCAL_NETWORKS": "10.0.0.0/8",
            }
        )
    )


@pytest.mark.servers
def test_every_start_gets_an_epoch_of_its_own_and_the_peers_of_now(postgres_dsn: str, tmp_path: Path) -> None:
    load(postgres_dsn, EXAMPLES / "world.yaml")
    settings = settings_of(tmp_path / "home", postgres_dsn)
    etc = tmp_path / "etc"
    etc.mkdir()
    said = write_files(settings, "ast1", etc, ADA)
    first = (etc / "globals.conf").read_text()
    assert "2 peers" in said[0]
    assert "NODE=ast1" in first
    assert f"ROUTER=127.0.0.1:{settings.router_port}" in first
    assert "match=192.0.2.10" in (etc / "pjsip.conf").read_text()
    assert "contact=sip:198.51.100.7:5060" in (etc / "pjsip.conf").read_text()
    transports = "external_signaling_address=203.0.113.5\nlocal_net=10.0.0.0/8\nlocal_net=127.0.0.1/32\n"
    assert transports in (etc / "pjsip.conf").read_text()
    assert "bind=[2001:db8::1]:15060" in (etc / "pjsip.conf").read_text()
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SELECT name, sip_ipv6 FROM nodes").fetchall() == [("ast1", True)]
    assert settings.ami_secret is not None
    assert settings.ami_secret.get_secret_value() in (etc / "manager.conf").read_text()
    assert (etc / "manager.conf").stat().st_mode & 0o777 == 0o600
    assert not (etc / "asterisk.conf").exists()
    write_files(settings, "ast1", etc, ADA)
    assert (etc / "globals.conf").read_text() != first
    with psycopg.connect(postgres_dsn) as connection:
        acts = list_acts(connection, 10)
    assert [(one.person, one.act, one.subject) for one in acts] == [("ada", "asterisk files", "ast1")] * 2


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    with pytest.raises(SettingsError, match="node 'ast9': must be one of STREAMCO_NODES"):
        write_files(settings, "ast9", tmp_path, ADA)
    with pytest.raises(SettingsError, match="must be a directory that exists"):
        write_files(settings, "ast1", tmp_path / "nowhere", ADA)
    with pytest.raises(SettingsError, match="PostgreSQL does not answer"):
        write_files(settings, "ast1", tmp_path, ADA)
