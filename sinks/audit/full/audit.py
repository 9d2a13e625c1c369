"""The audit: legs and money, counted in each store from what is really there, and every difference named.

Journals (re-read and decoded), the topic of rated legs (read from its beginning), ClickHouse and the ledger are four
accounts of the same legs. They must agree leg by leg and to the last micro-unit, or the audit says which legs do not.
A dead letter that nobody has decided about is a difference: it may be a leg that is in none of them.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from schemas.ids import node_of
from schemas.topics import RATED_LEGS
from sinks.audit.continuous.calls import NOT_VERIFIED
from sinks.audit.continuous.fold import add_hash, leg_hash
from sinks.audit.continuous.hours import REPEATED_CDR
from sinks.audit.continuous.letters import OPEN_LETTER
from sinks.audit.full.calls import ONE_SIDED, CallsUp, judge_open
from sinks.audit.full.range import Range
from sinks.audit.full.sources import AuditSettings, Ledger, Money, Sealed, Stores, read_stores

NOT_IN_BOOKS: Final = "answered by Asterisk's own word, and not in the books"
MAX_DIFFERENCES: Final = 200  # listed; `differences_total` counts them all
POLL_SECONDS: Final = 1.0
ENDED_HOLD: Final = "hold of a call that has ended"
UNKEPT_LETTER: Final = "dead letter not in the table"


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that should be equal and is not."""

    kind: str
    leg_id: str = ""
    account_id: int = 0
    detail: str = ""


class MoneyRow(msgspec.Struct, frozen=True):
    """One side in one currency. `balance_micros`: Σ balances less payments and corrections, as a positive."""

    currency: str
    side: str
    rated_micros: int
    cdr_micros: int
    ledger_micros: int
    balance_micros: int


class LegCounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Distinct legs in each store. `estimated` of `rated` were closed by estimate; `sealed` of `journal` are in files
    that were deleted, by their manifests; `sealed_rated` of `rated` in messages that were. Told where there are any.
    """

    journal: int
    rated: int
    cdr: int
    ledger: int
    dead_letters: int
    undecodable: int
    estimated: int = 0
    sealed: int = 0
    sealed_rated: int = 0


class AuditReport(msgspec.Struct, frozen=True):
    """What the audit found. `ok` only if there is no difference at all, and no silent node keeps calls from being
    verified.
    """

    ok: bool
    as_of: str
    calls: int
    nodes: dict[str, int]
    legs: LegCounts
    money: list[MoneyRow]
    holds_open: int
    calls_open: CallsUp  # holds, and admitted calls without an end
    differences_total: int
    differences: list[Difference]
    range: Range  # what was recounted; before it, manifests


def audit(
    settings: AuditSettings, settle_seconds: float = 0.0, progress: Callable[[str], None] = lambda _: None
) -> AuditReport:
    """Compare the stores; while they differ, look again until `settle_seconds` have passed.

    Raises what the stores' clients raise when a store cannot be read: no audit is better than half a one.
    """
    deadline = time.monotonic() + settle_seconds
    while True:
        report = compare(read_stores(settings), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        left_seconds = deadline - time.monotonic()
        if report.ok or left_seconds <= 0:
            return report
        progress(
            f"{report.differences_total} differences, {report.holds_open} holds open: "
            f"waiting up to {left_seconds:.0f} s for what is in flight"
        )
        time.sleep(min(POLL_SECONDS, max(0.0, left_seconds)))


def compare(stores: Stores, as_of: str) -> AuditReport:
    """The report of what the stores hold. Pure."""
    # What concerns whole ranges comes first: the list of legs has an end.
    differences = [*_seal_differences(stores), *_leg_differences(stores), *_ledger_differences(stores.ledger)]
    differences += [
        Difference(kind="journal line neither read nor a dead letter", detail=it) for it in stores.unreported
    ]
    differences += [
        Difference(kind=OPEN_LETTER, leg_id=leg_id, detail=origin) for origin, leg_id in stores.open_letters
    ]
    differences += [
        Difference(kind=NOT_IN_BOOKS, leg_id=f"{call_id}/0", detail=detail)
        for call_id, detail in stores.not_in_books
        if f"{call_id}/0" not in stores.dead_legs
    ]
    differences += [Difference(kind=ONE_SIDED, leg_id=f"{call_id}/0") for call_id in _one_sided(stores)]
    differences += [Difference(kind=UNKEPT_LETTER, detail=origin) for origin in stores.unkept]
    differences += [
        Difference(kind=REPEATED_CDR, leg_id=leg_id, detail=f"{times} CDRs")
        for leg_id, times in sorted(stores.repeated_cdrs.items())
    ]
    calls_open, of_calls = _call_differences(stores)
    differences += of_calls
    money = _money_rows(stores)
    refused = _refused_micros(stores)
    for row in money:
        posted_micros = row.rated_micros - refused.get((row.currency, row.side), 0)
        if row.rated_micros != row.cdr_micros or not posted_micros == row.ledger_micros == row.balance_micros:
            differences.append(Difference(kind="money", detail=f"{row.side} {row.currency}: {row}"))
    nodes: dict[str, int] = {}
    for leg_id in stores.journal:
        node = node_of(leg_id.split("/", 1)[0])
        nodes[node] = nodes.get(node, 0) + 1
    for node, sealed in stores.sealed.items():
        nodes[node] = nodes.get(node, 0) + sealed.legs
    return AuditReport(
        ok=not differences,
        as_of=as_of,
        calls=sum(1 for leg_id in stores.journal.keys() | _of_sealed(stores) if leg_id.endswith("/0")),
        nodes=dict(sorted(nodes.items())),
        legs=LegCounts(
            journal=len(stores.journal) + sum(sealed.legs for sealed in stores.sealed.values()),
            rated=len(stores.rated),
            cdr=len(stores.cdrs),
            ledger=len(stores.ledger.legs),
            dead_letters=stores.dead_letters,
            undecodable=stores.undecodable,
            estimated=len(stores.estimated),
            sealed=sum(sealed.legs for sealed in stores.sealed.values()),
            sealed_rated=sum(seal.manifest.legs for seal in stores.seals.values()),
        ),
        money=money,
        holds_open=stores.ledger.holds_open,
        calls_open=calls_open,
        differences_total=len(differences),
        differences=differences[:MAX_DIFFERENCES],
        range=stores.range,
    )


def _leg_differences(stores: Stores) -> list[Difference]:
    found: list[Difference] = []

    def missing(kind: str, have: Mapping[str, Any], want: Mapping[str, Any], excused: frozenset[str]) -> None:
        found.extend(Difference(kind=kind, leg_id=leg_id) for leg_id in sorted(want.keys() - have.keys() - excused))

    dead = stores.dead_legs
    missing("journal leg not rated", stores.rated, stores.journal, dead)
    missing("rated leg not in the journals", stores.journal, stores.rated, stores.estimated | _of_sealed(stores))
    open_still = dict.fromkeys(stores.unclosed)
    missing("leg of a call that died with its node not closed", stores.rated, open_still, dead)
    missing("rated leg without CDR", stores.cdrs, stores.rated, frozenset())
    missing("CDR of no rated leg", stores.rated, stores.cdrs, frozenset())
    missing("rated leg not in the ledger", stores.ledger.legs, stores.rated, dead)
    missing("ledger leg that was not rated", stores.rated, stores.ledger.legs, frozenset())
    for leg_id, rated in stores.rated.items():
        for name, other in (("CDR", stores.cdrs.get(leg_id)), ("ledger", stores.ledger.legs.get(leg_id))):
            if other is not None and other != rated:
                found.append(Difference(kind=f"rated leg and {name} differ", leg_id=leg_id, detail=f"{rated} {other}"))
    return found


def _one_sided(stores: Stores) -> list[str]:
    """The calls that no vendor answered by their CDRs. Where one of a call's legs is missing, that is named already."""
    missing = stores.dead_legs | (stores.rated.keys() - stores.cdrs.keys())
    named = stores.lettered | {leg_id.rpartition("/")[0] for leg_id in missing}
    return [call_id for call_id in stores.one_sided if call_id not in named]


def _of_sealed(stores: Stores) -> frozenset[str]:
    """The rated legs that are no line any more because their journals were deleted: if the manifests name just these.

    A leg that was discarded as a dead letter is in its manifest and nowhere else.
    """
    absent = stores.rated.keys() - stores.journal.keys() - stores.estimated
    discarded = stores.dead_legs - stores.rated.keys() - stores.journal.keys()
    found: set[str] = set()
    for node, sealed in stores.sealed.items():
        rated = {leg_id for leg_id in absent if leg_id.partition("-")[0] == node}
        dead = {leg_id for leg_id in discarded if leg_id.partition("-")[0] == node}
        if any(_sealed(legs) == sealed for legs in (rated, rated | dead)):
            found |= rated
    return frozenset(found)


