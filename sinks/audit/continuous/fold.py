"""The auditor's arithmetic, pure: legs are seen rated, posted and among the CDRs, in any order; what is equal leaves.

A leg waits from the first side that shows it until all sides agree. One that waits too long is a difference, with the
moment since when; it goes on waiting, so that what is mended is seen to be mended. Seen again (a repeat, a correction)
a leg waits anew and is judged by all of its entries, looked up.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

HOUR_MS: Final = 3_600_000
_MASK: Final = 2**64 - 1
NOT_POSTED: Final = "rated leg not in the ledger"
POSTED_DIFFERS: Final = "rated leg and ledger differ"
NOT_RATED: Final = "ledger leg that was not rated"
NO_CDR: Final = "rated leg without CDR"


class Rated(NamedTuple):
    """A rated leg, as the topic has it. `micros` are never negative."""

    leg_id: str
    revision: int
    account_id: int
    micros: int
    started_at_ms: int  # of the leg


class Posted(NamedTuple):
    """An entry of the ledger. `micros` as posted to the account: a customer's leg is negative, a vendor's positive."""

    reference: str
    account_id: int
    micros: int
    is_leg: bool  # an entry of a leg, its corrections included
    first: bool  # the first entry of its leg: no correction
    receivable: bool
    occurred_at_ms: int  # the call's start


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A leg that not all sides have shown yet."""

    leg_id: str
    since_ms: int
    rated_micros: int | None = None  # at the highest revision seen
    revision: int = -1
    account_id: int = 0
    started_at_ms: int = 0
    posted_micros: int | None = None  # Σ of the entries seen while it waits, as a positive
    in_ledger: bool = False  # equal there: the CDR is still to be seen


class Sums(NamedTuple):
    """Of the legs of an hour and node: how many, which (order-free), how much (both sides, as positives)."""

    legs: int = 0
    leg_hash: int = 0
    micros: int = 0


class Found(NamedTuple):
    """The sum of all entries of a leg on one account, as a positive; `counted`: all of them are below the horizon."""

    account_id: int
    micros: int
    counted: bool


class Difference(NamedTuple):
    """Something that should be equal and is not, and since when (unix ms)."""

    kind: str
    subject: str
    since_ms: int
    detail: str = ""


def leg_hash(leg_id: str) -> int:
    """The part of one leg in an order-free sum: signed 64 bits, as PostgreSQL's bigint."""
    return _signed(int.from_bytes(hashlib.md5(leg_id.encode(), usedforsecurity=False).digest()[:8], "big"))


def add_hash(one: int, other: int) -> int:
    """The sum of two such sums."""
    return _signed(one + other)


def hour_of(at_ms: int) -> int:
    """The hour (unix ms of its beginning) that a moment lies in."""
    return at_ms - at_ms % HOUR_MS


def take_rated(waiting: Mapping[str, Waiting], legs: Iterable[Rated], now_ms: int) -> dict[str, Waiting]:
    """What waits after these rated legs were read."""
    after = dict(waiting)
    for leg in legs:
        item = after.get(leg.leg_id) or Waiting(leg.leg_id, now_ms)
        if leg.revision >= item.revision:
            item = msgspec.structs.replace(
                item, rated_micros=leg.micros, revision=leg.revision, account_id=leg.account_id,
                started_at_ms=leg.started_at_ms, in_ledger=False,
            )  # fmt: skip
        after[leg.leg_id] = item
    return after


def take_posted(waiting: Mapping[str, Waiting], entries: Iterable[Posted], now_ms: int) -> dict[str, Waiting]:
    """What waits after these entries, each of them once, were read."""
    after = dict(waiting)
    for entry in entries:
        # A correction by nothing (an estimate that was right) may come after its leg has been found equal.
        if entry.is_leg and (entry.first or entry.micros):
            item = after.get(entry.reference) or Waiting(entry.reference, now_ms, started_at_ms=entry.occurred_at_ms)
            posted = (item.posted_micros or 0) + as_positive(entry)
            after[entry.reference] = msgspec.structs.replace(item, posted_micros=posted, in_ledger=False)
    return after


