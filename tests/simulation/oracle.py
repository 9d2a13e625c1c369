"""What must hold at the end, where the product's own audit is asked."""

from collections import Counter
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any, Final
from unittest import mock

from agent.clock import READ_SECONDS
from agent.journal.count import count_lines
from agent.journal.files import Line as JournalLine
from agent.journal.marks import whole_lines
from runtime.connections import Kafka
from schemas.events import CallEnded, DeadLetter, LegEnded, LegStarted, RatedLeg
from schemas.facts import decode_facts
from schemas.frame import partition_of
from schemas.ids import epoch_of, make_leg_id, node_of
from schemas.live import LIVE_CALL_DECODER
from schemas.topics import CALLS, DEAD_LETTERS, RATED_LEGS
from simulator.lines import Line
from sinks.audit.continuous.calls import NO_END, NOT_UP
from sinks.audit.continuous.letters import OPEN_LETTER
from sinks.audit.full import sources as audit_sources
from sinks.audit.full.audit import ENDED_HOLD, UNKEPT_LETTER, compare
from sinks.audit.full.calls import CdrCalls
from sinks.audit.full.sources import AuditSettings, Ledger, Letter, Money, read_stores
from sinks.dead_letters.messages import raw_of
from tariffs.rating import rate
from tests.simulation.admitted import admitted_calls, events_of, lost_calls, opened_of, waiting_letters
from tests.simulation.broker import PARTITIONS
from tests.simulation.roles import MAX_PEER_LETTERS
from tests.simulation.setting import START_MS
from tests.simulation.tables import Tables
from tests.simulation.world import World

_READ_MS: Final = int(READ_SECONDS * 1_000)


def ledger_of(tables: Tables, at_ms: int) -> Ledger:
    """As sinks.audit.full.sources.read_ledger reads PostgreSQL."""
    sides = {2: "receivable", 3: "payable"}
    legs: dict[str, tuple[int, str, Counter[int]]] = {}  # highest revision, side, amounts by account
    of_highest: dict[str, int] = {}
    other: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    times: Counter[tuple[str, str, int]] = Counter()
    for (reference, account_id, revision, _), entry in tables.entries.items():
        sums[account_id] += entry.amount_micros
        if entry.contra_account_id not in sides:
            other[account_id] += entry.amount_micros
            continue
        side = sides[entry.contra_account_id]
        highest, _, amounts = legs.get(reference, (-1, side, Counter[int]()))
        amounts[account_id] += entry.amount_micros
        if revision > highest:
            of_highest[reference] = account_id
        legs[reference] = (max(highest, revision), side, amounts)
        times[reference, entry.kind, 0 if entry.kind == "leg" else revision] += 1
    held = Counter[int]()
    for hold in tables.holds.values():
        held[hold.account_id] += hold.amount_micros
    by_balance: Counter[tuple[str, str]] = Counter()
    for account_id, account in tables.accounts.items():
        if account.kind != "system":
            side, sign = ("payable", 1) if account.kind == "vendor" else ("receivable", -1)
            by_balance["USD", side] += sign * (tables.balance[account_id] - other[account_id])
    return Ledger(
        legs={
            leg_id: Money(side, "USD", of_highest[leg_id], abs(amounts[of_highest[leg_id]]))
            for leg_id, (_, side, amounts) in legs.items()
        },
        repeated_legs={reference: count for (reference, _, _), count in times.items() if count > 1},
        balances={account_id: (balance, sums[account_id]) for account_id, balance in tables.balance.items()},
        held={account_id: (micros, held[account_id]) for account_id, micros in tables.held.items()},
        leg_sums_by_balance={key: micros for key, micros in by_balance.items() if micros},
        holds_open=len(tables.holds),
        holds_of_ended_calls=[call_id for call_id in tables.holds if f"{call_id}/0" in tables.references],
        opened=opened_of(tables, at_ms),
    )  # fmt: skip


@contextmanager
def _stores(world: World) -> Iterator[AuditSettings]:
    """The audit's own reading, with the world in the place of its servers."""
    letters = [
        Letter(one.origin, one.state, one.leg_id, one.raw if one.state != "replayed" else b"")
        for one in world.database.tables.letters.values()
    ]
    read: dict[str, Any] = {
        "read_letters": lambda _: letters,
        "read_ledger": lambda *_: ledger_of(world.database.tables, world.database.wall_ms()),
        "read_cdr_calls": lambda _: CdrCalls(
            [call for call_id, call in admitted_calls(world).items() if f"{call_id}/0" not in world.clickhouse.legs()],
            one_sided(world),
        ),
        "read_cdrs": lambda _: (world.clickhouse.legs(), {}),  # CDRs that are there twice: _wrong_cdrs
        "beginnings": lambda *_: {},  # no topic does either
        "read_sealed": lambda _: {},  # here no journal grows old enough
        "read_topic": lambda _, topic, *__: (event for _, event in events_of(world, topic.name)),
    }
    journals: Any = {node.name: node.disk.path(f"/{node.name}/journal") for node in world.nodes}
    with ExitStack() as stack:
        for name, function in read.items():
            stack.enter_context(mock.patch.object(audit_sources, name, function))
        kafka = Kafka.model_construct(partitions=PARTITIONS)
        yield AuditSettings.model_construct(
            journals=journals, postgres=None, kafka=kafka, clickhouse=None, young_seconds=0.0
        )


