"""What the audit reads: each store's own account of the legs, whole."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from kafka import KafkaConsumer, TopicPartition

from schemas.connections import ClickHouse, Frozen, Kafka, Postgres
from schemas.events import CallEnded, DeadLetter, EventError, LegEnded, LegStarted, RatedLeg, decode_event
from schemas.frame import FrameError, unpack_frame
from schemas.ids import epoch_of, make_leg_id, node_of, split_leg_id
from schemas.journal import JournalError, decode_line, parts_of
from schemas.topics import DEAD_LETTERS, RATED_LEGS, Topic
from sinks.clickhouse import connect


class AuditSettings(Frozen):
    """The stores to compare. `journals`: the journal directory of each node, by node name."""

    postgres: Postgres
    kafka: Kafka
    clickhouse: ClickHouse
    journals: Mapping[str, Path]


_LEGS: Final = """
    SELECT reference, CASE split_part(contra.name, ' ', 1) WHEN 'revenue' THEN 'receivable' ELSE 'payable' END,
           contra.currency, ledger_entries.account_id, (abs(sum(amount)) * 1000000)::bigint
    FROM ledger_entries JOIN accounts AS contra ON contra.account_id = contra_account_id
    WHERE ledger_entries.kind = 'leg' OR (ledger_entries.kind = 'correction' AND contra.name ~ '^(revenue|cost) ')
    GROUP BY 1, 2, 3, 4
"""
_REPEATED: Final = """
    SELECT reference, max(times) FROM (
        SELECT reference, count(*) AS times FROM ledger_entries WHERE kind = 'leg' GROUP BY reference
        UNION ALL
        SELECT reference, count(*) FROM ledger_entries WHERE kind = 'correction' GROUP BY reference, revision
    ) AS counted WHERE times > 1 GROUP BY reference
"""
_BALANCES: Final = """
    SELECT account_id, (balance * 1000000)::bigint, (coalesce(entries, 0) * 1000000)::bigint,
           (held * 1000000)::bigint, (coalesce(holds, 0) * 1000000)::bigint
    FROM account_balances
    LEFT JOIN (SELECT account_id, sum(amount) AS entries FROM ledger_entries GROUP BY 1) AS e USING (account_id)
    LEFT JOIN (SELECT account_id, sum(amount) AS holds FROM holds GROUP BY 1) AS h USING (account_id)
"""
_LEG_SUMS_BY_BALANCE: Final = """
    SELECT currency, side, (sum(sign * (balance - coalesce(other, 0))) * 1000000)::bigint
    FROM account_balances
    JOIN (SELECT account_id, currency, CASE kind WHEN 'vendor' THEN 'payable' ELSE 'receivable' END AS side,
                 CASE kind WHEN 'vendor' THEN 1 ELSE -1 END AS sign
          FROM accounts WHERE kind <> 'system') AS parties USING (account_id)
    LEFT JOIN (SELECT ledger_entries.account_id, sum(amount) AS other
               FROM ledger_entries JOIN accounts AS contra ON contra.account_id = contra_account_id
               WHERE ledger_entries.kind <> 'leg' AND contra.name !~ '^(revenue|cost) ' GROUP BY 1) AS o
        USING (account_id)
    GROUP BY 1, 2
"""
_SEALED: Final = """
    SELECT node, sum(legs)::bigint, wrapped(sum(leg_hash))
    FROM journal_segments WHERE deleted_at IS NOT NULL GROUP BY node
"""
_HOLDS_OF_ENDED: Final = "SELECT call_id FROM holds JOIN ledger_entries ON reference = call_id || '/0'"


class Money(NamedTuple):
    """What a store says of one leg's money."""

    side: str
    currency: str
    account_id: int
    amount_micros: int


@dataclass(frozen=True)
class Ledger:
    """PostgreSQL's account."""

    legs: Mapping[str, Money]
    repeated_legs: Mapping[str, int]  # billed more often than once, or corrected so at one revision
    balances: Mapping[int, tuple[int, int]]  # account: (balance, Σ entries), micros
    held: Mapping[int, tuple[int, int]]  # account: (held, Σ holds), micros
    leg_sums_by_balance: Mapping[tuple[str, str], int]  # (currency, side): Σ balances − payments − corrections
    holds_open: int
    holds_of_ended_calls: Sequence[str]


