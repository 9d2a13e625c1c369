"""The audit of a node's own journal: every leg that it closes must be in the ledger; and the end of its old files.

A thread with one connection. It reads the journal with its own eyes, a minute behind, beside the relay. What is missing
in the ledger is kept by leg, looked for again at every look, and shown by the auditor. PostgreSQL away: it waits.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import structlog

from agent.journal import rows as rows
from agent.journal.answers import counted_signs, follow
from agent.journal.count import Counted, Leg, count_lines
from agent.journal.files import look
from agent.journal.hours import HourWatch
from agent.journal.marks import LIVE_NAME, AgentState, Found
from agent.journal.reading import Piece, Settled, digest, read_head, read_piece
from agent.journal.rows import Finding, Segment
from agent.journal.seal import is_relayed, is_to_delete, is_to_rotate, rotate
from agent.outbox import origin_of
from agent.postgres import connect
from agent.restart.last_heartbeat import load_heartbeat
from agent.settings import AgentSettings
from runtime.disk import is_full
from runtime.metrics import Bounded, gauge
from schemas.ids import started_seconds_of
from sinks.audit.continuous.fold import HOUR_MS, hour_of

log = structlog.get_logger(__name__)
File = tuple[Found, Segment | None]
MOST_WRONG: Final = 1_000  # at so many legs that are wrong nothing more is read, until they are mended
_PIECES_A_LOOK: Final = 8
_BREATH_SECONDS: Final = 0.05  # between two looks in a backlog: the relay comes first
_HOURS_SECONDS: Final = 60.0
WRONG: Final = Bounded("journal_findings", "Legs and lines of the journal that the ledger does not have.")
UNCOUNTED: Final = gauge("journal_uncounted_bytes", "Journal that is old enough to be audited and is not yet.")
FILES: Final = gauge("journal_files", "Files of the journal on this node's disk.")


class JournalAudit:
    """`relayed`: what the relay has acknowledged; `forget` is told the inode of a file that was deleted."""

    def __init__(
        self, settings: AgentSettings, relayed: Callable[[], AgentState], forget: Callable[[int], None]
    ) -> None:
        """Connects at the first look, and again after a failure."""
        self._settings = settings
        self._journal: Path = settings.directory / "journal"
        self._relayed = relayed
        self._forget = forget
        self._settled = Settled(settings.settle_seconds)
        self._hours = HourWatch(settings.node, self._journal, settings.settle_seconds)
        self._hours_at = 0.0
        self._connection: psycopg.Connection[Any] | None = None
        self._absent: set[str] = set()
        self._heads: dict[int, str] = {}
        self._wrong = 0
        self._up: dict[str, bool] | None = None  # calls that are up, as journal_answers follows them
        WRONG.watch(MOST_WRONG, lambda: self._wrong)
        self.health = "journal not audited yet"

    def run(self, stop: threading.Event) -> None:
        """Look until `stop`. Raises OSError of the disk."""
        settings = self._settings
        try:
            while not stop.is_set():
                try:
                    pause_seconds = _BREATH_SECONDS if self.look() else settings.audit_seconds
                except OSError as error:
                    if not is_full(error):
                        raise
                    log.error("the journal is not audited: the disk is full", error=str(error))  # noqa: TRY400
                    self.health = "journal not audited: the disk is full"
                    pause_seconds = settings.audit_seconds
                except psycopg.Error as error:
                    log.warning("the journal is not audited: PostgreSQL is away", error=repr(error)[:300])
                    self.health = "journal not audited: PostgreSQL is away"
                    self._disconnect()
                    pause_seconds = settings.audit_seconds
                stop.wait(pause_seconds)
        finally:
            self._disconnect()

    def look(self) -> bool:
        """One look at the journal; whether there is more to count at once. Raises psycopg.Error, OSError."""
        if self._connection is None:
            self._connection = self._connect()
        connection, node = self._connection, self._settings.node
        found = look(self._journal)
        settled = self._settled.look(found)
        if settled is None:
            self.health = "journal not audited yet: its lines have to settle first"
            return False
        segments = rows.load_segments(connection, node)
        with connection.transaction():
            self._wrong = self._judge_again(connection)
        if self._up is None:
            counted = ((file.name, segment.bytes) for file in found if (segment := self._segment_of(file, segments)))
            self._up, _ = follow({}, counted_signs(self._journal, counted))
        pieces = 0
        for file in found:
            while pieces < _PIECES_A_LOOK and self._wrong < MOST_WRONG:
                if not self._count_piece(connection, file, segments, settled.get(file.inode, 0)):
                    break
                pieces += 1
        files = [(file, self._segment_of(file, segments)) for file in found]
        waiting = sum(max(0, settled.get(file.inode, 0) - (one.bytes if one else 0)) for file, one in files)
        rows.report(connection, node, waiting)
        UNCOUNTED.set(waiting)
        FILES.set(len(found))
        more = pieces >= _PIECES_A_LOOK and self._wrong < MOST_WRONG
        self._end_of_files(connection, files, settled, all_read=not more and self._wrong < MOST_WRONG)
        self._name_absent(connection, files, segments)
        with connection.transaction():
            rows.set_posted(connection, node)
        if not waiting and time.monotonic() - self._hours_at >= _HOURS_SECONDS:
            self._hours_at = time.monotonic()
            self._hours.compare(connection)
        said = f"{self._wrong} legs or lines wrong" if self._wrong else "equal"
        self.health = f"journal audited ({said}), {waiting} bytes to count"
        return more

    def _segment_of(self, file: Found, segments: dict[str, Segment]) -> Segment | None:
        """What is counted of a file; None: nothing yet. Which one it is, is read once and when it shrank."""
        segment = segments.get(self._heads.get(file.inode, ""))
        if segment is not None and segment.bytes <= file.size:
            return segment
        head = read_head(self._journal, file)
        if head is None:
            return None
        self._heads[file.inode] = head
        return segments.get(head)

    def _judge_again(self, connection: psycopg.Connection[Any]) -> int:
        """Look for what was missing once more; how much of it is wrong."""
        node = self._settings.node
        findings = rows.load_findings(connection, node)
        legs = {one.subject: one for one in findings if one.kind in rows.OF_LEGS and one.hour_ms is not None}
        hours = [one.hour_ms for one in legs.values() if one.hour_ms is not None]
        there = rows.posted(connection, list(legs), min(hours), max(hours) + HOUR_MS) if legs else set()
        states = rows.judge(connection, sorted(legs.keys() - there))
        states |= rows.judge_lines(connection, [one.subject for one in findings if one.kind == rows.UNREADABLE])
        gone, changed, wrong = [], [], 0
        for one in findings:
            if one.kind in (*rows.OF_LEGS, rows.UNREADABLE):
                if one.subject not in states:
                    gone.append(one)
                    continue
                if states[one.subject] != one.state:
                    changed.append(Finding(one.kind, one.subject, states[one.subject], one.file, one.hour_ms))
                wrong += states[one.subject] == "wrong"
        rows.drop_findings(connection, node, gone)
        rows.keep_findings(connection, node, changed)
        return wrong

    def _count_piece(
        self, connection: psycopg.Connection[Any], file: Found, segments: dict[str, Segment], settled: int
    ) -> bool:
        """Count the next piece of a file; whether there was one."""
        known = self._segment_of(file, segments)
        if known is not None and known.name != file.name:
            rows.rename(connection, self._settings.node, known.file, file.name)
            segments[known.file] = replace(known, name=file.name)
        if known is not None and known.bytes == settled == file.size:
            return False
        piece = read_piece(self._journal, file, segments, settled)
        if piece is None:
            return False
        node = self._settings.node
        if piece.changed:
            log.error("the journal is not what was counted: the file is counted anew", file=file.name)
            with connection.transaction():
                rows.forget_file(connection, node, piece.file)
            del segments[piece.file]
            return True
        if not piece.lines:
            return False
        before = segments.get(piece.file) or Segment(piece.file, file.name, 0, piece.tail)
        counted = count_lines(piece.lines)
        up, lost = follow(self._up or {}, counted.signs)
        with connection.transaction():
            segments[piece.file] = self._count(connection, file.name, before, piece, counted)
            self._keep_lost(connection, piece.file, lost)
        self._up = up
        return True

    def _keep_lost(self, connection: psycopg.Connection[Any], file: str, lost: list[str]) -> None:
        """Calls that Asterisk saw answered, and that ended without an answered end."""
        found = [
            Finding(rows.NOT_IN_BOOKS, call_id, "wrong", file, hour_of(started_seconds_of(call_id) * 1000))
            for call_id in lost
        ]
        rows.keep_findings(connection, self._settings.node, found)
        for one in found[:20]:
            log.error("the journal's own lines differ", kind=one.kind, subject=one.subject)

    def _count(
        self, connection: psycopg.Connection[Any], name: str, before: Segment, piece: Piece, counted: Counted
    ) -> Segment:
        node = self._settings.node
        starts = {leg.leg_id: leg.call_started_at_ms for leg in counted.legs}
        there = rows.posted(connection, list(starts), min(starts.values()), max(starts.values())) if starts else set()
        legs: dict[str, Leg] = {}
        for leg in counted.legs:
            if leg.leg_id not in there and not (leg.leg_id in legs and legs[leg.leg_id].closed):
                legs[leg.leg_id] = leg
        states = rows.judge(connection, list(legs))
        findings = [
            Finding(
                rows.NOT_POSTED if leg.closed else rows.NOT_CLOSED, leg_id, states[leg_id], piece.file,
                hour_of(leg.call_started_at_ms),
            )
            for leg_id, leg in legs.items()
        ]  # fmt: skip
        lines = rows.judge_lines(connection, [origin_of(node, line) for line in counted.unreadable])
        findings += [Finding(rows.UNREADABLE, origin, state, piece.file) for origin, state in lines.items()]
        rows.keep_findings(connection, node, findings)
        wrong = [one for one in findings if one.state == "wrong"]
        for one in wrong[:20]:
            log.error("the journal and the ledger differ", kind=one.kind, subject=one.subject)
        self._wrong += len(wrong)
        rows.count_hours(connection, node, piece.file, counted.legs)
        segment = rows.advance(before, name, piece.offset, piece.tail, counted)
        rows.keep_segment(connection, node, segment)
        return segment

    def _end_of_files(
        self, connection: psycopg.Connection[Any], files: list[File], settled: dict[int, int], *, all_read: bool
    ) -> None:
        """Rotate what is large or old, seal what nobody writes to, delete what is posted and was kept long enough."""
        settings, node = self._settings, self._settings.node
        now = datetime.now(UTC)
        state = self._relayed()
        up = None
        if any(segment is not None and segment.posted_at is not None for _, segment in files):
            up = load_heartbeat(settings.directory, state.epoch)
        torn = []
        for file, segment in files:
            if file.name == LIVE_NAME:
                if is_to_rotate(file, segment, now, settings.rotate_bytes, settings.rotate_seconds):
                    name = rotate(self._journal, now.timestamp())
                    log.info("journal rotated", node=node, file=name, bytes=file.size)
            elif settled.get(file.inode) != file.size:
                continue
            elif segment is None or segment.bytes != file.size:
                if all_read and file.size:
                    torn.append(Finding(rows.TORN, file.name, file=segment.file if segment else ""))
            elif segment.sealed_at is None:
                if is_relayed(state, file, segment.file) and (sha256 := digest(self._journal / file.name, file.size)):
                    rows.seal(connection, node, segment.file, sha256)
                    log.info("journal sealed", node=node, file=file.name, legs=segment.legs, sha256=sha256)
            elif is_to_delete(segment, file, settings.keep_journal_seconds, up, now):
                self._delete(connection, file, segment)
        if all_read:
            rows.replace_findings(connection, node, (rows.TORN,), torn)

    def _delete(self, connection: psycopg.Connection[Any], file: Found, segment: Segment) -> None:
        path = self._journal / file.name
        if path.stat().st_ino != file.inode:
            return
        path.unlink()
        # Killed here, the next look finds a posted file gone, and takes note of it then.
        self._forget(file.inode)
        self._heads.pop(file.inode, None)
        with connection.transaction():
            rows.set_deleted(connection, self._settings.node, segment.file)
        log.info("journal deleted", node=self._settings.node, file=file.name, legs=segment.legs)

    def _name_absent(
        self, connection: psycopg.Connection[Any], files: list[File], segments: dict[str, Segment]
    ) -> None:
        """Files that were counted and are not there, at two looks one after the other."""
        node = self._settings.node
        absent = segments.keys() - {segment.file for _, segment in files if segment is not None}
        vanished = []
        for file in absent & self._absent:
            segment = segments[file]
            if segment.posted_at is None:
                vanished.append(Finding(rows.VANISHED, f"{segment.name} ({file})", file=file))
            else:
                with connection.transaction():
                    rows.set_deleted(connection, node, file)
        self._absent = set(absent)
        rows.replace_findings(connection, node, (rows.VANISHED,), vanished)

    def _connect(self) -> psycopg.Connection[Any]:
        settings = self._settings
        options = "-c statement_timeout=120000"
        return connect(settings, f"journal audit {settings.node}", settings.postgres_seconds, options)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
