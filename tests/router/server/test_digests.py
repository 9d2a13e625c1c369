"""Who may ask: a node's own sessions, each once. What is invented, repeated or another node's is told nothing."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from agi_client import SECRET, key_of
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from router.server.agi_text import AgiError
from router.server.digests import Digests
from router.settings import RouterSettings, SnapshotSettings
from runtime.connections import Kafka, Postgres
from schemas.agi_digest import script_with_digest, session_digest

CALL = "ast1-1795609861-1795609900.12"
AT = "1795609900.123"


class Nodes:
    """What PostgreSQL says."""

    def __init__(self) -> None:
        self.optional: set[str] = set()
        self.away = False

    async def read(self) -> frozenset[str]:
        if self.away:
            raise psycopg.OperationalError("away")
        return frozenset(self.optional)

    async def require(self, nodes: list[str]) -> None:
        if self.away:
            raise psycopg.OperationalError("away")
        self.optional -= set(nodes)


def make(nodes: Nodes | None = None, directory: Path = Path("/none"), **changes: Any) -> Digests:
    settings = RouterSettings(
        snapshot=SnapshotSettings(postgres=Postgres(dsn=SecretStr("postgresql://none")), directory=directory),
        kafka=Kafka(bootstrap="127.0.0.1:1"),
        spool=directory / "spool.sqlite",
        agi_secret=SecretStr(SECRET),
        **changes,
    )
    nodes = nodes or Nodes()
    return Digests(settings, nodes.read, nodes.require)


def headers(call_id: str = CALL, node: str = "ast1", script: str = "route", secret: str = SECRET) -> dict[str, str]:
    """Of a session that a node's key has signed."""
    return {
        "agi_network_script": script_with_digest(key_of(node, secret), script, call_id, AT),
        "agi_arg_1": quote(call_id, safe=""),
        "agi_arg_6": AT,
    }


def test_a_node_s_session_begins_once_for_each_script() -> None:
    digests = make()
    for script in ("route", "who"):
        digests.require(script, headers(script=script))
        with pytest.raises(AgiError, match="ast1: its digest is used"):
            digests.require(script, headers(script=script))
    digests.require("route", headers(CALL.replace(".12", ".13")))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"agi_network_script": "route"}, "missing"),
        ({"agi_network_script": "route?"}, "missing"),
        ({"agi_network_script": "route?x=1"}, "wrong"),
        ({"agi_network_script": "route?" + "0" * 40}, "wrong"),
        ({"agi_network_script": "route?" + "\u0660" * 40}, "wrong"),
        ({"agi_arg_6": "1795609900.124"}, "wrong"),
        ({"agi_arg_6": ""}, "wrong"),
        ({"agi_arg_1": "ast1-1795609861-1795609900.13"}, "wrong"),
        ({"agi_arg_1": "ast2-1795609861-1795609900.12"}, "wrong"),
        ({"agi_arg_1": "nobody"}, "wrong"),
        ({"agi_arg_1": "No Body-1795609861-1795609900.13"}, "arguments"),
        (headers(secret="another secret"), "wrong"),
        (headers(node="ast2"), "wrong"),
        (headers(script="who"), "wrong"),
    ],
)
def test_an_invented_session_does_not_begin(changes: dict[str, str], why: str) -> None:
    digests = make()
    invented = headers() | changes
    with pytest.raises(AgiError, match=why) as caught:
        digests.require("route", invented)
    for secret in (
        SECRET,
        *(part.decode() for part in key_of("ast1")),
        session_digest(key_of("ast1"), "route", CALL, AT),
    ):
        assert secret not in str(caught.value)
    digests.require("route", headers())  # and has used nothing up


@given(st.text(max_size=50), st.text(max_size=50), st.text(max_size=50))
def test_whatever_is_sent_is_an_error_of_its_session_alone(script: str, call_id: str, started_at: str) -> None:
    with pytest.raises(AgiError):
        make().require(
            "route", {"agi_network_script": f"route?{script}", "agi_arg_1": call_id, "agi_arg_6": started_at}
        )


def test_the_health_check_needs_none() -> None:
    make().require("ping", {"agi_network_script": "ping"})


def test_the_secret_of_before_counts_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("router.server.digests.time.time", lambda: now[0])
    digests = make(agi_previous_secret=SecretStr("the one before"), agi_previous_until=1_060)
    digests.require("route", headers(secret="the one before"))
    digests.require("route", headers())
    now[0] = 1_060.0
    with pytest.raises(AgiError, match="wrong"):
        digests.require("route", headers(CALL + "1", secret="the one before"))
    digests.require("route", headers(CALL + "1"))


async def test_a_node_of_before_goes_on_until_its_first_digest() -> None:
    nodes = Nodes()
    nodes.optional = {"ast1", "ast2"}
    digests = make(nodes)
    bare = headers() | {"agi_network_script": "route"}
    with pytest.raises(AgiError, match="missing"):  # nothing is known yet
        digests.require("route", bare)
    await digests.look()
    assert "taken without a digest: ast1, ast2" in digests.said
    digests.require("route", bare)
    digests.require("route", bare)
    with pytest.raises(AgiError, match="wrong"):
        digests.require("route", bare | {"agi_network_script": "route?" + "0" * 40})
    digests.require("route", headers())
    with pytest.raises(AgiError, match="missing"):
        digests.require("route", bare)
    nodes.away = True
    await digests.look()
    with pytest.raises(AgiError, match="missing"):
        digests.require("route", bare)
    nodes.away = False
    await digests.look()
    assert nodes.optional == {"ast2"}
    assert "taken without a digest: ast2" in digests.said
    with pytest.raises(AgiError, match="missing"):
        digests.require("route", bare)


def test_it_is_said_which_node_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5.0]
    monkeypatch.setattr("router.server.digests.time.monotonic", lambda: now[0])
    digests = make()
    assert digests.said == ""
    with pytest.raises(AgiError):
        digests.require("route", headers() | {"agi_network_script": "route"})
    assert "in the name of node ast1 are refused" in digests.said
    assert "streamco asterisk-config ast1" in digests.said
    now[0] += 60
    assert digests.said == ""
    for call_id in ("<b>\n-1-1.1", "x" * 17, ""):  # nobody's text gets there
        with pytest.raises(AgiError) as caught:
            digests.require("route", {"agi_network_script": "route", "agi_arg_1": call_id})
        assert len(str(caught.value)) < 100
    assert digests.said == ""
