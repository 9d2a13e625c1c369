"""Peers with IPv6 addresses are refused where their nodes have no transport for them, and the field is named."""

from pathlib import Path

import psycopg
import pytest

from configuration.asterisk.reader import report_transports
from configuration.load import load
from configuration.settings import NodeSettings
from runtime.changing import WorldError

pytestmark = pytest.mark.servers
ACME = "companies: [{name: Acme, peers: [{name: six, role: originator, pack: Retail, route_class: Standard, %s}]}]"
SET = "set STREAMCO_SIP_HOST_IPV6 there and start it anew, or name other nodes"
RULE = f"is IPv6, and there is no IPv6 transport on {{}}: {SET}"


def _report(dsn: str, node: str, ipv6: str) -> None:
    settings = NodeSettings.model_validate(
        {
            "node": node,
            "directory": "/n",
            "postgres": {"dsn": dsn},
            "agi_key": "0" * 128,
            "ami_secret": "x",
            "cache": "/c",
            "sip_host_ipv6": ipv6,
        }
    )
    with psycopg.connect(dsn) as connection:
        report_transports(connection, settings)


@pytest.mark.parametrize("host", ["2001:db8::7", "2001:db8::/32"])
def test_an_ipv6_peer_needs_an_ipv6_transport_on_each_of_its_nodes(world_dsn: str, tmp_path: Path, host: str) -> None:
    path = tmp_path / "six.yaml"
    _report(world_dsn, "ast2", "")

    def refused(nodes: str = "") -> tuple[str, ...]:
        path.write_text(ACME % f"host: '{host}'{nodes}")
        try:
            load(world_dsn, path)
        except WorldError as error:
            return error.messages
        return ()

    place = f"companies[0].peers[0].host '{host}': "
    assert refused() == (place + RULE.format("ast1, ast2"),)
    _report(world_dsn, "ast2", "::1")
    assert refused() == (place + RULE.format("ast1"),)
    assert refused(", nodes: [ast1, ast2]") == (place + RULE.format("ast1"),)
    assert refused(", nodes: [ast2]") == ()
    _report(world_dsn, "ast1", "::1")
    assert refused() == ()
    _report(world_dsn, "ast1", "")
    assert refused() == (place + RULE.format("ast1"),)
