"""PostgreSQL's tables, and the functions of its migrations on them, as plain Python: amounts in micros, times in ms.

Held true by tests/simulation/test_contract.py: the same random steps on this model and on the real PostgreSQL end in
the same rows. Transactions run one after the other here: what locks are for is tested on the real server.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sinks.dead_letters.store import KeptLetter
from tests.simulation.rows import Account, BrokenError, Counter, Entry, HoldRow, Leg, Node
from tests.simulation.terms import billed_up, paid_seconds, talk_price

MINUTE_MS: Final = 60_000
NODE_SILENT_MS: Final = 15_000
_EXPIRED: Final = "expired"
_NO_END: Final = "no end in the journal"


_TABLES: Final = (
    "accounts", "balance", "held", "entries", "revised", "holds", "counters", "nodes", "letters", "swept", "references",
    "node_calls", "stopped", "waiting",
)  # fmt: skip


class Tables:
    """The tables. `touched_accounts` and `touched_keys` say what changed since the last look."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.peers: dict[int, int] = {}  # peer_id: max_call_seconds
        self.balance: dict[int, int] = {}
        self.held: dict[int, int] = {}
        self.entries: dict[tuple[str, int, int, int], Entry] = {}
        self.references: dict[str, frozenset[tuple[str, int, int, int]]] = {}
        self.revised: dict[str, None] = {}
        self.holds: dict[str, HoldRow] = {}
        self.counters: dict[str, Counter] = {}  # by limit key
        self.code_limits: dict[int, tuple[str, ...]] = {}  # peer_id: codes
        self.nodes: dict[str, Node] = {}
        self.node_calls: dict[str, tuple[int, frozenset[str]]] = {}  # when a node was heard of, and what it listed
        self.letters: dict[str, KeptLetter] = {}
        self.stopped: dict[int, None] = {}  # peers with too many open letters
        self.waiting: dict[tuple[int, int], tuple[int, int]] = {}  # of their further ones, by partition: offsets
        self.swept: dict[tuple[str, int], tuple[int, int, str]] = {}
        self.ever_waited = 0  # letters without room
        self.repeats = 0  # legs that were posted already
        self.touched_accounts: set[int] = set()
        self.touched_keys: set[str] = set()

    def saved(self) -> dict[str, dict[Any, Any]]:
        """All rows as they are, for a rollback: rows are never changed, only replaced."""
        return {name: dict(getattr(self, name)) for name in _TABLES}

    def roll_back(self, saved: Mapping[str, dict[Any, Any]]) -> None:
        """As it was."""
        for name in _TABLES:
            setattr(self, name, saved[name])

    def open_account(self, account_id: int, account: Account) -> None:
        """A new account with its balance."""
        self.accounts[account_id] = account
        self.balance[account_id] = self.held[account_id] = 0

    def free(self, account_id: int) -> int:
        """What the account can spend."""
        return self.balance[account_id] + self.accounts[account_id].credit_micros - self.held[account_id]

    def hold_more(self, account_id: int, micros: int) -> None:
        """Change what is held; CHECK (held >= 0)."""
        self.held[account_id] += micros
        self.touched_accounts.add(account_id)
        if self.held[account_id] < 0:
            raise BrokenError(f"held of account {account_id} is {self.held[account_id]}")

    def insert(self, key: tuple[str, int, int, int], entry: Entry) -> None:
        """A row of the ledger."""
        self.entries[key] = entry
        self.references[key[0]] = self.references.get(key[0], frozenset()) | {key}

    def move(self, legs: Iterable[tuple[int, int]]) -> None:
        """Balances move by (account, amount)."""
        for account_id, amount_micros in legs:
            if account_id in self.balance:
                self.balance[account_id] += amount_micros

    # --- sinks/ledger.py

    def lockable(self, account_ids: Iterable[int], calls: Iterable[str]) -> list[tuple[int, str, str]]:
        """Accounts by id, and those of the calls' holds."""
        wanted = set(account_ids) | {self.holds[call].account_id for call in calls if call in self.holds}
        known = sorted(wanted & self.balance.keys())
        return [(number, self.accounts[number].kind, self.accounts[number].currency) for number in known]

    def post(self, legs: Sequence[Leg]) -> tuple[int, list[str]]:
        """Insert where there is no such row; balances move by what was inserted."""
        revised = {leg.reference for leg in legs} & self.revised.keys()
        inserted: list[tuple[int, int]] = []
        for leg in legs:
            key = (leg.reference, leg.account_id, leg.revision, leg.occurred_ms)
            self.repeats += key in self.entries
            if leg.reference not in revised and key not in self.entries:
                self.insert(key, Entry("leg", leg.contra_account_id, leg.amount_micros, leg.billed_seconds))
                inserted.append((leg.account_id, leg.amount_micros))
        self.move(inserted)
        return len(inserted), sorted(revised)

    def revise(self, legs: Sequence[Leg]) -> int:
        """Each leg at its highest revision: the first posts whole, a higher one the difference, a lower one nothing."""
        inserted: list[tuple[int, int]] = []
        for leg in legs:
            keys = self.references.get(leg.reference, frozenset())
            highest = max((key[2] for key in keys), default=None)
            if highest is not None and leg.revision <= highest:
                self.repeats += 1
                continue
            own = sum(self.entries[key].amount_micros for key in keys if key[1] == leg.account_id)
            amount = leg.amount_micros - own
            kind = "leg" if highest is None else "correction"
            key = (leg.reference, leg.account_id, leg.revision, leg.occurred_ms)
            self.insert(key, Entry(kind, leg.contra_account_id, amount, leg.billed_seconds))
            self.revised[leg.reference] = None
            inserted.append((leg.account_id, amount))
        self.move(inserted)
        return len(inserted)

    def release(self, calls: Collection[str]) -> int:
        """The calls' holds and places are given back."""
        gone = [self.holds.pop(call) for call in sorted(calls) if call in self.holds]
        self._give_back(gone)
        return len(gone)

    def _give_back(self, gone: Iterable[HoldRow]) -> None:
        keys: list[str] = []
        for hold in gone:
            self.hold_more(hold.account_id, -hold.amount_micros)
            if hold.counted:
                keys += hold.limit_keys
        self.count_down(keys)

    def count_down(self, keys: Iterable[str]) -> None:
        """Fewer calls at once, never below none."""
        for key in keys:
            if key in self.counters:
                counter = self.counters[key]
                self.counters[key] = counter._replace(concurrent=max(0, counter.concurrent - 1))
                self.touched_keys.add(key)

    def count_up(self, keys: Iterable[str]) -> None:
        """More calls at once, without asking for a limit."""
        for key in keys:
            counter = self.counters.get(key, Counter())
            self.counters[key] = counter._replace(concurrent=counter.concurrent + 1)
            self.touched_keys.add(key)

    def originator_keys(self, peer_id: int, callee: str) -> tuple[str, ...]:
        """The counters that a call counts in."""
        codes = [code for code in self.code_limits.get(peer_id, ()) if callee.startswith(code)]
        longest = max(codes, key=len, default=None)
        return ((f"c{peer_id}-{longest}",) if longest else ()) + (f"p{peer_id}",)

    # --- sinks/holds.py

    def admit(
        self, call_id: str, hold: HoldRow, least_seconds: int, limits: Sequence[tuple[str, int, int]], now_ms: int
    ) -> tuple[str, int | None, int | None]:
        """(outcome, free, held): `hold` as asked, its amount not known yet, `admitted_ms` the call's start."""
        if hold.account_id not in self.balance:
            return "NO ACCOUNT", None, None
        account, free = self.accounts[hold.account_id], self.free(hold.account_id)
        if call_id in self.holds:
            return "REPEATED", None, None
        if any(key[3] == hold.admitted_ms for key in self.references.get(f"{call_id}/0", ())):
            return "ENDED", free, None
        if account.by_money:
            hold = self.priced(hold)
            if hold.amount_micros > free:
                covered = paid_seconds(free, hold)
                if covered < least_seconds:
                    return "NO BALANCE", free, hold.amount_micros
                hold = self.priced(hold._replace(covered_seconds=covered))
            node = self.nodes.get(hold.node)
            if account.prepaid and (node is None or node.seen_ms <= now_ms - NODE_SILENT_MS):
                return "NODE SILENT", free, hold.amount_micros
        else:
            hold = hold._replace(amount_micros=0, covered_seconds=86_400, price_e8=0, fee_micros=0)
        counted: dict[str, Counter] = {}
        second = hold.admitted_ms // 1000
        for key, most_calls, most_cps in limits:
            counter = self.counters.setdefault(key, Counter())
            if second > counter.second or counter.second > second + 5:
                counter = counter._replace(second=second, in_second=0)
            if (0 < most_calls <= counter.concurrent) or (0 < most_cps <= counter.in_second):
                for other, one in counted.items():
                    self.counters[other] = one._replace(concurrent=one.concurrent - 1, in_second=one.in_second - 1)
                return "LIMIT", free if account.by_money else None, hold.amount_micros
            counted[key] = counter._replace(concurrent=counter.concurrent + 1, in_second=counter.in_second + 1)
        self.hold_more(hold.account_id, hold.amount_micros)
        self.holds[call_id] = hold._replace(limit_keys=tuple(counted))
        self.counters |= counted
        self.touched_keys |= counted.keys()
        return "ADMITTED", free if account.by_money else None, hold.amount_micros

    @staticmethod
    def priced(hold: HoldRow) -> HoldRow:
        """The hold with what its covered seconds cost."""
        return hold._replace(amount_micros=talk_price(hold.covered_seconds, hold))

    def extend(self, talk_seconds: Mapping[str, int], margin: int) -> list[tuple[str, int]]:
        """(call, second of talk at which its money ends) of those that cannot be covered for `margin` more."""
        unpaid = []
        for call_id in sorted(talk_seconds):
            hold, wanted = self.holds.get(call_id), talk_seconds[call_id] + margin
            if hold is None or wanted <= hold.covered_seconds:
                continue
            quanta = -(-(wanted - hold.covered_seconds) // hold.quantum_seconds)
            until = billed_up(hold.covered_seconds + quanta * hold.quantum_seconds, hold)
            free = self.free(hold.account_id)
            more = talk_price(until, hold) - hold.amount_micros
            if more > free:
                until = max(hold.covered_seconds, paid_seconds(hold.amount_micros + free, hold))
                more = talk_price(until, hold) - hold.amount_micros
            if until > hold.covered_seconds:
                more = max(0, more)
                self.hold_more(hold.account_id, more)
                self.holds[call_id] = hold._replace(amount_micros=hold.amount_micros + more, covered_seconds=until)
            if until < wanted:
                unpaid.append((call_id, until))
        return unpaid

    def uncount(self, calls: Iterable[str], now_ms: int) -> int:
        """These have been seen to end."""
        keys: list[str] = []
        calls_uncounted = 0
        for call_id in sorted(set(calls)):
            hold = self.holds.get(call_id)
            if hold is not None and hold.counted:
                self.holds[call_id] = hold._replace(counted=False, gone_ms=now_ms)
                keys += hold.limit_keys
                calls_uncounted += 1
        self.count_down(keys)
        return calls_uncounted

    def uncount_missing(self, node: str, live: Collection[str], before_ms: int, now_ms: int) -> int:
        """What a heartbeat knows."""
        for call_id in sorted(live):
            hold = self.holds.get(call_id)
            if hold is not None and hold.node == node and not hold.counted and (hold.gone_ms or 0) < before_ms:
                self.holds[call_id] = hold._replace(counted=True, gone_ms=None)
                self.count_up(hold.limit_keys)
        missing = [
            call_id
            for call_id, hold in self.holds.items()
            if hold.node == node and hold.counted and hold.admitted_ms < before_ms and call_id not in live
        ]
        return self.uncount(missing, now_ms)

    def place(self, node: str, wanted: Sequence[Mapping[str, Any]]) -> list[str]:
        """Hold and count calls that go on without a hold."""
        placed = []
        for one in sorted(wanted, key=lambda one: str(one["call_id"])):
            call_id, account_id, peer_id = one["call_id"], one["account_id"], one["peer_id"]
            started_ms = one["started_at_seconds"] * 1000
            if account_id not in self.accounts or peer_id not in self.peers or call_id in self.holds:
                continue
            keys = self.references.get(f"{call_id}/0", ())
            if any(started_ms - MINUTE_MS <= key[3] < started_ms + MINUTE_MS for key in keys):
                continue
            hold = HoldRow(
                node, peer_id, account_id, 0, one["covered_seconds"], one["quantum_seconds"], one["price_e8"],
                one["fee_micros"], one["minimum_seconds"], one["increment_seconds"], one["decimals"], started_ms,
                started_ms + (self.peers[peer_id] + 900) * 1000,
                limit_keys=self.originator_keys(peer_id, one["callee"]),
            )  # fmt: skip
            if self.accounts[account_id].by_money:
                hold = self.priced(hold)
            else:
                hold = hold._replace(covered_seconds=86_400, price_e8=0, fee_micros=0)
            self.hold_more(account_id, hold.amount_micros)
            self.holds[call_id] = hold
            self.count_up(hold.limit_keys)
            placed.append(call_id)
        return placed

    def sweep(
        self, node: str, live: Collection[str], never_ended: Collection[str], before_ms: int, now_ms: int
    ) -> list[tuple[str, int, int, str]]:
        """(call, account, amount, why) of the holds that no end of a call will give back."""
        dead = []
        for call_id, hold in self.holds.items():
            has_expired = hold.expires_ms < now_ms
            heard = self.nodes.get(hold.node)
            if hold.node == node:
                is_dead = (
                    call_id not in live
                    and hold.admitted_ms < before_ms
                    and (has_expired or (not hold.counted and call_id in never_ended))
                )
            else:
                is_dead = has_expired and not (heard is not None and heard.seen_ms > now_ms - MINUTE_MS)
            if is_dead:
                dead.append(call_id)
        gone = [(call_id, self.holds.pop(call_id)) for call_id in dead]
        for call_id in live:
            found = self.holds.get(call_id)
            if found is not None and found.expires_ms < now_ms + 5 * MINUTE_MS:
                self.holds[call_id] = found._replace(expires_ms=now_ms + 15 * MINUTE_MS)
        self._give_back(hold for _, hold in gone)
        rows = [
            (call_id, hold.account_id, hold.amount_micros, _EXPIRED if hold.expires_ms < now_ms else _NO_END)
            for call_id, hold in gone
        ]
        self.swept |= {(row[0], now_ms): row[1:] for row in rows}
        return rows
