"""The example of docs/operations.md, step by step: what a user types there works."""

from pathlib import Path

import psycopg
import pytest

from configuration.asterisk.reader import read_peers
from configuration.world import load, load_deck, pay

pytestmark = pytest.mark.servers
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def test_the_example_world_is_a_world_in_which_a_call_is_billed(postgres_dsn: str) -> None:
    assert load(postgres_dsn, EXAMPLES / "world.yaml").changed > 0
    assert load(postgres_dsn, EXAMPLES / "world.yaml").changed == 0
    assert load_deck(postgres_dsn, "acme", EXAMPLES / "acme.csv").rows == 3
    assert load_deck(postgres_dsn, "voicebridge", EXAMPLES / "voicebridge.csv").rows == 4
    assert str(pay(postgres_dsn, "Acme prepaid", "100.00", "bank transfer 4711").balance) == "100.000000"
    with psycopg.connect(postgres_dsn) as connection:
        peers = {peer.name: peer for peer in read_peers(connection, "ast1")}
    assert (peers["acme"].role, peers["acme"].host) == ("originator", "192.0.2.10")
    assert (peers["voicebridge"].role, peers["voicebridge"].host, peers["voicebridge"].port) == (
        "terminator",
        "198.51.100.7",
        5060,
    )
