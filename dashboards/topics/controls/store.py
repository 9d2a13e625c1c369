"""What controllers watch and hold, from PostgreSQL, shared by all viewers for some seconds; and the way to release."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import psycopg

from dashboards.kit.cached_read import CachedRead
from runtime.postgres_pool import Connections
from runtime.user_acts import Person, write_act
from sinks.control_actions import ControlAction, list_actions, release_action

MOST_ROWS: Final = 500
_KEEP_SECONDS: Final = 3.0
_CONTROLS: Final = """
    SELECT 'vendors', c.name, coalesce(p.name, 'each vendor') || CASE WHEN scope = 'code'
               THEN ', each code' || CASE WHEN code_prefix <> '' THEN ' of ' || code_prefix ELSE '' END ELSE '' END,
           metric || CASE WHEN metric IN ('pdd', 'fas') THEN ' above ' ELSE ' below ' END || trim_scale(threshold)
               || CASE WHEN metric IN ('acd', 'pdd') THEN ' s' ELSE ' %%' END
               || ' of ' || minimum_sample || ' or more in ' || window_seconds
               || ' s, ' || checks || ' × every ' || check_seconds || ' s',
           action, release_minutes, c.enabled
    FROM termination_controls c LEFT JOIN peers p USING (peer_id)
    UNION ALL
    SELECT 'customers', c.name, coalesce(p.name, 'each customer'),
           replace(measure, '_', ' ') || ' above ' || trim_scale(threshold)
               || CASE WHEN timetable <> '' THEN ' (' || trim_scale(timetable_threshold) || ' ' || timetable || ')'
                  ELSE '' END
               || CASE WHEN measure <> 'concurrent' THEN ' in ' || window_seconds || ' s' ELSE '' END,
           action || CASE WHEN action = 'cap' THEN ' at ' || cap_concurrent ELSE '' END, release_minutes, c.enabled
    FROM origination_controls c LEFT JOIN peers p USING (peer_id)
    ORDER BY 1 DESC, 2 LIMIT %s
"""


class ControlRow(NamedTuple):
    """A control in words: `watches` whom, acts `when`, `does` what; `release_minutes` None: by hand."""

    side: str
    name: str
    watches: str
    when: str
    does: str
    release_minutes: int | None
    enabled: bool


@dataclass(frozen=True)
class ControlState:
    """All that the page shows. `away`: why nothing is known; empty if it is."""

    in_force: Sequence[ControlAction] = ()
    released: Sequence[ControlAction] = ()
    controls: Sequence[ControlRow] = ()
    away: str = ""


class ControlStore:
    """Safe to use from every thread."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._cached = CachedRead(
            connections,
            _read,
            first=ControlState(away="the controllers' rows have not been read yet"),
            when_down=lambda _: ControlState(away="PostgreSQL does not answer: what controllers hold is not known"),
            keep_seconds=_KEEP_SECONDS,
            failed="the controllers' rows cannot be read",
        )

    def state(self) -> ControlState:
        """The state as of some seconds ago at most; `away` while PostgreSQL does not answer."""
        return self._cached.current()

    def release(self, action_id: str, person: Person, why: str) -> None:
        """End an action now. Raises ControlActionError, and psycopg.Error where the database does not answer."""
        with self._connections.lent() as connection:
            release_action(connection, action_id, person.name, why)
            write_act(connection, person, "controls", "release", action_id, why.strip())
        self._cached.expire()


def _read(connection: psycopg.Connection[Any]) -> ControlState:
    controls = [ControlRow(*row) for row in connection.execute(_CONTROLS, (MOST_ROWS,)).fetchall()]
    in_force = list_actions(connection, "in force", MOST_ROWS)
    return ControlState(in_force, list_actions(connection, "released", MOST_ROWS), controls)