def _sealed(legs: Iterable[str]) -> Sealed:
    count = total = 0
    for leg_id in legs:
        count, total = count + 1, add_hash(total, leg_hash(leg_id))
    return Sealed(count, total)


def _seal_differences(stores: Stores) -> list[Difference]:
    """Sealed legs whose count, hash or money is not the manifests', and messages that went without one."""
    found = []
    for partition, seal in sorted(stores.seals.items()):
        if seal.manifest != seal.ledger:
            where = seal.where or f"sealed {seal.manifest}, now {seal.ledger}"
            detail = f"{RATED_LEGS.name}/{partition}: {where}"
            found.append(Difference(kind="sealed rated legs and ledger differ", detail=detail))
    found += [Difference(kind="messages deleted without a seal", detail=one) for one in stores.unsealed]
    return found


def _ledger_differences(ledger: Ledger) -> list[Difference]:
    found = [
        Difference(kind="balance is not the sum of its entries", account_id=account_id, detail=f"{balance} {entries}")
        for account_id, (balance, entries) in sorted(ledger.balances.items())
        if balance != entries
    ]
    found += [
        Difference(kind="held is not the sum of its holds", account_id=account_id, detail=f"{held} {holds}")
        for account_id, (held, holds) in sorted(ledger.held.items())
        if held != holds
    ]
    found += [Difference(kind=ENDED_HOLD, leg_id=f"{call_id}/0") for call_id in ledger.holds_of_ended_calls]
    found += [
        Difference(kind="leg posted more than once", leg_id=leg_id, detail=f"{times} times")
        for leg_id, times in sorted(ledger.repeated_legs.items())
    ]
    return found


def _call_differences(stores: Stores) -> tuple[CallsUp, list[Difference]]:
    """Between the wire and the journal: calls that were admitted, or are held, and neither up nor closed anywhere."""
    closed = {
        leg_id.removesuffix("/0")
        for legs in (stores.journal, stores.rated, stores.ledger.legs, stores.dead_legs)
        for leg_id in legs
        if leg_id.endswith("/0")
    }
    counts, found = judge_open(stores.admitted, stores.ledger.opened, closed | stores.lettered, stores.patience)
    return counts, [
        Difference(kind=one.kind, detail=f"{one.subject}: {one.detail}")
        if one.kind == NOT_VERIFIED
        else Difference(kind=one.kind, leg_id=one.subject)
        for one in found
    ]


def _money_rows(stores: Stores) -> list[MoneyRow]:
    keys: set[tuple[str, str]] = set()
    sums: dict[str, dict[tuple[str, str], int]] = {}
    for name, legs in (("rated", stores.rated), ("cdr", stores.cdrs), ("ledger", stores.ledger.legs)):
        totals = sums.setdefault(name, {})
        for money in legs.values():
            key = (money.currency, money.side)
            totals[key] = totals.get(key, 0) + money.amount_micros
        keys |= totals.keys()
    balances = stores.ledger.leg_sums_by_balance
    return [
        MoneyRow(
            currency=currency,
            side=side,
            rated_micros=sums["rated"].get((currency, side), 0),
            cdr_micros=sums["cdr"].get((currency, side), 0),
            ledger_micros=sums["ledger"].get((currency, side), 0),
            balance_micros=balances.get((currency, side), 0),
        )
        for currency, side in sorted(keys | balances.keys())
    ]


def _refused_micros(stores: Stores) -> dict[tuple[str, str], int]:
    """(currency, side): money of rated legs that the ledger refused, and that wait among the dead letters."""
    refused: dict[tuple[str, str], int] = {}
    for leg_id in stores.dead_legs - stores.ledger.legs.keys():
        if (money := stores.rated.get(leg_id)) is not None:
            key = (money.currency, money.side)
            refused[key] = refused.get(key, 0) + money.amount_micros
    return refused


def report_json(report: AuditReport) -> str:
    """The report as JSON on one line."""
    return msgspec.json.encode(report).decode()


__all__ = ["AuditReport", "AuditSettings", "Difference", "Money", "audit", "compare", "report_json"]
