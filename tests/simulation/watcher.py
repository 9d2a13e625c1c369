"""What must hold at every commit of the database."""

from collections import Counter
from typing import Any

from sinks import holds
from tests.simulation.roles import MAX_PEER_LETTERS
from tests.simulation.setting import LIMITS
from tests.simulation.tables import Counter as CallCounter
from tests.simulation.tables import Tables
from tests.simulation.world import World


class Watcher:
    """Looks at the database at every commit."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: dict[str, Any] = {}
        world.database.committed = self.committed
        world.database.on_statement = self.statement

    def statement(self, statement: str, given: Any, rows: list[Any]) -> None:
        """After a statement, within its transaction."""
        if statement is not holds.ADMIT_ONCE or not rows or rows[0][0] != "ADMITTED":
            return
        tables, call_id = self._world.database.tables, given[0]
        hold = tables.holds[call_id]
        account = tables.accounts[hold.account_id]
        if call_id in self._held:
            return
        if account.by_money and tables.free(hold.account_id) < 0:
            self._world.fail("admitted above balance and credit", f"{call_id}: {tables.free(hold.account_id)} left")
        limit = LIMITS.get(hold.peer_id, 0)
        counted = sum(one.counted for one in tables.holds.values() if one.peer_id == hold.peer_id)
        if 0 < limit < counted:
            self._world.fail("more calls at once than the limit", f"{call_id}: {counted} of {limit}")

    def committed(self) -> None:
        """After a commit."""
        tables, fail = self._world.database.tables, self._world.fail
        for account_id in tables.touched_accounts:
            held = sum(hold.amount_micros for hold in tables.holds.values() if hold.account_id == account_id)
            if held != tables.held[account_id]:
                fail("held is not the sum of its holds", f"account {account_id}: {tables.held[account_id]} of {held}")
        for key in tables.touched_keys:
            counted = sum(hold.counted for hold in tables.holds.values() if key in hold.limit_keys)
            if counted != tables.counters.get(key, CallCounter()).concurrent:
                fail("calls at once are not counted right", f"limit {key}: {tables.counters[key]} of {counted}")
        open_of = Counter(one.peer_id for one in tables.letters.values() if one.peer_id and one.state == "open")
        if open_of and max(open_of.values()) > MAX_PEER_LETTERS:
            fail("more open letters of a peer than its limit", str(open_of))
        tables.touched_accounts.clear()
        tables.touched_keys.clear()
        if tables.holds != self._held:
            for call_id, hold in self._held.items():
                if call_id not in tables.holds:
                    self._gone(tables, call_id, hold)
            for call_id, hold in tables.holds.items():
                before = self._held.get(call_id)
                if before is not None and before.counted and not hold.counted and self._is_up(call_id):
                    fail("a call that is up is not counted any more", call_id)
            self._held = dict(tables.holds)
            self._world.ever_held.update(tables.holds)

    def _gone(self, tables: Tables, call_id: str, hold: Any) -> None:
        is_swept = any(swept == call_id for swept, _ in tables.swept)
        if f"{call_id}/0" not in tables.references and not is_swept:
            self._world.fail("a hold was given back before its call was posted", call_id)
        if self._is_up(call_id) and hold.expires_ms > self._world.database.wall_ms():
            self._world.fail("a hold was given back while its call is up", call_id)

    def _is_up(self, call_id: str) -> bool:
        """On a node whose clock was never set back: what a wrong clock does to the counters mends itself."""
        nodes = self._world.nodes
        return any(call_id in node.up and all(offset >= 0 for _, offset in node.offsets[1:]) for node in nodes)
