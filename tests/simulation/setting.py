"""Who there is: three customers, three vendors, their accounts and prices in four generations; real snapshots."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from snapshots import RawWorld, make_snapshot, peer

from router.snapshot.config import Account, Pack
from router.snapshot.store import Snapshot
from tests.simulation import tables

START_MS: Final = 1_795_609_900_000  # of every history, on clocks that nobody has set
MAX_CALL_SECONDS: Final = 60
PACKS: Final = (
    Pack(1, "USD", 1, 1, 0, 0, 6, "up", False),
    Pack(2, "USD", 30, 6, 0, 1_000, 6, "up", False),
    Pack(3, "USD", 1, 1, 3, 0, 2, "nearest", False),
    Pack(4, "USD", 60, 60, 0, 0, 4, "none", False),
)
LIMITS: Final = {1: 4, 2: 0, 3: 3}  # calls at once
PRICES_E8: Final = (6_000_000, 9_000_001, 2_500_000, 33_333_333)  # of a generation, at 44


@cache
def snapshot(generation: int) -> Snapshot:
    """The routing snapshot of a price generation: made once a process, by the code that makes them in production."""
    place = Path(tempfile.mkdtemp(prefix="simulation-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    price_e8 = PRICES_E8[generation]
    peers = [
        peer(1, originator=True, host="127.0.1.1", account=Account(1001, True, False), pack=PACKS[0],
             max_concurrent=LIMITS[1], max_call_seconds=MAX_CALL_SECONDS, profit="allow_losses"),
        peer(2, originator=True, host="127.0.1.2", account=Account(1002, False, True), pack=PACKS[1],
             max_call_seconds=MAX_CALL_SECONDS, profit="allow_losses"),
        peer(3, originator=True, host="127.0.1.3", account=Account(1003, False, True), pack=PACKS[2],
             max_concurrent=LIMITS[3], max_cps=2, max_call_seconds=MAX_CALL_SECONDS, profit="allow_losses"),
        *(peer(10 + number, originator=False, account=Account(1010 + number, False, False), pack=PACKS[number % 4])
          for number in range(1, 4)),
    ]  # fmt: skip
    sold = [("44", 0, price_e8), ("33", 0, price_e8 * 2 + 1), ("1", 0, price_e8 // 3), ("99", 0, None)]
    bought = [[("44", 0, price_e8 * share // 10), ("33", 0, price_e8), ("1", 0, 1)] for share in (6, 7, 9)]
    decks = {1: sold, 2: sold, 3: sold, 11: bought[0], 12: bought[1][:1] + bought[1][2:], 13: bought[2]}
    entries = [(11, 1, True), (12, 1, True), (13, 2, True)]
    return make_snapshot(place, RawWorld(peers, decks, entries))


def fill(rows: tables.Tables, balance_micros: int) -> None:
    """The accounts as the migrations and the customers' opening payments leave them. 1013 is opened later."""
    for number, name in enumerate(("unidentified", "revenue USD", "cost USD", "cash USD", "corrections USD"), start=1):
        rows.open_account(number, tables.Account(name, "system", "USD"))
    rows.open_account(1001, tables.Account("prepaid", "customer", "USD", prepaid=True))
    rows.open_account(1002, tables.Account("credit", "customer", "USD", credit_micros=300_000))
    rows.open_account(1003, tables.Account("trusted", "customer", "USD", by_money=False))
    for number in (1011, 1012):
        rows.open_account(number, tables.Account(f"vendor {number}", "vendor", "USD"))
    rows.peers = dict.fromkeys((1, 2, 3, 11, 12, 13), MAX_CALL_SECONDS)
    rows.insert(("opening", 1001, 0, START_MS), tables.Entry("payment", 4, balance_micros, 0))
    rows.move([(1001, balance_micros)])
