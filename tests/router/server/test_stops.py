"""Peers with too many open dead letters: refused, also while PostgreSQL is away, and reported as an alarm."""

import psycopg

from router.server.stops import Stops, unbilled_facts
from schemas.facts import UNIDENTIFIED_ACCOUNT_ID, decode_facts, encode_facts
from schemas.refusals import Refusal


class Rows:
    """What PostgreSQL says."""

    def __init__(self) -> None:
        self.peers: frozenset[int] = frozenset()
        self.away = False

    async def read(self) -> frozenset[int]:
        if self.away:
            raise psycopg.OperationalError("away")
        return self.peers


async def test_a_stopped_peer_is_refused_until_it_is_taken_again() -> None:
    rows = Rows()
    stops = Stops(rows.read)
    assert (stops.refusal(7), stops.alarm, stops.keys) == (None, "", frozenset())
    rows.peers = frozenset({7, 9})
    await stops.look()
    assert (stops.refusal(7), stops.refusal(8)) == (Refusal.DEAD_LETTERS, None)
    assert stops.keys == {"s7", "s9"}
    assert stops.alarm == "NEW CALLS REFUSED, too many open dead letters of peers: 7, 9"
    rows.away = True
    await stops.look()
    assert stops.refusal(7) is Refusal.DEAD_LETTERS
    rows.away, rows.peers = False, frozenset()
    await stops.look()
    assert (stops.refusal(7), stops.alarm) == (None, "")


def test_what_is_refused_so_is_on_nobodys_account_and_names_its_customer() -> None:
    text = "1;r;17;3;31;0;0;1003;EUR;44;5;6;6000000;100;0;1;0;6;u;12125550123;447700900123"
    facts = unbilled_facts(decode_facts(text))
    assert decode_facts(encode_facts(facts)) == facts
    assert (facts.account_id, facts.currency, facts.price_e8) == (UNIDENTIFIED_ACCOUNT_ID, "USD", 0)
    assert (facts.customer_company_id, facts.customer_peer_id, facts.callee) == (3, 31, "447700900123")
