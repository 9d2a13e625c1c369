"""FastAGI on panoramisk, made safe and quick: every session has a deadline, a size limit, an allowed peer, and an end.

panoramisk's own server spins for ever when a client closes before the blank line, takes Asterisk's HANGUP line for an
answer, and bounds nothing. Its shape is kept (an Application with routes, a Request with commands); what is under it is
a protocol of our own, for which a session costs half of what it costs over streams.
"""

import asyncio
import ipaddress
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import structlog
from panoramisk import fast_agi

from router.server.agi_session import AgiRequest, AgiSession, Gate, Require
from router.server.agi_text import AgiError, mset_commands, parse_headers
from router.server.overload import FEW_OPEN, LoopLag
from router.settings import RouterSettings
from runtime.metrics import Bounded, counter

__all__ = ["AgiApplication", "AgiError", "AgiRequest", "AgiSession", "mset_commands", "parse_headers"]

log = structlog.get_logger(__name__)
BACKLOG: Final = 1024
_TICK_SECONDS: Final = 0.01
_SWEEP_SECONDS: Final = 0.1
_LOOKED_AT: Final = 64  # of the oldest sessions, where one has to go
_HEADER_IS_LATE_SECONDS: Final = 0.1
_SAID_A_SECOND: Final = 10  # lines of the log about sessions that ended early; the others are only counted
SESSIONS: Final = Bounded("router_sessions", "AGI sessions that are open; beyond the bound one is closed at once.")
BROKEN: Final = counter("router_sessions_broken", "Sessions that were no AGI, too slow, or from somebody not allowed.")


class AgiApplication(fast_agi.Application):  # type: ignore[misc]
    """The server: listen(), then each connection is served by the route that its script names, and always closed."""

    def __init__(self, settings: RouterSettings, loop: asyncio.AbstractEventLoop) -> None:
        """`settings` gives the bounds; routes are added with add_route(path, coroutine)."""
        super().__init__(loop=loop)
        self.settings = settings
        self.lag = LoopLag(settings.most_lag_seconds)
        self.require: Require = lambda _script, _headers: None
        self.gate: Gate = lambda _script, _headers: None
        self.idle = asyncio.Event()  # set while no session is open
        self.idle.set()
        self.shed = 0  # sessions closed because too many were open
        self.broken = 0  # sessions that were no AGI, too slow, or from somebody not allowed
        self._open: dict[AgiSession, None] = {}  # the oldest first
        self._is_allowed = lru_cache(1024)(_allowed_by(settings.peers_allowed))
        self._listener: socket.socket | None = None
        self.waiting = 0  # connections in the kernel's queue, at the last tick
        self._ticks = False
        self._ticked_at = self._swept_at = self._second = 0.0
        self._said = 0
        SESSIONS.watch(settings.max_sessions, lambda: len(self._open))

    @property
    def sessions(self) -> int:
        """How many are open."""
        return len(self._open)

    async def listen(self, host: str, port: int, *, inherited: int | None = None) -> asyncio.Server:
        """Serve at an address, or on a listening socket that this process was given."""
        if inherited is not None:
            listener = socket.socket(fileno=inherited)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        listener.setblocking(False)
        self._listener = listener
        return await self.loop.create_server(lambda: AgiSession(self), sock=listener, backlog=BACKLOG)  # type: ignore[no-any-return]

    def route_of(self, script: str) -> Callable[[AgiRequest], Any]:
        """The route of a script. Raises AgiError where there is none."""
        route = self._route.get(script)
        if route is None:
            raise AgiError(f"no script {script[:40]!r}")
        return route  # type: ignore[no-any-return]

    def admits(self, session: AgiSession, peername: Any) -> bool:
        """Whether a connection becomes a session."""
        if not peername or not self._is_allowed(peername[0]):
            self.breaks(AgiError("peer not allowed"), peername)
            return False
        now = time.monotonic()
        if len(self._open) >= self.settings.max_sessions and not self._made_room(now):
            self.shed += 1
            SESSIONS.lose()
            return False
        session.began = now
        self._open[session] = None
        self.idle.clear()
        if not self._ticks:
            self._tick_again(session.began)
        return True

    def _made_room(self, now: float) -> bool:
        """Let one of the oldest sessions go that has not sent its header: Asterisk sends it with the connection."""
        for session in islice(self._open, _LOOKED_AT):
            if not session.headed and not session.over and now - session.began > _HEADER_IS_LATE_SECONDS:
                session.fail(TimeoutError("no header yet, and too many are open"))
                session.abort()
                self._open.pop(session)
                return True
        return False

    def ends(self, session: AgiSession) -> None:
        """A session's connection is closed, and its route has ended."""
        if self._open.pop(session, session) is None and not self._open:
            self.idle.set()

    def breaks(self, error: Exception, peername: Any) -> None:
        """Count a session that ended early, and say so as long as that is not said too often."""
        self.broken += 1
        BROKEN.inc()
        now = time.monotonic()
        if now - self._second >= 1:
            self._second, self._said = now, 0
        self._said += 1
        if self._said <= _SAID_A_SECOND:
            log.info("AGI session ended early", peer=peername, error=repr(error)[:200])

    def _tick_again(self, now: float) -> None:
        self._ticks = True
        self._ticked_at = now
        self.loop.call_later(_TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        """Measure how late the loop is, and end what is past its time: one timer for all sessions, none for each."""
        now = time.monotonic()
        late_seconds = now - self._ticked_at - _TICK_SECONDS
        self.waiting = connections_waiting(self._listener)
        if self.waiting > FEW_OPEN:
            # The loop takes one connection a round, so what is too much waits in the kernel and the loop is in time.
            late_seconds = max(late_seconds, 2 * self.settings.most_lag_seconds)
        self.lag.tick(now, late_seconds)
        if now - self._swept_at >= _SWEEP_SECONDS:
            self._swept_at = now
            self._sweep(now)
        self._ticks = bool(self._open) or self.lag.refuses
        if self._ticks:
            self._tick_again(now)

    def _sweep(self, now: float) -> None:
        header_seconds, deadline_seconds = self.settings.header_seconds, self.settings.deadline_seconds
        for session in list(self._open):
            age = now - session.began
            if age <= min(header_seconds, deadline_seconds):
                break
            if session.over and age > deadline_seconds:
                session.abort()
            elif age > deadline_seconds or not session.headed:
                session.fail(TimeoutError(f"not over after {age:.1f} s"))


def connections_waiting(listener: socket.socket | None) -> int:
    """How many connections the kernel keeps for this listening socket; 0 where it does not say. (Linux.)"""
    if listener is None or listener.fileno() < 0 or not hasattr(socket, "TCP_INFO"):
        return 0
    # Of a listening socket tcpi_unacked, the fifth number, is the length of its queue.
    (waiting,) = struct.unpack_from("=I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24)
    return int(waiting)


def _allowed_by(networks: Sequence[str]) -> Callable[[str], bool]:
    allowed = [ipaddress.ip_network(network) for network in networks]

    def is_allowed(host: str) -> bool:
        address = ipaddress.ip_address(host)
        return any(address in network for network in allowed)

    return is_allowed
