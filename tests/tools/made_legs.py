"""Made calls whose accounts are there: the parties of made_traffic in PostgreSQL, and legs as every store has them.

From one list of calls come the events of `calls`, the Kafka messages, the journal's lines and the rated legs.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import psycopg
from kafka import KafkaProducer
from made_traffic import CUSTOMERS, PEERS, VENDORS, insert_names, make_traffic

from runtime.connections import Kafka
from schemas.events import AnyEvent, CallEnded, LegEnded, RatedLeg, encode_event
from schemas.facts import Facts, encode_facts
from schemas.frame import pack_frames, partition_of
from schemas.journal import encode_line
from schemas.topics import Topic

Ended = LegEnded | CallEnded
NOON_MS = 1_795_608_000_000  # 2026-11-25, in the middle of a day


class Parties(NamedTuple):
    """Account of each customer and vendor, by the company's (and peer's) id."""

    accounts: Mapping[int, int]


def insert_parties(dsn: str) -> Parties:
    """Companies, accounts, peers and destinations of made_traffic; balances at zero."""
    insert_names(dsn)
    return insert_peers(dsn)


def insert_peers(dsn: str) -> Parties:
    """The accounts and peers alone: the companies are there."""
    accounts: dict[int, int] = {}
    with psycopg.connect(dsn) as connection:

        def one(statement: str, *values: object) -> int:
            row = connection.execute(statement.encode(), values).fetchone()
            assert row is not None
            return int(row[0])

        pack = one("INSERT INTO billing_packs (name, currency) VALUES ('1/1', 'USD') RETURNING pack_id")
        deck = one("INSERT INTO decks (name) VALUES ('deck') RETURNING deck_id")
        route_class = one("INSERT INTO route_classes (name) VALUES ('all') RETURNING route_class_id")
        for number in (*CUSTOMERS, *VENDORS):
            customer = number in CUSTOMERS
            accounts[number] = one(
                "INSERT INTO accounts (name, company_id, kind, currency, payment, credit_limit)"
                " VALUES (%s, %s, %s, 'USD', 'postpaid', 1000) RETURNING account_id",
                f"{PEERS[number]} USD", number, "customer" if customer else "vendor",
            )  # fmt: skip
            connection.execute(
                "INSERT INTO peers (peer_id, company_id, name, role, endpoint, host, account_id, pack_id, deck_id,"
                " route_class_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (number, number, PEERS[number], "originator" if customer else "terminator", f"x-{PEERS[number]}",
                 f"127.1.0.{number}", accounts[number], pack, deck, route_class if customer else None),
            )  # fmt: skip
    return Parties(accounts)


def make_legs(parties: Parties, seed: int = 1, calls: int = 40, from_ms: int = NOON_MS) -> list[Ended]:
    """The closing events of calls with every kind of ending, hunts and refusals; a call's inbound leg comes last."""
    legs: list[Ended] = []
    for call in make_traffic(seed, from_ms, from_ms + 3_600_000, calls):
        inbound, *hunted = call.legs
        legs += [_at_home(leg.ended, parties) for leg in (*hunted, inbound)]
    return legs


def _at_home(ended: Ended, parties: Parties) -> Ended:
    changes: dict[str, Any] = {"facts": _facts(ended.facts, parties)}
    if ended.answered_at_ms is None:
        changes["asterisk_duration_ms"] = None  # as the journal says it
    if isinstance(ended, CallEnded):
        changes["last_facts"] = _facts(ended.last_facts, parties)
    return msgspec.structs.replace(ended, **changes)


def _facts(facts: Facts | None, parties: Parties) -> Facts | None:
    if facts is None:
        return None
    company = facts.customer_company_id if facts.side == "receivable" else facts.vendor_company_id
    return msgspec.structs.replace(facts, account_id=parties.accounts[company])


def journal_line(ended: Ended) -> bytes:
    """The line that the dialplan would have written for this leg: decoded, it is the same event."""
    common = {
        "call": ended.call_id, "start": _seconds(ended.started_at_ms),
        "end": _seconds(ended.ended_at_ms), "sid": quote(ended.sip_call_id, safe=""),
        "ansms": "" if ended.asterisk_duration_ms is None else str(ended.asterisk_duration_ms),
        "status": ended.dial_status, "cause": str(ended.cause), "src": ended.release_side,
        "facts": encode_facts(ended.facts) if ended.facts else "",
    }  # fmt: skip
    pdd = "" if ended.pdd_ms is None else str(ended.pdd_ms)
    if isinstance(ended, LegEnded):
        sip = "" if ended.sip_code is None else quote(f"SIP {ended.sip_code} Whatever")
        values = {
            **common, "leg": str(ended.leg), "begin": _seconds(ended.call_started_at_ms), "ring": pdd, "prog": "",
            "sip": sip,
        }  # fmt: skip
        return encode_line("LEG_RESULT", _seconds(ended.ended_at_ms), values)
    values = {
        **common, "pdd": pdd, "legs": str(ended.legs), "reason": ended.reason,
        "caller": quote(ended.caller_dialled, safe=""), "callee": quote(ended.callee_dialled, safe=""),
        "endpoint": quote(ended.endpoint, safe=""), "addr": quote(ended.remote_address, safe=""),
        "last": encode_facts(ended.last_facts) if ended.last_facts else "",
    }  # fmt: skip
    return encode_line("CALL_END", _seconds(ended.ended_at_ms), values)


def write_journals(directory: Path, legs: Iterable[Ended]) -> dict[str, Path]:
    """A journal directory for each node of the legs, as the audit takes them."""
    journals: dict[str, Path] = {}
    for leg in legs:
        node = leg.call_id.split("-", 1)[0]
        place = journals.setdefault(node, directory / node / "journal")
        place.mkdir(parents=True, exist_ok=True)
        with (place / "Master.csv").open("ab") as journal:
            journal.write(journal_line(leg))
    return journals


def produce(kafka: Kafka, topic: Topic, messages: Iterable[tuple[int, bytes]]) -> None:
    """Write (partition, message) pairs and wait for the broker."""
    producer = KafkaProducer(**kafka.client(), acks="all", linger_ms=5)
    sent = [producer.send(topic.name, value=message, partition=partition) for partition, message in messages]
    producer.flush(30)
    for one in sent:
        one.get(1)
    producer.close()


def produce_events(kafka: Kafka, topic: Topic, events: Sequence[AnyEvent], in_a_frame: int = 20) -> None:
    """Write events in frames, each in the partition of its call, account, or node."""
    by_partition: dict[int, list[bytes]] = {}
    for event in events:
        if isinstance(event, RatedLeg):
            key = str(event.account_id)
        else:
            key = getattr(event, "call_id", "") or getattr(event, "node", "")
        by_partition.setdefault(partition_of(key, kafka.partitions), []).append(encode_event(event))
    produce(
        kafka,
        topic,
        [
            (partition, frame)
            for partition, raws in by_partition.items()
            for first in range(0, len(raws), in_a_frame)
            for frame in pack_frames(raws[first : first + in_a_frame])
        ],
    )


def _seconds(at_ms: int) -> str:
    return f"{at_ms // 1000}.{at_ms % 1000:03d}"
