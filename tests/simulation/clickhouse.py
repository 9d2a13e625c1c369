"""ClickHouse: `legs` as a ReplacingMergeTree(revision), read FINAL; inserts that fail, or whose answer is lost."""

from collections import Counter
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.exceptions import OperationalError

from sinks.audit_sources import Money
from tests.simulation.clock import Host

_HOUR_MS: Final = 3_600_000


class Cdr(NamedTuple):
    """What is kept of a row."""

    leg_id: str
    side: str
    currency: str
    account_id: int
    amount_micros: int
    revision: int
    estimated: bool


class ClickHouse:
    """The one server, and the client of everybody."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.is_away = False
        self.refusals: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.rows: dict[tuple[Any, ...], Cdr] = {}  # by sorting key: the newest of the highest revision
        self.inserts = 0
        self.repeats = 0

    def insert_arrow(self, table: str, arrow: Any, settings: Any = None) -> None:
        """As clickhouse-connect's. Raises OperationalError: then it is there, or it is not."""
        self._host.effect()
        if self.is_away:
            raise OperationalError("away")
        if self._host.meets(self.refusals, "requests refused"):
            raise OperationalError("refused")
        self.inserts += 1
        columns = [arrow.column(name).to_pylist() for name in (*_COLUMNS, "start_time", "vendor_peer_id")]
        for leg_id, side, currency, account_id, amount, revision, estimated, start, vendor in zip(
            *columns, strict=True
        ):
            start_ms = round(start.timestamp() * 1000)
            # PARTITION BY toDate(start_time) ORDER BY (toStartOfHour(start_time), vendor_peer_id, start_time, leg_id)
            key = (start.date(), start_ms // _HOUR_MS, vendor, start_ms, leg_id)
            row = Cdr(leg_id, side, currency, account_id, int(amount.scaleb(6)), revision, estimated)
            self.keep(key, row)
        if self._host.meets(self.losses, "answers lost"):
            raise OperationalError("the answer was lost")
        self._host.effect()

    def keep(self, key: tuple[Any, ...], row: Cdr) -> None:
        """A repeat replaces; of several the highest revision stands, of equals the newest."""
        known = self.rows.get(key)
        self.repeats += known is not None
        if known is None or row.revision >= known.revision:
            self.rows[key] = row

    def legs(self) -> dict[str, Money]:
        """SELECT … FROM legs FINAL, as the audit reads it."""
        return {
            row.leg_id: Money(row.side, row.currency, row.account_id, row.amount_micros) for row in self.rows.values()
        }

    def heal(self) -> None:
        """No more faults."""
        self.is_away = False
        self.refusals.clear()
        self.losses.clear()


_COLUMNS: Final = ("leg_id", "side", "currency", "account_id", "amount", "revision", "estimated")
