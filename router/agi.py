"""FastAGI on panoramisk, made safe: every session has a deadline, a size limit, an allowed peer, and an end.

panoramisk's own server spins for ever when a client closes before the blank line, takes Asterisk's HANGUP line for an
answer, and bounds nothing. This subclass keeps its shape (an Application with routes) and replaces the handling.
"""

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from panoramisk import fast_agi

from router.settings import RouterSettings
from schemas.agi import MAX_COMMAND_CHARACTERS, MAX_PAIRS
from sinks.metrics import Bounded, counter

log = structlog.get_logger(__name__)
_MAX_ANSWER_LINES: Final = 64


class AgiError(ConnectionError):
    """The session cannot go on: closed by Asterisk, or what it sent is not AGI."""


class AgiRequest(fast_agi.Request):  # type: ignore[misc]
    """One session. `arguments` are agi_arg_1…; commands raise AgiError when the session is gone."""

    headers: Mapping[str, str]

    @property
    def arguments(self) -> list[str]:
        """The script's arguments, in order."""
        found: list[str] = []
        while (value := self.headers.get(f"agi_arg_{len(found) + 1}")) is not None:
            found.append(value)
        return found

    async def command(self, text: str) -> None:
        """Send one command and read its answer. Raises AgiError unless it is a 200 without an error."""
        if "\n" in text or "\r" in text:
            raise AgiError("a line end in an AGI command")
        self.writer.write(text.encode() + b"\n")
        await self.writer.drain()
        for _ in range(_MAX_ANSWER_LINES):
            line = await self.reader.readline()
            if not line.endswith(b"\n"):
                raise AgiError("closed before the answer")
            # HANGUP comes out of band and answers nothing; 100 says that the answer is on its way.
            if line.startswith((b"HANGUP", b"100 ")):
                continue
            if not line.startswith(b"200 result=") or line.startswith(b"200 result=-1"):
                raise AgiError(f"answer {line[:80]!r}")
            return
        raise AgiError("no answer among too many lines")

    async def set_variables(self, variables: Sequence[tuple[str, str]]) -> None:
        """Set channel variables in the order given, in as few commands as Asterisk's limits allow."""
        for text in mset_commands(variables):
            await self.command(text)


def mset_commands(variables: Sequence[tuple[str, str]]) -> list[str]:
    """EXEC MSet lines for these variables. Values may hold anything but line ends, which raise AgiError.

    Two levels of quoting: MSet's own (a backslash before `,`, `"` and itself) inside AGI's quoted argument.
    """
    commands: list[str] = []
    pairs: list[str] = []
    size = 0
    for name, value in variables:
        if "\n" in value or "\r" in value or "\0" in value:
            raise AgiError(f"variable {name}: a line end in its value")
        pair = f"{name}={_escape(value)}"
        if pairs and (size + len(pair) > MAX_COMMAND_CHARACTERS or len(pairs) >= MAX_PAIRS):
            commands.append(_mset(pairs))
            pairs, size = [], 0
        pairs.append(pair)
        size += len(pair) + 1
    if pairs:
        commands.append(_mset(pairs))
    return commands


def _escape(value: str) -> str:
    value = value.replace("\\", "\\\\\\\\").replace('"', '\\\\\\"')
    return value.replace(",", "\\\\,")


def _mset(pairs: list[str]) -> str:
    return 'EXEC MSet "' + ",".join(pairs) + '"'


SESSIONS: Final = Bounded("router_sessions", "AGI sessions that are open; beyond the bound one is closed at once.")
BROKEN: Final = counter("router_sessions_broken", "Sessions that were no AGI, too slow, or from somebody not allowed.")


class AgiApplication(fast_agi.Application):  # type: ignore[misc]
    """The server: `handler` serves one connection and always closes it."""

    def __init__(self, settings: RouterSettings, loop: asyncio.AbstractEventLoop) -> None:
        """`settings` gives the bounds; routes are added with add_route(path, coroutine)."""
        super().__init__(loop=loop)
        self._settings = settings
        self._networks = [ipaddress.ip_network(network) for network in settings.peers_allowed]
        self.sessions = 0
        self.idle = asyncio.Event()  # set while no session is open
        self.idle.set()
        SESSIONS.watch(settings.max_sessions, lambda: self.sessions)
        self.shed = 0  # sessions closed because too many were open
        self.broken = 0  # sessions that were no AGI, too slow, or from somebody not allowed

    async def handler(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one session within its deadline, whatever the other side does."""
        self.sessions += 1
        self.idle.clear()
        try:
            if self.sessions > self._settings.max_sessions:
                self.shed += 1
                SESSIONS.lose()
                return
            async with asyncio.timeout(self._settings.deadline_seconds):
                await self._serve(reader, writer)
        except (
            TimeoutError,
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ValueError,
        ) as error:
            self.broken += 1
            BROKEN.inc()
            log.info("AGI session ended early", peer=writer.get_extra_info("peername"), error=repr(error)[:200])
        finally:
            self.sessions -= 1
            if not self.sessions:
                self.idle.set()
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_allowed(writer.get_extra_info("peername")):
            raise AgiError("peer not allowed")
        async with asyncio.timeout(self._settings.header_seconds):
            raw = await reader.readuntil(b"\n\n")
        headers = parse_headers(raw)
        path = headers.get("agi_network_script", "").partition("?")[0]
        route = self._route.get(path)
        if route is None:
            raise AgiError(f"no script {path[:40]!r}")
        await route(AgiRequest(self, headers, reader, writer))

    def _is_allowed(self, peername: Any) -> bool:
        if not peername:
            return False
        address = ipaddress.ip_address(peername[0])
        return any(address in network for network in self._networks)


def parse_headers(raw: bytes) -> dict[str, str]:
    """The headers of a session. Raises AgiError for what is not AGI: no colon, a name twice, no text."""
    headers: dict[str, str] = {}
    try:
        lines = raw.decode("utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise AgiError("headers are not UTF-8") from error
    for line in lines:
        name, colon, value = line.partition(": ")
        if not colon:
            name, colon, value = line.partition(":")  # an empty value may come without the blank
        if not colon or not name.startswith("agi_"):
            raise AgiError(f"header line {line[:40]!r}")
        if name in headers:
            raise AgiError(f"header {name[:40]!r} twice")
        headers[name] = value
    return headers
