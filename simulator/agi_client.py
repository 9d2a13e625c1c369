"""FastAGI as Asterisk speaks it to the router: connect, the header, then answers to the router's commands.

One session is one connection. Asterisk itself reports success for any session that was begun and closed by the other
side; whether the router has decided shows only in the variables, of which ROUTES comes last.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from schemas import agi
from schemas.agi_digest import NodeKey, script_with_digest
from simulator import agi_commands
from simulator.lines import Call
from simulator.wire_texts import encoded

MAX_SESSION_BYTES: Final = 262_144
MAX_LINE_BYTES: Final = 8_192  # Asterisk's own buffer of a command line is shorter
MAX_COMMANDS: Final = 200

Variables = dict[str, str]
Done = Callable[[Variables | None], None]


def make_header(call: Call, channel: str, unique_id: str, host: str, port: int, key: NodeKey) -> bytes:
    """The header of a session for this call, with the digest of the node's key and the six arguments of schemas/agi.py.

    The caller's texts stand in the arguments alone, encoded: the dialplan has taken them out of the other headers.
    """
    started_at = f"{call.started_at_ms // 1000}.{call.started_at_ms % 1000:03d}"
    arguments = (call.call_id, call.endpoint, call.remote_address, call.callee, call.caller, started_at)
    script = script_with_digest(key, agi.AGI_SCRIPT, call.call_id, started_at)
    fields = [
        ("network", "yes"),
        ("network_script", script),
        ("request", f"agi://{host}:{port}/{script}"),
        ("channel", channel),
        ("language", "en"),
        ("type", "PJSIP"),
        ("uniqueid", unique_id),
        ("version", "22.10.1"),
        ("callerid", "unknown"),
        ("calleridname", "unknown"),
        ("callingpres", "0"),
        ("callingani2", "0"),
        ("callington", "0"),
        ("callingtns", "0"),
        ("dnid", "unknown"),
        ("rdnis", "unknown"),
        ("context", "call"),
        ("extension", "s"),
        ("priority", "1"),
        ("enhanced", "0.0"),
        ("accountcode", ""),
        ("threadid", "139990000000000"),
        *((f"arg_{number}", encoded(text)) for number, text in enumerate(arguments, 1)),
    ]
    return ("".join(f"agi_{name}: {value}\n" for name, value in fields) + "\n").encode()


class AgiSession(asyncio.Protocol):
    """One session; `done` is called exactly once: with the variables that were set, or None where none could begin."""

    def __init__(self, header: bytes, done: Done) -> None:
        self._header = header
        self._done: Done | None = done
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._bytes = 0
        self._commands = 0
        self._variables: Variables = {}
        self.timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The header goes out at once."""
        self._transport = cast(asyncio.Transport, transport)
        if self._done is None:  # its time had run out while it connected
            self._transport.abort()
            return
        self._transport.write(self._header)

    def data_received(self, data: bytes) -> None:
        """Whole command lines are answered in order; whoever sends without end is cut off."""
        self._buffer += data
        self._bytes += len(data)
        while (end := self._buffer.find(b"\n")) >= 0:
            line = self._buffer[:end].decode("utf-8", "replace").rstrip("\r")
            del self._buffer[: end + 1]
            self._answer(line)
        if self._bytes > MAX_SESSION_BYTES or len(self._buffer) > MAX_LINE_BYTES or self._commands > MAX_COMMANDS:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The router has closed: that is how a session ends."""
        self.finish(self._variables)

    def abort(self) -> None:
        """The session has taken too long or too much: what it set does not count."""
        if self._transport is not None:
            self._transport.abort()
        self.finish(None)

    def finish(self, variables: Variables | None) -> None:
        """Report the outcome, once."""
        if self.timeout is not None:
            self.timeout.cancel()
        done, self._done = self._done, None
        if done is not None:
            done(variables)

    def _answer(self, line: str) -> None:
        self._commands += 1
        reply = agi_commands.answer_command(line)
        self._variables.update(reply.variables)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(reply.line.encode() + b"\n")


class RouterClient:
    """Asks the router, with so many sessions at once; further questions wait in line. Bounded by the calls in progress.

    `answered` gets the ticket of the question and the variables (None: no router).
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        most_sessions: int,
        seconds: float,
        answered: Callable[[object, Variables | None], None],
    ) -> None:
        self._host = host
        self._port = port
        self._most_sessions = most_sessions
        self._seconds = seconds
        self._answered = answered
        self._waiting: deque[tuple[object, bytes]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.sessions = 0

    @property
    def is_full(self) -> bool:
        """Whether a further question would have to wait."""
        return self.sessions >= self._most_sessions

    def ask(self, ticket: object, header: bytes) -> None:
        """Begin a session, or queue it."""
        if self.is_full:
            self._waiting.append((ticket, header))
            return
        self.sessions += 1
        task = asyncio.get_running_loop().create_task(self._connect(ticket, header))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, ticket: object, header: bytes) -> None:
        loop = asyncio.get_running_loop()
        session = AgiSession(header, lambda variables: self._finish(ticket, variables))
        session.timeout = loop.call_later(self._seconds, session.abort)
        try:
            await loop.create_connection(lambda: session, self._host, self._port)
        except OSError:
            session.finish(None)  # nobody listens: that is what AGISTATUS=FAILURE means

    def _finish(self, ticket: object, variables: Variables | None) -> None:
        self.sessions -= 1
        self._answered(ticket, variables)
        if self._waiting and not self.is_full:
            self.ask(*self._waiting.popleft())
