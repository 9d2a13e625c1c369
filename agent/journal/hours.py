"""Hours at rest: all legs of a node's journal against all of the ledger's, so that a surplus on either side shows.

Sums are compared; only where they differ is an hour read again, minute by minute, to name the legs. Estimates have no
line in the journal; legs that are kept as findings have no entry in the ledger: both are known and left out.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
import structlog

from agent.journal import rows as rows
from agent.journal.count import Leg, add, count_lines, less
from agent.journal.files import LONGEST_PIECE, Line, look
from agent.journal.marks import whole_lines
from agent.journal.rows import Finding
from sinks.audit.continuous.fold import HOUR_MS, Sums, leg_hash
from sinks.audit.continuous.store import moment_of, ms_of

log = structlog.get_logger(__name__)
NO_LINE: Final = "ledger leg without a journal line"
REPEATED: Final = "leg closed more than once in the journal"
HOUR_DIFFERS: Final = "journal and ledger differ in an hour"
KINDS: Final = (NO_LINE, REPEATED, HOUR_DIFFERS)
MOST_NAMED: Final = 100
_HOURS_AT_ONCE: Final = 5
_MINUTES_NAMED: Final = 3  # of an hour: an hour's ids would be too many to hold
_MINUTE_MS: Final = 60_000
_MARGIN_SECONDS: Final = 60.0
# An hour is compared when the ledger's side has been at rest for longer than the journal needs to settle, and all that
# the journal's side found posted has been counted by the auditor.
_UNEQUAL: Final = """
    WITH mine AS (
        SELECT hour, sum(legs)::bigint AS legs, wrapped(sum(leg_hash)) AS leg_hash, max(posted_below) AS posted_below
        FROM audit_journal_hours WHERE node = %(node)s GROUP BY hour
    ), other AS (
        SELECT hour, legs, leg_hash, changed_at FROM audit_hours WHERE node = %(node)s
    )
    SELECT hour, coalesce(mine.legs, 0), coalesce(mine.leg_hash, 0), coalesce(other.legs, 0),
           coalesce(other.leg_hash, 0)
    FROM mine FULL JOIN other USING (hour), audit_state
    WHERE (coalesce(mine.legs, 0), coalesce(mine.leg_hash, 0)) <> (coalesce(other.legs, 0), coalesce(other.leg_hash, 0))
      AND coalesce(other.changed_at, '-infinity') < now() - make_interval(secs => %(rest)s)
      AND coalesce(mine.posted_below, 0) <= audit_state.posted_xact
    ORDER BY hour DESC LIMIT 1000
"""
_NOT_IN_LEDGER: Final = """
    SELECT hour, subject FROM audit_journal_findings WHERE node = %s AND kind = %s AND hour = ANY (%s)
"""
_ESTIMATES: Final = """
    SELECT date_trunc('hour', occurred_at, 'UTC'), reference
    FROM revised_legs JOIN ledger_entries ON reference = leg_id
    WHERE split_part(leg_id, '-', 1) = %(node)s AND ledger_entries.kind <> 'payment'
      AND occurred_at >= %(first)s AND occurred_at < %(end)s
    GROUP BY 1, 2 HAVING max(revision) = 0
"""
_LEDGER: Final = """
    FROM ledger_entries WHERE occurred_at >= %(first)s AND occurred_at < %(end)s AND kind = 'leg'
      AND split_part(reference, '-', 1) = %(node)s
"""
_LEDGER_MINUTES: Final = f"""
    SELECT date_trunc('minute', occurred_at), count(*),
           wrapped(sum(('x' || left(md5(reference), 16))::bit(64)::bigint)) {_LEDGER} GROUP BY 1