class Sealed(NamedTuple):
    """What the manifests say of a node's journals that were deleted, all legs posted: how many, and their hash."""

    legs: int
    leg_hash: int


@dataclass(frozen=True)
class Stores:
    """All four accounts of the legs. Keys are leg ids."""

    journal: Mapping[str, None]
    unclosed: frozenset[str]  # opened in an epoch that is over, and never closed
    estimated: frozenset[str]  # rated legs whose newest revision closes them by estimate
    undecodable: int
    unreported: Sequence[str]  # NODE:FILE:OFFSET of lines that cannot be read and are among no dead letters either
    rated: Mapping[str, Money]
    dead_letters: int  # open or discarded
    dead_legs: frozenset[str]  # legs of those
    cdrs: Mapping[str, Money]
    ledger: Ledger
    sealed: Mapping[str, "Sealed"] = field(default_factory=dict)  # by node: journals that are deleted
    unkept: Sequence[str] = ()  # origins of dead letters that are in their topic and not in their table


def read_stores(settings: AuditSettings) -> Stores:
    """Read every store, the last one on the line first: a leg in flight is then missing downstream, never a surplus."""
    kept = read_letters(settings.postgres)
    ledger = read_ledger(settings.postgres)
    cdrs = read_cdrs(settings.clickhouse)
    written = {one.origin for one in read_topic(settings.kafka, DEAD_LETTERS) if isinstance(one, DeadLetter)}
    rated: dict[str, Money] = {}
    estimated: set[str] = set()
    revisions: dict[str, int] = {}
    for leg in read_topic(settings.kafka, RATED_LEGS):
        if isinstance(leg, RatedLeg) and leg.revision >= revisions.get(leg.leg_id, 0):
            rated[leg.leg_id] = Money(leg.side, leg.currency, leg.account_id, leg.amount_micros)
            revisions[leg.leg_id] = leg.revision
            (estimated.add if leg.ended.estimated else estimated.discard)(leg.leg_id)
    journal: dict[str, None] = {}
    opened: dict[str, None] = {}
    unreadable = list(_read_lines(settings.journals, journal, opened))
    reported = {(node_of_letter(letter.origin), letter.raw.rstrip(b"\r\n")) for letter in kept}
    excused = [letter for letter in kept if letter.state in ("open", "discarded")]
    return Stores(
        journal=journal,
        sealed=read_sealed(settings.postgres),
        unclosed=unclosed_legs(opened, journal),
        estimated=frozenset(estimated),
        undecodable=len(unreadable),
        unreported=[line.place for line in unreadable if (line.node, line.raw) not in reported],
        rated=rated,
        dead_letters=len(excused),
        dead_legs=frozenset(letter.leg_id for letter in excused if letter.leg_id),
        cdrs=cdrs,
        ledger=ledger,
        unkept=sorted(written - {letter.origin for letter in kept}),
    )


def read_sealed(postgres: Postgres) -> dict[str, Sealed]:
    """By node, the manifests of the journals that were deleted."""
    with psycopg.connect(postgres.dsn.get_secret_value(), connect_timeout=5) as connection:
        return {node: Sealed(legs, leg_hash) for node, legs, leg_hash in connection.execute(_SEALED).fetchall()}


class Unreadable(NamedTuple):
    """A whole line of a journal that is no event."""

    node: str
    place: str
    raw: bytes


def read_journals(journals: Mapping[str, Path]) -> tuple[dict[str, None], int]:
    """Distinct legs closed in all journals, and how many whole lines could not be read. A torn line is none yet."""
    legs: dict[str, None] = {}
    return legs, sum(1 for _ in _read_lines(journals, legs, {}))


def unclosed_legs(opened: Iterable[str], closed: Container[str]) -> frozenset[str]:
    """The legs of calls that died with their node: opened before the newest start that the node's calls tell of."""
    newest: dict[str, int] = {}
    calls = {leg_id: split_leg_id(leg_id)[0] for leg_id in opened}
    for call_id in calls.values():
        newest[node_of(call_id)] = max(newest.get(node_of(call_id), 0), epoch_of(call_id))
    return frozenset(
        leg_id
        for leg_id, call_id in calls.items()
        if leg_id not in closed and epoch_of(call_id) < newest[node_of(call_id)]
    )


