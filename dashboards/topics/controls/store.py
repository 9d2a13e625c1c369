"""What controllers watch and hold, from PostgreSQL, shared by all viewers for some seconds; and the way to release."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import psycopg
import structlog

from runtime.postgres_pool import Connections
from runtime.user_acts import Person, write_act
from sinks.control_actions import ControlAction, list_actions, release_action

_log = structlog.get_logger(__name__)
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
        self._guard = threading.Lock()
        self._state = ControlState(away="the controllers' rows have not been read yet")
        self._read_at = float("-inf")

    def state(self) -> ControlState:
        """The state as of some seconds ago at most; `away` while PostgreSQL does not answer."""
        with self._guard:
            if time.monotonic() - self._read_at > _KEEP_SECONDS:
                try:
                    self._state = self._read()
                except psycopg.Error as error:
                    _log.warning("the controllers' rows cannot be read", error=str(error)[:200])
                    self._state = ControlState(away="PostgreSQL does not answer: what controllers hold is not known")
                self._read_at = time.monotonic()
            return self._state

    def release(self, action_id: str, person: Person, why: str) -> None:
        """End an action now. Raises ControlActionError, and psycopg.Error where the database does not answer."""
        with self._connections.lent() as connection:
            release_action(connection, action_id, person.name, why)
            write_act(connection, person, "controls", "release", action_id, why.strip())
        with self._guard:
            self._read_at = float("-inf")

    def _read(self) -> ControlState:
        with self._connections.lent(read_only=True) as connection:
            controls = [ControlRow(*row) for row in connection.execute(_CONTROLS, (MOST_ROWS,)).fetchall()]
            in_force = list_actions(connection, "in force", MOST_ROWS)
            return ControlState(in_force, list_actions(connection, "released", MOST_ROWS), controls)
