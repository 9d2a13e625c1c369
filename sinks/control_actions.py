"""What controllers have done, in PostgreSQL: written once, shown, released by time or by somebody with a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import psycopg
from psycopg.rows import class_row

MAX_REASON: Final = 500
BY_TIME: Final = "time"
State = Literal["in force", "released", "all"]
STATES: Final[tuple[State, ...]] = ("in force", "released", "all")

_TAKE: Final = """
    WITH taken AS (
        INSERT INTO control_actions
            (action_id, kind, control_id, control, peer_id, code, action, cap_concurrent, reason, since, until)
        SELECT %(action_id)s, %(kind)s, %(control_id)s, %(control)s, peer_id, %(code)s, %(action)s, %(cap_concurrent)s,
               %(reason)s, to_timestamp(%(since_ms)s::bigint / 1000.0), to_timestamp(%(until_ms)s::bigint / 1000.0)
        FROM peers WHERE peer_id = %(peer_id)s
        ON CONFLICT DO NOTHING
        RETURNING action_id
    ), told AS (
        INSERT INTO control_notifications (action_id, event) SELECT action_id, 'taken' FROM taken WHERE %(notify)s
    )
    SELECT count(*) FROM taken
"""
# One statement for both ways of release. Of a notification there is one wherever there was one of the taking.
_RELEASE: Final = """
    WITH released AS (
        UPDATE control_actions SET released_at = {at}, released_by = %(by)s, released_why = %(why)s
        WHERE released_at IS NULL AND {which}
        RETURNING action_id
    ), told AS (
        INSERT INTO control_notifications (action_id, event)
        SELECT action_id, 'released' FROM released JOIN control_notifications USING (action_id) WHERE event = 'taken'
        ON CONFLICT DO NOTHING
    )
    SELECT action_id FROM released ORDER BY action_id
"""
_ANY_OVER: Final = "SELECT EXISTS (SELECT FROM control_actions WHERE released_at IS NULL AND until <= now())"
_LIST: Final = """
    SELECT action_id, kind, control, peers.name AS peer, code, action, cap_concurrent, reason, since, until,
           released_at, released_by, released_why, coalesce(told.state, '') AS told,
           coalesce(told.last_error, '') AS error
    FROM control_actions JOIN peers USING (peer_id)
         LEFT JOIN control_notifications AS told USING (action_id)
    WHERE coalesce(told.event, 'taken') = 'taken'
      AND (%(state)s = 'all' OR (%(state)s = 'released') = (released_at IS NOT NULL))
    ORDER BY coalesce(released_at, since) DESC, action_id
    LIMIT %(limit)s
"""


class ControlActionError(ValueError):
    """An action that is not there, or not in force: says which, and why."""


class Taken(NamedTuple):
    """An action to be written. Moments in unix milliseconds; `until_ms` None: until it is released by hand."""

    action_id: str
    kind: str
    control_id: int
    control: str
    peer_id: int
    code: str
    action: str
    cap_concurrent: int | None
    reason: str
    since_ms: int
    until_ms: int | None
    notify: bool


@dataclass(frozen=True)
class ControlAction:
    """A row, as people are shown it. `told`: the state of its notification, or empty."""

    action_id: str
    kind: str
    control: str
    peer: str
    code: str
    action: str
    cap_concurrent: int | None
    reason: str
    since: datetime
    until: datetime | None
    released_at: datetime | None
    released_by: str | None
    released_why: str | None
    told: str
    error: str


def take_action(connection: psycopg.Connection[Any], taken: Taken) -> bool:
    """Write an action; False where it is there already, its scope is in force, or its peer is gone."""
    row = connection.execute(_TAKE, taken._asdict()).fetchone()
    return bool(row and row[0])


def release_by_time(connection: psycopg.Connection[Any]) -> list[str]:
    """Close the actions whose time is over (routers know by themselves); their ids. None: nothing is written."""
    row = connection.execute(_ANY_OVER).fetchone()
    if row is None or not row[0]:
        return []
    statement = _RELEASE.format(at="until", which="until <= now()")
    return [row[0] for row in connection.execute(statement.encode(), {"by": BY_TIME, "why": None})]


def release_action(connection: psycopg.Connection[Any], action_id: str, by: str, why: str) -> None:
    """End an action now. Raises ControlActionError: no such action, not in force any more, no name or no reason."""
    if not by.strip() or not why.strip():
        raise ControlActionError(f"{action_id}: a release needs a name and a reason")
    statement = _RELEASE.format(at="now()", which="action_id = %(action_id)s AND (until IS NULL OR until > now())")
    values = {"action_id": action_id, "by": by.strip()[:64], "why": why.strip()[:MAX_REASON]}
    if connection.execute(statement.encode(), values).fetchone() is None:
        row = connection.execute(
            "SELECT released_by FROM control_actions WHERE action_id = %s", (action_id,)
        ).fetchone()
        if row is None:
            raise ControlActionError(f"{action_id[:128]!r}: there is no such action")
        raise ControlActionError(f"{action_id}: is released already, by {row[0] or BY_TIME}")


def list_actions(connection: psycopg.Connection[Any], state: State, limit: int) -> Sequence[ControlAction]:
    """The actions of a state, the newest first."""
    with connection.cursor(row_factory=class_row(ControlAction)) as cursor:
        return cursor.execute(_LIST, {"state": state, "limit": limit}).fetchall()