def one_sided(world: World) -> list[str]:
    """As sinks/audit/full/calls.py asks ClickHouse, by what was rated."""
    newest: dict[str, RatedLeg] = {}
    for _, event in events_of(world, RATED_LEGS.name):
        if isinstance(event, RatedLeg) and event.revision >= getattr(newest.get(event.leg_id), "revision", 0):
            newest[event.leg_id] = event
    answered = [one.ended for one in newest.values() if one.ended.answered_at_ms is not None]
    by_vendors = {one.call_id for one in answered if isinstance(one, LegEnded)}
    return [
        one.call_id
        for one in answered
        if isinstance(one, CallEnded) and not one.estimated and one.call_id not in by_vendors
    ]


def judge(world: World) -> list[tuple[str, str]]:
    """What is wrong at the end of a history: nothing, if all is well."""
    with _stores(world) as settings:
        stores = read_stores(settings)
    report = compare(stores, "the end")
    tables = world.database.tables
    # What was injected as poison stays among the dead letters: the audit must name each that is open, and nothing else.
    named = {one.detail for one in report.differences if one.kind == OPEN_LETTER}
    still_open = {origin for origin, letter in tables.letters.items() if letter.state == "open"}
    found = [
        ("open dead letter that the audit does not name, or one that is not open", one) for one in named ^ still_open
    ]
    waiting = waiting_letters(world)  # beyond their peer's limit: the audit names each, by its topic
    # So does a call of which no journal tells; what is a dead letter as well is named as that.
    lost = lost_calls(world) - stores.lettered - {leg_id.rpartition("/")[0] for leg_id in stores.dead_legs}
    vanished = {one.leg_id.rpartition("/")[0] for one in report.differences if one.kind == NO_END}
    found += [("lost call that the audit does not name", call_id) for call_id in sorted(lost - vanished)]
    found += [
        (one.kind, f"{one.leg_id or one.account_id} {one.detail}")
        for one in report.differences
        if one.kind != OPEN_LETTER and not (one.kind == NO_END and one.leg_id.rpartition("/")[0] in lost)
        if not (one.kind == UNKEPT_LETTER and one.detail in waiting)
    ]
    counts = Counter(one.peer_id for one in tables.letters.values() if one.state == "open")
    found += [
        ("letters wait though there is room", f"peer {peer_id}")
        for peer_id, _ in tables.waiting
        if counts[peer_id] < MAX_PEER_LETTERS
    ]
    named_holds = {one.leg_id.rpartition("/")[0] for one in report.differences if one.kind in (NOT_UP, ENDED_HOLD)}
    found += [("hold left that the audit does not name", call_id) for call_id in tables.holds.keys() - named_holds]
    found += [("hold left", call_id) for call_id in tables.holds]
    found += [("held left", f"{account}: {held}") for account, held in tables.held.items() if held]
    found += [("calls counted", f"peer {peer}: {one}") for peer, one in tables.counters.items() if one.concurrent]
    found += [("lag", f"{role} {group.lag()}") for role, group in world.groups.items() if group.lag()]
    found += _wrong_counts(world, stores.journal.keys())
    found += _wrong_money(world)
    found += _wrong_cdrs(world)
    found += _wrong_places(world)
    kept = Counter(letter.raw for letter in tables.letters.values())
    kept.update(raw_of(letter) for letter in waiting.values())
    found += [
        ("no dead letter of what was injected", repr(raw))
        for raw, count in Counter(world.injected).items()
        if kept[raw] < count
    ]
    known = {leg_id.rpartition("/")[0] for leg_id in tables.references} - _opened_after_their_end(world)
    for raw in world.changelog.values():
        call = LIVE_CALL_DECODER.decode(raw)
        if call.ended_at_ms is None and call.call_id in known:
            found.append(("a call that is over is shown as live", call.call_id))
    return found


def _opened_after_their_end(world: World) -> set[str]:
    """Calls whose opening line was read (again) after their end, when by their node's clock they had been let go: of an
    Asterisk that is gone, or of a clock that was set back. The live view may show them again, until they have been
    there for longer than any call.
    """
    epochs = {node.name: node.epoch for node in world.nodes}
    set_back = {node.name for node in world.nodes if any(offset < 0 for _, offset in node.offsets)}
    ended: set[str] = set()
    found: set[str] = set()
    for _, event in events_of(world, CALLS.name):
        if isinstance(event, CallEnded):
            ended.add(event.call_id)
        elif isinstance(event, LegStarted) and event.call_id in ended:
            found.add(event.call_id)
    return {one for one in found if epoch_of(one) < epochs[node_of(one)] or node_of(one) in set_back}