"""
_LEDGER_LEGS: Final = f"SELECT reference {_LEDGER}"


class _Hour(NamedTuple):
    """An hour in which the sums differ."""

    hour_ms: int
    journal: Sums
    ledger: Sums


class HourWatch:
    """`compare` keeps what it finds among the node's findings, until the sums are equal again."""

    def __init__(self, node: str, journal: Path, settle_seconds: float) -> None:
        self._node = node
        self._journal = journal
        self._rest_seconds = settle_seconds + _MARGIN_SECONDS
        self._named: dict[_Hour, list[Finding]] = {}

    def compare(self, connection: psycopg.Connection[Any]) -> None:
        """Compare all hours. The journal must be counted to its end. Raises psycopg.Error, OSError."""
        unequal = self._unequal(connection)
        known = {hour: self._named[hour] for hour in unequal if hour in self._named}
        for hour in unequal:
            if hour not in known and len(known) < _HOURS_AT_ONCE + len(self._named):
                known[hour] = self._name(connection, hour)
                for one in known[hour][:20]:
                    log.error("the journal and the ledger differ", kind=one.kind, subject=one.subject)
        self._named = known
        rows.replace_findings(connection, self._node, KINDS, [one for found in known.values() for one in found])

    def _unequal(self, connection: psycopg.Connection[Any]) -> list[_Hour]:
        """The hours whose sums differ for no known reason."""
        found = [
            _Hour(ms_of(hour), Sums(legs, hashes), Sums(posted, posted_hashes))
            for hour, legs, hashes, posted, posted_hashes in connection.execute(
                _UNEQUAL, {"node": self._node, "rest": self._rest_seconds}
            ).fetchall()
        ]
        if not found:
            return []
        hours = [moment_of(one.hour_ms) for one in found]
        waiting = connection.execute(_NOT_IN_LEDGER, (self._node, rows.NOT_POSTED, hours)).fetchall()
        ends = moment_of(max(one.hour_ms for one in found) + HOUR_MS)
        estimates = connection.execute(_ESTIMATES, {"node": self._node, "first": min(hours), "end": ends}).fetchall()
        unequal = []
        for one in found:
            journal = less(one.journal, _sums(waiting, one.hour_ms))
            ledger = less(one.ledger, _sums(estimates, one.hour_ms))
            if journal != ledger:
                unequal.append(_Hour(one.hour_ms, journal, ledger))
        return unequal

    def _name(self, connection: psycopg.Connection[Any], hour: _Hour) -> list[Finding]:
        """The legs by which an hour differs; the hour itself where no leg does."""
        within = {"node": self._node, "first": moment_of(hour.hour_ms), "end": moment_of(hour.hour_ms + HOUR_MS)}
        mine: dict[int, Sums] = {}
        for leg in self._legs(hour.hour_ms, hour.hour_ms + HOUR_MS):
            minute = leg.call_started_at_ms // _MINUTE_MS
            mine[minute] = add(mine.get(minute, Sums()), Sums(1, leg_hash(leg.leg_id)))
        theirs = {
            ms_of(minute) // _MINUTE_MS: Sums(legs, hashes)
            for minute, legs, hashes in connection.execute(_LEDGER_MINUTES.encode(), within).fetchall()
        }
        excused = {leg for _, leg in connection.execute(_ESTIMATES, within).fetchall()}
        excused |= {one.subject for one in rows.load_findings(connection, self._node) if one.kind == rows.NOT_POSTED}
        found: list[Finding] = []
        files = rows.files_of_hour(connection, self._node, hour.hour_ms)
        if (
            "" not in files
        ):  # else some of its lines are gone with their files, and nobody can say which legs are too many
            minutes = [one for one in sorted(mine.keys() | theirs.keys()) if mine.get(one) != theirs.get(one)]
            for minute in minutes[:_MINUTES_NAMED]:
                found += self._name_minute(connection, minute * _MINUTE_MS, excused)
            if not found and minutes == []:
                log.error("an hour of the journal was counted wrongly: its files are counted anew", hour=hour.hour_ms)
                for file in files:
                    rows.forget_file(connection, self._node, file)
        if not found:
            text = moment_of(hour.hour_ms).astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
            detail = f"{hour.journal.legs} legs in the journal, {hour.ledger.legs} in the ledger"
            found = [Finding(HOUR_DIFFERS, f"{self._node} {text}", hour_ms=hour.hour_ms, detail=detail)]
        return found[:MOST_NAMED]

    def _name_minute(self, connection: psycopg.Connection[Any], minute_ms: int, excused: set[str]) -> list[Finding]:
        within = {"node": self._node, "first": moment_of(minute_ms), "end": moment_of(minute_ms + _MINUTE_MS)}
        posted = {leg for (leg,) in connection.execute(_LEDGER_LEGS.encode(), within).fetchall()} - excused
        closed: dict[str, int] = {}
        for leg in self._legs(minute_ms, minute_ms + _MINUTE_MS):
            closed[leg.leg_id] = closed.get(leg.leg_id, 0) + 1
        hour_ms = minute_ms - minute_ms % HOUR_MS
        found = [Finding(NO_LINE, leg, hour_ms=hour_ms) for leg in sorted(posted - closed.keys())]
        found += [
            Finding(REPEATED, leg, hour_ms=hour_ms, detail=f"{times} times")
            for leg, times in sorted(closed.items())
            if times > 1
        ]
        return found

    def _legs(self, first_ms: int, end_ms: int) -> Iterator[Leg]:
        """The closed legs of calls that began between these moments, from the files that are there."""
        for lines in self._lines():
            for leg in count_lines(lines).closed:
                if first_ms <= leg.call_started_at_ms < end_ms:
                    yield leg

    def _lines(self) -> Iterator[list[Line]]:
        for file in look(self._journal):
            try:
                opened = (self._journal / file.name).open("rb")
            except FileNotFoundError:
                continue
            with opened:
                rest = b""
                while chunk := opened.read(LONGEST_PIECE):
                    lines = whole_lines(rest + chunk, 2 * LONGEST_PIECE)
                    rest = (rest + chunk)[sum(map(len, lines)) :]
                    yield [Line("", 0, raw) for raw in lines]


def _sums(rows_of: list[tuple[datetime, str]], hour_ms: int) -> Sums:
    sums = Sums()
    for hour, leg_id in rows_of:
        if ms_of(hour) == hour_ms:
            sums = add(sums, Sums(1, leg_hash(leg_id)))
    return sums