def sum_hours(entries: Iterable[Posted]) -> dict[tuple[int, str], Sums]:
    """What entries add to the sums of (hour of the call's start, node)."""
    sums: dict[tuple[int, str], Sums] = {}
    for entry in entries:
        if entry.is_leg:
            key = (hour_of(entry.occurred_at_ms), entry.reference.partition("-")[0])
            before = sums.get(key, Sums())
            sums[key] = Sums(
                before.legs + entry.first,
                add_hash(before.leg_hash, leg_hash(entry.reference)) if entry.first else before.leg_hash,
                before.micros + as_positive(entry),
            )
    return sums


def sum_accounts(entries: Iterable[Posted]) -> dict[int, int]:
    """What entries add to the sums of their accounts."""
    sums: dict[int, int] = {}
    for entry in entries:
        sums[entry.account_id] = sums.get(entry.account_id, 0) + entry.micros
    return sums


def as_positive(entry: Posted) -> int:
    """What the entry adds to its leg's bill."""
    return -entry.micros if entry.receivable else entry.micros


def match_ledger(waiting: Mapping[str, Waiting]) -> dict[str, Waiting]:
    """What waits, those marked whose new entries are just what was rated."""
    return {
        leg_id: msgspec.structs.replace(item, in_ledger=True)
        if item.rated_micros is not None and item.posted_micros == item.rated_micros
        else item
        for leg_id, item in waiting.items()
    }


def to_look_up(waiting: Mapping[str, Waiting]) -> list[Waiting]:
    """The rated legs that the new entries do not explain: repeats, corrections, what is in flight, what is lost."""
    return [item for item in waiting.values() if item.rated_micros is not None and not item.in_ledger]


def take_found(waiting: Mapping[str, Waiting], found: Mapping[str, Found]) -> dict[str, Waiting]:
    """What waits, those marked whose entries, all together and all counted, are what was rated."""
    after = dict(waiting)
    for leg_id, entries in found.items():
        item = after[leg_id]
        # What is not counted yet comes with the next window: settled before, it would look like one that nobody rated.
        if entries.counted and (entries.account_id, entries.micros) == (item.account_id, item.rated_micros):
            after[leg_id] = msgspec.structs.replace(item, in_ledger=True)
    return after


def to_ask_for(waiting: Mapping[str, Waiting], before_ms: int) -> list[Waiting]:
    """Legs that are equal in the ledger and were first seen before that moment: the CDR is to be there."""
    return [item for item in waiting.values() if item.in_ledger and item.since_ms <= before_ms]


def take_cdrs(waiting: Mapping[str, Waiting], asked: Iterable[Waiting], wrong: Mapping[str, str]) -> dict[str, Waiting]:
    """What still waits after the CDRs were asked: those that were not equal there (`wrong`)."""
    done = {item.leg_id for item in asked} - wrong.keys()
    return {leg_id: item for leg_id, item in waiting.items() if leg_id not in done}


def differences(
    waiting: Mapping[str, Waiting],
    found: Mapping[str, Found],
    wrong: Mapping[str, str],
    excused: frozenset[str],
    *,
    before_ms: int,
    all_rated_read: bool,
) -> list[Difference]:
    """What has waited since before that moment, and why. `excused`: legs that are dead letters, decided or to decide.

    A posted leg that nobody rated is one at once, as rated legs are read after the ledger: if all of them were read.
    """
    result = []
    for item in waiting.values():
        entries = found.get(item.leg_id)
        if item.rated_micros is None:
            if all_rated_read:
                detail = f"posted {item.posted_micros}"
                result.append(Difference(NOT_RATED, item.leg_id, item.since_ms, detail))
        elif item.since_ms > before_ms:
            continue
        elif item.in_ledger:
            if item.leg_id in wrong:
                result.append(Difference(NO_CDR, item.leg_id, item.since_ms, wrong[item.leg_id]))
        elif entries is None:
            if item.leg_id not in excused:
                detail = f"rated {item.rated_micros} for account {item.account_id}"
                result.append(Difference(NOT_POSTED, item.leg_id, item.since_ms, detail))
        elif (entries.account_id, entries.micros) != (item.account_id, item.rated_micros):
            posted = f"posted {entries.micros} to account {entries.account_id}"
            detail = f"rated {item.rated_micros} for account {item.account_id}, {posted}"
            result.append(Difference(POSTED_DIFFERS, item.leg_id, item.since_ms, detail))
    return result


def _signed(number: int) -> int:
    number &= _MASK
    return number - 2**64 if number >= 2**63 else number