def _read_lines(journals: Mapping[str, Path], legs: dict[str, None], opened: dict[str, None]) -> Iterator[Unreadable]:
    """Put the closed legs of all journals into `legs`, those dialled into `opened`; what cannot be read comes out."""
    for node, directory in journals.items():
        for path in sorted(directory.glob("Master.csv*")):
            offset = 0
            with path.open("rb") as lines:
                for line in lines:
                    for part in parts_of(line) if line.endswith(b"\n") else ():
                        try:
                            event = decode_line(part)
                        except JournalError:
                            yield Unreadable(node, f"{node}:{path.name}:{offset}", part.rstrip(b"\r\n"))
                        else:
                            _take(event, legs, opened)
                        offset += len(part)


def _take(event: Any, legs: dict[str, None], opened: dict[str, None]) -> None:
    if isinstance(event, LegEnded):
        legs[make_leg_id(event.call_id, event.leg)] = None
    elif isinstance(event, CallEnded):
        legs[make_leg_id(event.call_id, 0)] = None
    elif isinstance(event, LegStarted):
        opened[make_leg_id(event.call_id, event.leg)] = None
        opened[make_leg_id(event.call_id, 0)] = None


class Letter(NamedTuple):
    """What the audit needs of a dead letter. Only of open and discarded ones is it content that a leg is missing."""

    origin: str
    state: str
    leg_id: str
    raw: bytes  # of a journal's line; empty else


def read_letters(postgres: Postgres) -> list[Letter]:
    """The table of dead letters."""
    with psycopg.connect(postgres.dsn.get_secret_value(), connect_timeout=5) as connection:
        rows = connection.execute(
            "SELECT origin, state, leg_id, CASE source WHEN 'journal' THEN raw ELSE '' END FROM dead_letters"
        )
        return [Letter(*row) for row in rows.fetchall()]


def node_of_letter(origin: str) -> str:
    """The node whose journal a dead letter is from; empty: it is from elsewhere."""
    return origin.split(":")[1] if origin.startswith("journal:") else ""


def read_topic(kafka: Kafka, topic: Topic) -> Iterator[Any]:
    """The events of a framed topic from its beginning to its end as it is now; the unreadable is passed over."""
    consumer = KafkaConsumer(
        bootstrap_servers=kafka.bootstrap.split(","),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
        fetch_max_bytes=64 << 20,
    )
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(kafka.partitions)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for messages in consumer.poll(timeout_ms=500, max_records=5_000).values():
                for message in messages:
                    yield from _events(message.value)
    finally:
        consumer.close()


def _events(message: bytes | None) -> Iterator[Any]:
    try:
        raws = unpack_frame(message)
    except FrameError:
        return
    for raw in raws:
        try:
            yield decode_event(raw)
        except EventError:
            continue


def read_cdrs(clickhouse: ClickHouse) -> dict[str, Money]:
    """Each leg once, at its newest revision."""
    client = connect(clickhouse, answer_seconds=300)
    try:
        rows = client.query(
            "SELECT leg_id, side, currency, account_id, toInt64(toDecimal128(amount, 6) * 1000000) FROM legs FINAL"
        ).result_rows
    finally:
        client.close()
    return {row[0]: Money(row[1], row[2], row[3], row[4]) for row in rows}


def read_ledger(postgres: Postgres) -> Ledger:
    """Entries, balances and holds, in one snapshot of the database."""
    with psycopg.connect(postgres.dsn.get_secret_value(), connect_timeout=5) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        legs: dict[str, Money] = {}
        with connection.cursor(name="audit_legs") as cursor:
            cursor.itersize = 50_000
            cursor.execute(_LEGS)
            for reference, *money in cursor:
                legs[reference] = Money(*money)
        rows = connection.execute
        repeated: dict[str, int] = dict(rows(_REPEATED).fetchall())
        balances = rows(_BALANCES).fetchall()
        by_balance = rows(_LEG_SUMS_BY_BALANCE).fetchall()
        ended = rows(_HOLDS_OF_ENDED).fetchall()
        holds_open = rows("SELECT count(*) FROM holds").fetchone()
    return Ledger(
        legs=legs,
        repeated_legs=repeated,
        balances={row[0]: (row[1], row[2]) for row in balances},
        held={row[0]: (row[3], row[4]) for row in balances},
        leg_sums_by_balance={(row[0], row[1]): row[2] for row in by_balance if row[2]},
        holds_open=holds_open[0] if holds_open else 0,
        holds_of_ended_calls=[row[0] for row in ended],
    )
