"""Keeps the node's shares of the vendors' limits: what Asterisk uses to PostgreSQL, new shares from there to Asterisk.

One round a second, in this order, on which it rests that nodes together never have more than a limit:

    1. ask Asterisk what it was told and how many places are taken
    2. report that to PostgreSQL, and get the shares: what is lowered still counts as held
    3. tell Asterisk the shares, then until when they hold: `lease_seconds` from before the report

A share that was lowered in 3 is reported so in the next round's 2, after the places were counted. An agent, a
PostgreSQL or a network that is away lets the shares lapse: then no more legs to limited vendors begin on this node, and
when it has been silent for `silent_seconds` others get what it had. That is longer, so that it has lapsed before.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg
import structlog

from agent.ami.client import AmiError, AmiSession
from agent.limits.shares import (
    UNTIL,
    Share,
    Told,
    Usage,
    changes,
    is_lowered,
    reading_names,
    reading_of,
    reports_as_rows,
    told_names,
)
from agent.postgres import connect
from agent.settings import AgentSettings
from runtime.metrics import Bounded, counter, gauge

log = structlog.get_logger(__name__)
MAX_LIMITS: Final = 5_000
_AT_ONCE: Final = 50  # questions to Asterisk
LEASED: Final = Bounded("agent_limits_leased", "Vendors' limits that the node has shares of.")
USED: Final = gauge("agent_limit_used", "Calls of this node that a vendor's limit counts.", ["limit_key"])
SHARE: Final = gauge("agent_limit_share", "What this node may use of a limit.", ["limit_key", "kind"])
ROUNDS: Final = counter("agent_limit_rounds", "Rounds in which the shares were renewed.")
_LEASE: Final = (
    "SELECT limit_key, concurrent_share, cps_share FROM lease_limits(%s, %s, %s::jsonb, make_interval(secs => %s))"
)
_KEYS: Final = "SELECT limit_key FROM limits WHERE role = 'terminator' ORDER BY limit_key LIMIT %s"
_SILENT: Final = "SELECT uncount_silent(make_interval(secs => %s))"


class Limits:
    """`run` does it, until it is cancelled."""

    def __init__(self, settings: AgentSettings, agent_id: str, now_s: Callable[[], float] = time.time) -> None:
        """`now_s`: the clock that Asterisk has."""
        self._now_s = now_s
        self._settings = settings
        self._agent_id = agent_id
        self._connection: psycopg.Connection[Any] | None = None
        self._told: dict[str, Told] = {}  # what Asterisk's variables are
        self._lowered: frozenset[str] = frozenset()
        self._usage = Usage()
        LEASED.watch(MAX_LIMITS, lambda: len(self._told))
        self.health = ""

    async def run(self) -> None:
        """Rounds, whatever is away; each failure is said once."""
        settings = self._settings
        try:
            while True:
                try:
                    await self._session()
                except (AmiError, psycopg.Error, ValueError) as error:
                    if self.health != (said := f"limits lapse: {error!r}"[:200]):
                        log.warning("shares of limits are not renewed", error=repr(error)[:300])
                    self.health = said
                await asyncio.sleep(settings.limits_seconds)
        finally:
            self._disconnect()

    async def _session(self) -> None:
        settings = self._settings
        session = await AmiSession.open(
            settings.ami_host,
            settings.ami_port,
            settings.ami_user,
            settings.ami_secret.get_secret_value(),
            lambda _headers: None,
            settings.limits_answer_seconds,
            events=False,
            run_by=settings.ami_run_by,
        )
        try:
            await self.take_over(session)
            until = ""
            while True:
                until = await self.round(session, until)
                self.health = ""
                # A whole second: what was lowered of calls per second is reported in another second.
                await asyncio.sleep(settings.limits_seconds)
        finally:
            session.close()

    async def take_over(self, session: AmiSession) -> None:
        """What an agent before this one has told Asterisk counts from the first report on. Raises as `round`."""
        keys = await asyncio.to_thread(self._all_keys)
        told = await _read(session, [name for key in keys for name in told_names(key)])
        self._told = dict(zip(keys, map(Told, told[::2], told[1::2]), strict=True))
        self._lowered = frozenset(keys)

    async def round(self, session: AmiSession, until: str) -> str:
        """One round; `until` as the last one has set it (empty: the first). Raises AmiError, psycopg.Error."""
        settings, usage = self._settings, self._usage
        if until and (found := (await _read(session, [UNTIL]))[0]) != until:
            raise AmiError(f"Asterisk's variables are not what they were told: {UNTIL} is {found!r}")
        sent_at = self._now_s()
        due = usage.due(self._told, self._lowered)
        values = await _read(session, [name for key in due for name in reading_names(key)])
        for number, key in enumerate(due):
            reading = reading_of(values[3 * number : 3 * number + 3])
            usage.read(key, reading, self._told[key], time.monotonic())
        reports = json.dumps(reports_as_rows(usage.reports(self._told)))
        shares = await asyncio.to_thread(self._lease, reports)
        if len(shares) > MAX_LIMITS:
            LEASED.lose(len(shares) - MAX_LIMITS)
            log.error("more limits than a node keeps: the others have no room here", count=len(shares))
            shares = dict(sorted(shares.items())[:MAX_LIMITS])
        changed = changes(shares, self._told)
        lowered = frozenset(key for key, now in changed.items() if is_lowered(self._told.get(key, Told()), now))
        self._lowered |= lowered  # until a round has read them
        await _write(session, [pair for key, now in changed.items() for pair in zip(told_names(key), now, strict=True)])
        self._told = {key: changed.get(key, self._told.get(key, Told())) for key in shares}
        self._lowered = lowered
        usage.forget(usage.used.keys() - shares.keys())
        until = str(int(sent_at + settings.limits_lease_seconds))
        await _write(session, [(UNTIL, until)])
        self._show(shares)
        ROUNDS.inc()
        return until

    def _all_keys(self) -> tuple[str, ...]:
        return tuple(row[0] for row in self._ask(_KEYS, (MAX_LIMITS,)))

    def _lease(self, reports: str) -> dict[str, Share]:
        settings = self._settings
        self._ask(_SILENT, (settings.limits_silent_seconds,))
        rows = self._ask(_LEASE, (settings.node, self._agent_id, reports, settings.limits_silent_seconds))
        return {key: Share(concurrent, cps) for key, concurrent, cps in rows}

    def _ask(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection.execute(statement, values).fetchall()
        except psycopg.Error:
            self._disconnect()
            raise

    def _connect(self) -> psycopg.Connection[Any]:
        settings, seconds = self._settings, self._settings.limits_answer_seconds
        options = f"-c statement_timeout={int(seconds * 1000)} -c synchronous_commit=off"
        return connect(settings, f"node-agent {settings.node} limits", seconds, options)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def _show(self, shares: dict[str, Share]) -> None:
        used = self._usage.used
        USED.clear()
        SHARE.clear()
        for key, share in shares.items():
            USED.labels(key).set(used.get(key, 0))
            for kind, value in zip(("concurrent", "cps"), share, strict=True):
                if value is not None:
                    SHARE.labels(key, kind).set(value)


async def _read(session: AmiSession, names: Sequence[str]) -> list[str]:
    """Variables' values: many questions at once, of which each is answered in order. Raises AmiError."""
    values: list[str] = []
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        answers = await asyncio.gather(*(session.ask({"Action": "Getvar", "Variable": name}) for name in some))
        for name, answer in zip(some, answers, strict=True):
            if not answer[0].success:
                raise AmiError(f"AMI refuses Getvar {name}: {answer[0].get('message', '')}")
            values.append(str(answer[0].get("value", "") or ""))
    return values


async def _write(session: AmiSession, pairs: Sequence[tuple[str, str]]) -> None:
    """Set variables. Raises AmiError."""
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        asked = ({"Action": "Setvar", "Variable": name, "Value": value} for name, value in some)
        for (name, _), answer in zip(some, await asyncio.gather(*map(session.ask, asked)), strict=True):
            if not answer[0].success:
                raise AmiError(f"AMI refuses Setvar {name}: {answer[0].get('message', '')}")
