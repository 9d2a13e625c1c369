"""ClickHouse: `legs` as a ReplacingMergeTree(revision), read FINAL; inserts that fail, or whose answer is lost."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.exceptions import OperationalError

from sinks import cdrs
from sinks.audit.full.sources import Money
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


class Result(NamedTuple):
    """As clickhouse-connect's."""

    result_rows: list[tuple[str]]


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
        self.dropped = 0

    def insert_arrow(self, table: str, arrow: Any, settings: Any = None) -> None:
        """As clickhouse-connect's. Raises OperationalError: then it is there, or it is not."""
        self._require()
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

    def query(self, statement: str, parameters: Mapping[str, Any]) -> Result:
        """As clickhouse-connect's, for what sinks/cdrs.py asks; rows that a merge would drop are not there any more."""
        self._require()
        if statement == cdrs.ESTIMATED_CALLS:
            calls = [row for row in self._within(parameters) if row.leg_id.endswith("/0")]
            return Result([(row.leg_id,) for row in calls if row.estimated])
        assert statement == cdrs.REPLACED, statement
        rows = [row for row in self._within(parameters) if row.leg_id in parameters["legs"]]
        true = {row.leg_id for row in rows if not row.estimated}
        places = Counter(row.leg_id for row in rows)
        return Result([(leg_id,) for leg_id, count in places.items() if count > 1 and leg_id in true])

    def command(self, statement: str, parameters: Mapping[str, Any]) -> None:
        """As clickhouse-connect's."""
        self._require()
        assert statement == cdrs.DROP, statement
        gone = {row for row in self._within(parameters) if row.estimated and row.leg_id in parameters["legs"]}
        self.rows = {key: row for key, row in self.rows.items() if row not in gone}
        self.dropped += len(gone)
        if self._host.meets(self.losses, "answers lost"):
            raise OperationalError("the answer was lost")

    def _within(self, parameters: Mapping[str, Any]) -> list[Cdr]:
        return [row for key, row in self.rows.items() if parameters["first"] <= key[3] <= parameters["last"]]

    def _require(self) -> None:
        self._host.effect()
        if self.is_away:
            raise OperationalError("away")

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