def _journal_lines(world: World) -> Iterator[bytes]:
    """All whole lines of all journals, as the product's own reading parts them."""
    for node in world.nodes:
        for _, file in node.disk.listed(f"/{node.name}/journal"):
            yield from whole_lines(bytes(file.content), 1 << 30)


def _wrong_counts(world: World, legs: Set[str]) -> list[tuple[str, str]]:
    """The agents' own count of their journals, which files are sealed by, closes what the whole audit reads there."""
    counted = {leg.leg_id for leg in count_lines(JournalLine("", 0, raw) for raw in _journal_lines(world)).closed}
    return [("leg counted in the journal by one and not by the other", leg_id) for leg_id in sorted(counted ^ legs)]


def _true_bills(world: World, line: Line) -> tuple[str, set[int]] | None:
    """(leg id, micros) of a line that closes a leg, by what really happened. Where the node's clock was set back so
    soon after its answer, or its end, that the line may as well tell of times behind that, such a bill is as good. When
    it was set the agent knows to a second: so often it reads the clocks.
    """
    values = line.values
    if line.kind not in ("LEG_RESULT", "CALL_END"):
        return None
    leg_id = make_leg_id(values["call"], int(values.get("leg", "0")))
    if not values["facts"] or not values["ansms"]:
        return leg_id, {0}
    talk_ms = int(values["ansms"])
    answered_ms = line.at_ms - START_MS - talk_ms
    offsets = next(node.offsets for node in world.nodes if node.name == node_of(values["call"]))
    talks = {talk_ms}
    for (_, before), (since_ms, after) in pairwise(offsets):
        back_ms = before - after
        if back_ms > 0 and answered_ms <= since_ms <= min(answered_ms + back_ms + _READ_MS, answered_ms + talk_ms):
            talks |= {max(0, one - back_ms) for one in talks}
        if back_ms > 0 and 0 <= since_ms - answered_ms - talk_ms <= back_ms + _READ_MS:
            talks |= {one + back_ms for one in talks}
    return leg_id, {rate(decode_facts(values["facts"]), one_ms, True).amount_micros for one_ms in talks}


def _wrong_money(world: World) -> list[tuple[str, str]]:
    """Every leg that was closed in a whole line is billed for what really happened, or waits for its account."""
    tables = world.database.tables
    on_disk = {raw.rstrip(b"\n") for raw in _journal_lines(world)}
    unpaid = {
        one.leg_id for one in tables.letters.values() if one.state != "replayed" and "no such account" in one.reason
    } | {one.leg_id for one in waiting_letters(world).values()}
    wrong = []
    for line, raw in world.lines:
        bill = _true_bills(world, line)
        if bill is None or raw.rstrip(b"\n") not in on_disk or bill[0] in unpaid:
            continue
        leg_id, bills = bill
        keys = tables.references.get(leg_id, frozenset())
        posted = abs(sum(tables.entries[key].amount_micros for key in keys))
        if not keys or posted not in bills:
            wrong.append(("leg not billed as it was", f"{leg_id}: {posted if keys else 'not posted'} of {bills}"))
    return wrong


def _wrong_cdrs(world: World) -> list[tuple[str, str]]:
    rows = Counter(row.leg_id for row in world.clickhouse.rows.values())
    estimated: dict[str, tuple[int, bool]] = {}
    for _, event in events_of(world, RATED_LEGS.name):
        if isinstance(event, RatedLeg):
            estimated[event.leg_id] = max(
                estimated.get(event.leg_id, (-1, False)), (event.revision, event.ended.estimated)
            )
    found = [("CDR more than once", leg_id) for leg_id, count in rows.items() if count > 1]
    for row in world.clickhouse.rows.values():
        if row.leg_id in estimated and estimated[row.leg_id] != (row.revision, row.estimated):
            found.append(("CDR of another revision", row.leg_id))
    return found


def _wrong_places(world: World) -> list[tuple[str, str]]:
    """Events of a key are in the key's partition."""
    found = []
    for topic, kind, key in (
        (CALLS.name, LegEnded | CallEnded, lambda event: event.call_id),
        (RATED_LEGS.name, RatedLeg, lambda event: str(event.account_id)),
        (DEAD_LETTERS.name, DeadLetter, lambda event: event.origin),
    ):
        for place, event in events_of(world, topic):
            if isinstance(event, kind) and partition_of(key(event), PARTITIONS) != place.partition:
                found.append(("event in a wrong partition", f"{topic}: {event.event_id}"))
    return found
