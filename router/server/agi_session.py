"""One FastAGI session: a connection as a protocol, and the request that a route gets of it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from panoramisk import fast_agi
from panoramisk.utils import parse_agi_result

from router.server.agi_text import AgiError, mset_commands, parse_headers
from router.settings import RouterSettings

log = structlog.get_logger(__name__)
_MAX_ANSWER_LINES: Final = 64
Gate = Callable[[str, Mapping[str, str]], bytes | None]
"""Gets script and headers: None to let the session begin, or the command that refuses its call."""
Require = Callable[[str, Mapping[str, str]], None]
"""Gets script and headers: raises AgiError where the session may not begin and is not answered."""


class SessionHost(Protocol):
    """What a session needs of the server that it belongs to (agi.py)."""

    settings: RouterSettings
    loop: asyncio.AbstractEventLoop
    require: Require
    gate: Gate

    def admits(self, session: "AgiSession", peername: Any) -> bool:
        """Whether a connection becomes a session."""

    def route_of(self, script: str) -> Callable[["AgiRequest"], Any]:
        """The route of a script. Raises AgiError where there is none."""

    def breaks(self, error: Exception, peername: Any) -> None:
        """A session ended early."""

    def ends(self, session: "AgiSession") -> None:
        """A session's connection is closed, and its route has ended."""


class AgiRequest(fast_agi.Request):  # type: ignore[misc]
    """One session. `arguments` are agi_arg_1…; commands raise AgiError when the session is gone."""

    headers: Mapping[str, str]

    def __init__(self, application: SessionHost, headers: Mapping[str, str], session: "AgiSession") -> None:
        super().__init__(application, headers, None, None)
        self._session = session

    @property
    def arguments(self) -> list[str]:
        """The script's arguments, in order."""
        found: list[str] = []
        while (value := self.headers.get(f"agi_arg_{len(found) + 1}")) is not None:
            found.append(value)
        return found

    async def command(self, text: str) -> None:
        """Send one command and read its answer. Raises AgiError unless it is a 200 without an error."""
        line = await self._answer_to(text)
        if not line.startswith(b"200 result=") or line.startswith(b"200 result=-1"):
            raise AgiError(f"answer {line[:80]!r}")

    async def send_command(self, command: str) -> Any:
        """As panoramisk's own: the answer as a dict, whatever it is."""
        return parse_agi_result((await self._answer_to(command)).decode(errors="replace"))

    def require_open(self) -> None:
        """Raise AgiError when the session is gone: nobody waits for an answer."""
        self._session.require_open()

    async def set_variables(self, variables: Sequence[tuple[str, str]]) -> None:
        """Set channel variables in the order given, in as few commands as Asterisk's limits allow."""
        for text in mset_commands(variables):
            await self.command(text)

    async def _answer_to(self, text: str) -> bytes:
        if "\n" in text or "\r" in text:
            raise AgiError("a line end in an AGI command")
        self._session.send(text.encode() + b"\n")
        for _ in range(_MAX_ANSWER_LINES):
            line = await self._session.line()
            # HANGUP comes out of band and answers nothing; 100 says that the answer is on its way.
            if not line.startswith((b"HANGUP", b"100 ")):
                return line
        raise AgiError("no answer among too many lines")


