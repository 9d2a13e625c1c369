"""The product's SQL statements of dead letters, each carried out on the model of the tables."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from runtime import user_acts
from sinks.dead_letters import store as letter_store
from sinks.dead_letters import waiting as waiting_letters
from sinks.dead_letters.store import KeptLetter
from tests.simulation.tables import Tables

Rows = list[Any]
Handler = Callable[[Tables, Any, int], Rows]


def sql(text: str) -> str:
    """A statement, its spaces evened out."""
    return " ".join(text.split())


def nothing(_: Tables, __: Any, ___: int) -> Rows:
    """A statement that changes nothing here."""
    return [()]


def _keep(tables: Tables, columns: Any, _: int) -> Rows:
    kept = []
    for origin, source, reason, raw, leg_id, at, peer_id in sorted(zip(*columns, strict=True)):
        if origin in tables.letters:
            continue
        earlier = [
            one
            for one in tables.letters.values()
            if one.replays > 0 and one.raw == raw and one.source == source and one.origin != origin
        ]
        last = max(earlier, key=lambda one: (one.replays, one.at), default=None)
        replays, replay_of = (last.replays, last.origin) if last is not None else (0, "")
        tables.letters[origin] = KeptLetter(
            origin, source, reason, bytes(raw), leg_id, at, peer_id, "open", replays, replay_of, "", "", None
        )
        kept.append((origin,))
    return kept


def _count_open(tables: Tables, _: Any, __: int) -> Rows:
    return [(sum(letter.state == "open" and not letter.peer_id for letter in tables.letters.values()),)]


def _open_of(tables: Tables, given: Any, _: int) -> Rows:
    letters = [one.peer_id for one in tables.letters.values() if one.state == "open" and one.peer_id in given[0]]
    return sorted(Counter(letters).items())


def _renew_stops(tables: Tables, given: Any, _: int) -> Rows:
    counts = Counter(one.peer_id for one in tables.letters.values() if one.state == "open" and one.peer_id)
    full = {peer_id for peer_id, count in counts.items() if count >= given[0]}
    tables.stopped = dict.fromkeys(sorted(full | {peer_id for peer_id, _ in tables.waiting}))
    return [()]


def _note_waiting(tables: Tables, columns: Any, _: int) -> Rows:
    for peer_id, partition, first, end in zip(*columns, strict=True):
        known_first, known_end = tables.waiting.get((peer_id, partition), (first, end))
        tables.waiting[peer_id, partition] = min(first, known_first), max(end, known_end)
        tables.ever_waited += 1
    return [()]


def _next_waiting(tables: Tables, given: Any, _: int) -> Rows:
    counts = Counter(one.peer_id for one in tables.letters.values() if one.state == "open")
    rows = [(*key, *offsets) for key, offsets in tables.waiting.items() if counts[key[0]] < given[0]]
    return rows[:1]


def _taken(tables: Tables, given: Any, _: int) -> Rows:
    key, offset = (given["peer"], given["partition"]), given["offset"]
    first, end = tables.waiting.get(key, (-1, -1))
    if first == given["from"] and end > offset:
        tables.waiting[key] = offset, end
    return [()]


def _all_taken(tables: Tables, given: Any, _: int) -> Rows:
    key = given["peer"], given["partition"]
    first, end = tables.waiting.get(key, (-1, -1))
    if first == given["from"] and end <= given["offset"]:
        del tables.waiting[key]
    return [()]


def _stop(tables: Tables, given: Any, _: int) -> Rows:
    tables.stopped.update(dict.fromkeys(given[0]))
    return [()]


def _find(tables: Tables, given: Any, _: int) -> Rows:
    return [tables.letters[given[0]]] if given[0] in tables.letters else []


def _open_origins(tables: Tables, given: Any, _: int) -> Rows:
    letters = [one for one in tables.letters.values() if one.state == "open" and one.replays < given[0]]
    return [(one.origin,) for one in sorted(letters, key=lambda one: (one.at, one.origin))]


def _count_replay(tables: Tables, given: Any, _: int) -> Rows:
    letter = tables.letters[given[0]]
    tables.letters[given[0]] = replace(letter, replays=letter.replays + 1)
    return [()]


def _decide(tables: Tables, given: Any, now_ms: int) -> Rows:
    state, by, why, origin = given
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    tables.letters[origin] = replace(tables.letters[origin], state=state, decided_by=by, decided_why=why, decided_at=at)
    return [()]


LETTERS: Final[Mapping[str, Handler]] = {
    sql(user_acts._WRITE): nothing,
    sql(letter_store._KEEP): _keep,
    sql(letter_store._KNOWN): lambda tables, given, _: [(one,) for one in given[0] if one in tables.letters],
    sql(letter_store._OPEN_OF): _open_of,
    sql(letter_store._STOP): _stop,
    sql(letter_store._RENEW_STOPS): _renew_stops,
    sql(waiting_letters._NOTE): _note_waiting,
    sql(waiting_letters._NEXT): _next_waiting,
    sql(waiting_letters._TAKEN): _taken,
    sql(waiting_letters._DONE): _all_taken,
    "SELECT pg_advisory_xact_lock(": nothing,
    "SELECT count(*) FROM dead_letters WHERE state = 'open' AND peer_id = 0": _count_open,
    sql(letter_store._COLUMNS + " WHERE origin = %s"): _find,
    "SELECT origin FROM dead_letters WHERE state = 'open' AND replays <": _open_origins,
    "UPDATE dead_letters SET replays = replays + 1 WHERE origin = %s": _count_replay,
    "UPDATE dead_letters SET state = %s, decided_by = %s": _decide,
}
