"""The table of dead letters: kept once each, under limits that all workers share, with what people decided about them.

A letter that belongs to a peer counts for that peer's limit alone: beyond it letters wait in the topic of dead letters,
nobody stops, and routers refuse the peer's new calls. One that belongs to nobody counts for the limit at which workers
stop, because nobody can be refused for it. (docs/decisions/0015-each-peer-has-its-own-limit-of-dead-letters.md)
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import psycopg
from psycopg.rows import class_row

from runtime.locks import DEAD_LETTERS
from schemas.events import DeadLetter
from schemas.ids import CALL_ID_PATTERN
from sinks.dead_letters.messages import raw_of
from sinks.dead_letters.peers import NOBODY, peer_of

# In a journal line and in an event's JSON.
_CALL: Final = re.compile(rb"""(?:\|call=|"call_id":\s*")(%s)["|]""" % CALL_ID_PATTERN.pattern.encode())
State = Literal["open", "replayed", "discarded"]
STATES: Final[tuple[State, ...]] = ("open", "replayed", "discarded")

# In the order of origins, so that two writers of the same letters never wait for each other in a circle.
_KEEP: Final = """
    INSERT INTO dead_letters (origin, source, reason, raw, leg_id, at, peer_id, replay_of, replays)
    SELECT letters.origin, letters.source, letters.reason, letters.raw, letters.leg_id, letters.at, letters.peer_id,
           coalesce(earlier.origin, ''), coalesce(earlier.replays, 0)
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::timestamptz[], %s::int[])
        AS letters (origin, source, reason, raw, leg_id, at, peer_id)
    LEFT JOIN LATERAL (
        SELECT sent.origin, sent.replays FROM dead_letters AS sent
        WHERE sent.replays > 0 AND md5(sent.raw) = md5(letters.raw) AND sent.raw = letters.raw
          AND sent.source = letters.source AND sent.origin <> letters.origin
        ORDER BY sent.replays DESC, sent.at DESC LIMIT 1
    ) AS earlier ON true
    ORDER BY letters.origin
    ON CONFLICT (origin) DO NOTHING
    RETURNING origin
"""
_COLUMNS: Final = (
    "SELECT origin, source, reason, raw, leg_id, at, peer_id, state, replays, replay_of, decided_by, decided_why,"
    " decided_at FROM dead_letters"
)
_KNOWN: Final = "SELECT origin FROM dead_letters WHERE origin = ANY (%s::text[])"
_OPEN_OF: Final = """
    SELECT peer_id, count(*) FROM dead_letters WHERE state = 'open' AND peer_id = ANY (%s::int[]) GROUP BY peer_id
"""
_STOP: Final = "INSERT INTO letter_stops (peer_id) SELECT unnest(%s::int[]) ON CONFLICT DO NOTHING"
# What is given back is decided by what is open now, not by what anybody remembers.
_RENEW_STOPS: Final = """
    WITH full_peers AS (
        SELECT peer_id FROM dead_letters WHERE state = 'open' AND peer_id > 0 GROUP BY peer_id HAVING count(*) >= %s
        UNION SELECT peer_id FROM waiting_letters
    ), over AS (
        DELETE FROM letter_stops WHERE peer_id NOT IN (SELECT peer_id FROM full_peers)
    )
    INSERT INTO letter_stops (peer_id) SELECT peer_id FROM full_peers ON CONFLICT DO NOTHING
"""


class TooManyDeadLettersError(RuntimeError):
    """So many dead letters are open that nothing more may be refused: the worker stops, and drops nothing."""


class LetterError(Exception):
    """What was asked of a dead letter cannot be done. The text is for the user."""


@dataclass(frozen=True)
class KeptLetter:
    """A row of the table. `replays`: how often its bytes were sent again; `replay_of`: the letter it was before."""

    origin: str
    source: str
    reason: str
    raw: bytes
    leg_id: str
    at: datetime
    peer_id: int
    state: State
    replays: int
    replay_of: str
    decided_by: str
    decided_why: str
    decided_at: datetime | None


def source_of(origin: str) -> str:
    """The topic that a letter's bytes were read from, or `journal`."""
    return "journal" if origin.startswith("journal:") else origin.split("/", 1)[0]