class AgiSession(asyncio.Protocol):
    """One connection, from its header to its close.

    Nothing is sent before the answer to what was sent last, so what waits to be written is one command at most.

    Asterisk sends nothing between its header and the first command. What comes then is the rest of a header that a text
    from the wire has ended early: the session is not answered.
    """

    __slots__ = (
        "_application",
        "_asked",
        "_buffer",
        "_error",
        "_lost",
        "_task",
        "_transport",
        "_waiter",
        "_work",
        "began",
        "headed",
        "over",
    )

    def __init__(self, application: SessionHost) -> None:
        self._application = application
        self._buffer = bytearray()
        self._transport: Any = None
        self._task: asyncio.Task[None] | None = None
        self._work: Any = None  # what the task is about to begin
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._lost = False
        self._asked = False  # the first command is sent
        self.began = 0.0
        self.headed = False  # its header has come
        self.over = False  # nothing is read from it any more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connects."""
        self._transport = transport
        self.over = not self._application.admits(self, transport.get_extra_info("peername"))
        if self.over:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """The header, or answers."""
        if self.over:
            return
        buffer = self._buffer
        buffer += data
        if not self.headed:
            end = buffer.find(b"\n\n", max(0, len(buffer) - len(data) - 1))
            if end >= 0:
                raw = bytes(buffer[: end + 2])
                del buffer[: end + 2]
                self.headed = True
                if buffer:
                    self.fail(AgiError("more than a header before the first command"))
                else:
                    self._begin(raw)
        elif not self._asked:
            self.fail(AgiError("more than a header before the first command"))
        elif self._waiter is not None and b"\n" in data:
            self._wake(None)
        if len(buffer) > self._application.settings.max_header_bytes:
            self.fail(AgiError("too much was sent"))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self._lost = True
        if not self.over:
            self.fail(AgiError("closed before its end"), cancel=False)
        if self._task is None:
            self._application.ends(self)

    def fail(self, error: Exception, *, cancel: bool = True) -> None:
        """End it early. `cancel`: also what its route waits for, where that is not this connection."""
        if self._task is None:
            self._broken(error)
        elif self._waiter is not None:
            self._wake(error)
        elif cancel and self._error is None:
            self._error = error
            self._task.cancel()
            self._broken(error)  # at once: what the route waits for may take its time to let go
            if self._work is not None:  # it has not begun, and will not
                self._work.close()
                self._done()

    def abort(self) -> None:
        """Let go of a connection that its other side does not close."""
        self._transport.abort()

    def require_open(self) -> None:
        """Raise AgiError when the connection is gone."""
        if self._lost or self._error is not None:
            raise AgiError("closed before the command")

    def send(self, data: bytes) -> None:
        """Write. Raises AgiError when the connection is gone."""
        self.require_open()
        self._asked = True
        self._transport.write(data)

    async def line(self) -> bytes:
        """The next line, without its end. Raises AgiError when there will be none."""
        while (end := self._buffer.find(b"\n")) < 0:
            if self._lost:
                raise AgiError("closed before the answer")
            self._waiter = self._application.loop.create_future()
            await self._waiter
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _wake(self, error: Exception | None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def _begin(self, raw: bytes) -> None:
        application = self._application
        try:
            headers = parse_headers(raw)
            script = headers.get("agi_network_script", "").partition("?")[0]
            route = application.route_of(script)
            application.require(script, headers)
        except AgiError as error:
            self._broken(error)
            return
        refusal = application.gate(script, headers)
        if refusal is not None:
            # Its answer is of no interest: Asterisk has done what it was told before it answers.
            self.over = True
            self._transport.write(refusal)
            self._transport.close()
            return
        self._work = route(AgiRequest(application, headers, self))
        self._task = application.loop.create_task(self._run(self._work))

    def _done(self) -> None:
        self._task = None
        if self._lost:
            self._application.ends(self)

    async def _run(self, work: Any) -> None:
        self._work = None
        try:
            await work
            self._close()
        except asyncio.CancelledError:
            if self._error is None:
                raise
            self._broken(self._error)
        except (TimeoutError, ConnectionError, ValueError) as error:
            self._broken(error)
        except Exception as error:
            log.exception("a session's route failed: a defect, which costs this call alone")
            self._broken(error)
        finally:
            self._done()

    def _broken(self, error: Exception) -> None:
        if not self.over:
            self._application.breaks(error, self._transport.get_extra_info("peername"))
        self._close()

    def _close(self) -> None:
        self.over = True
        self._transport.close()