async def keep_letters(connection: psycopg.AsyncConnection[Any], letters: Sequence[DeadLetter]) -> list[str]:
    """Insert those that are not there yet; their origins. Raises psycopg.Error."""
    rows = [_row(letter) for letter in letters]
    cursor = await connection.execute(_KEEP, [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * 7)
    return [origin for (origin,) in await cursor.fetchall()]


class Limits(NamedTuple):
    """Of open letters: those that belong to nobody, all together, and those of each peer."""

    of_nobody: int
    of_peer: int


class Kept(NamedTuple):
    """What became of letters: origins that are new in the table, and letters for which their peers have no room."""

    new: list[str]
    waiting: list[DeadLetter]


async def keep_letters_within(
    connection: psycopg.AsyncConnection[Any], letters: Sequence[DeadLetter], limits: Limits, *, stop: bool = True
) -> Kept:
    """The same under the limits on open letters, which all workers share and a restart does not reset.

    Must be in a transaction, which holds the limits' lock to its end. Raises TooManyDeadLettersError, where it is to
    `stop`, for letters of nobody: roll back then. Peers that have come to their limit are stopped.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (DEAD_LETTERS,))
    owners = {letter.origin: peer_of(letter) for letter in letters}
    with_room: list[DeadLetter] = list(letters)
    waiting: list[DeadLetter] = []
    if peers := sorted(set(owners.values()) - {NOBODY}):
        known = await connection.execute(_KNOWN, ([_storable(origin) for origin in owners],))
        kept = {origin for (origin,) in await known.fetchall()}
        counts = dict(await (await connection.execute(_OPEN_OF, (peers,))).fetchall())
        with_room, waiting = share_out(letters, owners, kept, counts, limits.of_peer)
    new = await keep_letters(connection, with_room)
    if stop and any(not owners.get(origin, NOBODY) for origin in new):
        of_nobody = [letter for letter in letters if letter.origin in new and not owners[letter.origin]]
        if (count := await count_open(connection)) > limits.of_nobody:
            raise TooManyDeadLettersError(
                f"{len(of_nobody)} dead letters more with {count - len(of_nobody)} open, {limits.of_nobody} allowed:"
                f" the first is {of_nobody[0].origin}: {of_nobody[0].reason}"
            )
    if peers:
        counts = dict(await (await connection.execute(_OPEN_OF, (peers,))).fetchall())
        if full := [peer_id for peer_id in peers if counts.get(peer_id, 0) >= limits.of_peer]:
            await connection.execute(_STOP, (full,))
    return Kept(new, waiting)


def share_out(
    letters: Sequence[DeadLetter],
    owners: Mapping[str, int],
    kept: Collection[str],
    open_of: Mapping[int, int],
    limit: int,
) -> tuple[list[DeadLetter], list[DeadLetter]]:
    """(letters that have room or need none, letters that must wait), in their order. Pure."""
    counts = dict(open_of)
    seen = set(kept)
    with_room: list[DeadLetter] = []
    waiting: list[DeadLetter] = []
    for letter in letters:
        peer_id = owners[letter.origin]
        if peer_id == NOBODY or letter.origin in seen:
            with_room.append(letter)
        elif counts.get(peer_id, 0) < limit:
            counts[peer_id] = counts.get(peer_id, 0) + 1
            seen.add(letter.origin)
            with_room.append(letter)
        else:
            waiting.append(letter)
    return with_room, waiting


async def renew_stops(connection: psycopg.AsyncConnection[Any], of_peer: int) -> None:
    """Stop the peers that have so many open letters, or letters that wait, and no others. Raises psycopg.Error."""
    await connection.execute(_RENEW_STOPS, (of_peer,))


async def count_open(connection: psycopg.AsyncConnection[Any]) -> int:
    """How many letters that belong to no peer nobody has decided about."""
    row = await (
        await connection.execute("SELECT count(*) FROM dead_letters WHERE state = 'open' AND peer_id = 0")
    ).fetchone()
    return row[0] if row else 0


def list_letters(connection: psycopg.Connection[Any], state: State | None, limit: int) -> list[KeptLetter]:
    """The newest first, of one state or of all."""
    with connection.cursor(row_factory=class_row(KeptLetter)) as cursor:
        where = " WHERE %s::text IS NULL OR state = %s ORDER BY at DESC, origin LIMIT %s"
        return cursor.execute(_COLUMNS + where, (state, state, limit)).fetchall()


def open_origins(connection: psycopg.Connection[Any], most_replays: int) -> list[str]:
    """The open letters, oldest first, that have been replayed less than `most_replays` times."""
    rows = connection.execute(
        "SELECT origin FROM dead_letters WHERE state = 'open' AND replays < %s ORDER BY at, origin", (most_replays,)
    )
    return [origin for (origin,) in rows.fetchall()]


def find_letter(connection: psycopg.Connection[Any], origin: str, *, lock: bool = False) -> KeptLetter:
    """One letter; `lock` keeps everybody else from deciding about it till the transaction ends. Raises LetterError."""
    with connection.cursor(row_factory=class_row(KeptLetter)) as cursor:
        ending = " WHERE origin = %s" + (" FOR UPDATE" if lock else "")
        letter = cursor.execute(_COLUMNS + ending, (origin,)).fetchone()
    if letter is None:
        raise LetterError(f"{origin}: there is no such dead letter")
    return letter


def count_replay(connection: psycopg.Connection[Any], origin: str) -> None:
    """Before it is sent: what comes back then finds that it was sent. The letter stays as it is until `decide`."""
    connection.execute("UPDATE dead_letters SET replays = replays + 1 WHERE origin = %s", (origin,))


def decide(connection: psycopg.Connection[Any], letter: KeptLetter, state: State, by: str, why: str) -> None:
    """Record a decision about a letter that was found with its lock. An earlier one stays in the words of the new."""
    if letter.decided_at is not None:
        why += f" (before: {letter.state} by {letter.decided_by} at {letter.decided_at:%Y-%m-%dT%H:%M:%SZ}"
        why += f": {letter.decided_why})"
    connection.execute(
        "UPDATE dead_letters SET state = %s, decided_by = %s, decided_why = %s, decided_at = now() WHERE origin = %s",
        (state, by, why, letter.origin),
    )


def call_of(letter: KeptLetter) -> str:
    """The call that a letter is about; empty where it names none, or is a whole message of many."""
    if letter.leg_id:
        return letter.leg_id.partition("/")[0]
    if letter.origin.endswith("/frame"):
        return ""
    named = _CALL.search(letter.raw)
    return named[1].decode() if named else ""


def release_hold_of(connection: psycopg.Connection[Any], letter: KeptLetter) -> str:
    """Give back the hold of a discarded letter's call, unless another open letter is about the call: it may still post.

    The call whose hold it was; empty: none. A call that is up gets a new hold from its node's agent. In a transaction
    after the decision's, so that of two people who discard the last two letters at once one finds none open.
    """
    call_id = call_of(letter)
    if not call_id:
        return ""
    others = connection.execute(
        "SELECT raw FROM dead_letters WHERE state = 'open' AND position(%s::bytea IN raw) > 0", (call_id.encode(),)
    ).fetchall()
    whole = re.compile(re.escape(call_id.encode()) + rb"(?![0-9.])")
    if any(whole.search(raw) for (raw,) in others):
        return ""
    row = connection.execute("SELECT release_holds(%s::text[])", ([call_id],)).fetchone()
    return call_id if row and row[0] else ""


def _row(letter: DeadLetter) -> tuple[str, str, str, bytes, str, datetime, int]:
    raw = raw_of(letter)
    origin = _storable(letter.origin)
    at = datetime.fromtimestamp(letter.at_ms / 1000, UTC)
    return origin, source_of(origin), _storable(letter.reason), raw, _storable(letter.leg_id), at, peer_of(letter)


def _storable(text: str) -> str:
    """PostgreSQL's text holds no NUL and no half of a surrogate pair; a hostile message may."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
