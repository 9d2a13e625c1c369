"""The AMI of one fake node: the part that the node agent uses, over TCP on loopback.

Connections and what waits to be written to each are bounded: a client that does not read is cut off, never waited for.
"""

import asyncio
import hmac
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from simulator import ami_messages
from simulator.limits import NodeLimits

log = structlog.get_logger(__name__)

MAX_CLIENTS: Final = 16
LOGIN_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 10.0
MAX_WAITING_BYTES: Final = 8_000_000
_CHANNELS_PER_WRITE: Final = 100

Action = dict[str, str]


class AmiServer:
    """`channels` gives the live channels, `now_ms` the node's clock; `hang_up` ends one by name, with a cause."""

    def __init__(
        self,
        *,
        node: str,
        user: str,
        secret: str,
        channels: Callable[[], Iterable[ami_messages.Channel]],
        hang_up: Callable[[str, int], bool],
        now_ms: Callable[[], int],
        started_ms: int | None = None,
        variables: NodeLimits | None = None,
    ) -> None:
        """`started_ms`: when the node's Asterisk started, on its clock; without it, now."""
        self._variables = variables or NodeLimits(lambda: 0.0)
        self._node = node
        self._user = user
        self._secret = secret
        self._channels = channels
        self._hang_up = hang_up
        self._now_ms = now_ms
        self._server: asyncio.Server | None = None
        self._started_at = 0.0
        self._started_ms = now_ms() if started_ms is None else started_ms
        self._served: set[asyncio.Task[None]] = set()
        self._listeners: set[asyncio.StreamWriter] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that is listened on. Raises OSError where it is taken."""
        self._started_at = asyncio.get_running_loop().time()
        self._server = await asyncio.start_server(self._serve, host, port, limit=ami_messages.MAX_ACTION_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        self._server.close()
        served = list(self._served)
        for task in served:
            task.cancel()
        await asyncio.gather(*served)

    @property
    def has_listeners(self) -> bool:
        """Whether anybody wants events: without listeners none needs to be made."""
        return bool(self._listeners)

    def send_event(self, message: bytes) -> None:
        """One event to everybody who is logged in and wants events."""
        for writer in list(self._listeners):
            transport = writer.transport
            if transport.get_write_buffer_size() > MAX_WAITING_BYTES:
                log.warning("AMI client does not read: cut off", node=self._node)
                self._listeners.discard(writer)
                transport.abort()
            elif not transport.is_closing():
                writer.write(message)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._served) >= MAX_CLIENTS:
            writer.close()
            return
        self._served.add(task)
        try:
            writer.write(ami_messages.GREETING)
            if not await self._login(reader, writer):
                return
            while action := await _read_action(reader):
                await self._answer(action, writer)
                async with asyncio.timeout(WRITE_SECONDS):  # wait_for may lose the cancellation of stop() (bpo-37658)
                    await writer.drain()
                if action.get("action", "").lower() == "logoff":
                    return
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.info("AMI connection ended", node=self._node, error=repr(error))
        except asyncio.CancelledError:
            log.info("AMI connection closed: the server stops", node=self._node)
        finally:
            self._served.discard(task)
            self._listeners.discard(writer)
            writer.close()
            await asyncio.sleep(0)  # the transport closes its socket in the loop's next round

    async def _login(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with asyncio.timeout(LOGIN_SECONDS):
            action = await _read_action(reader)
        named = hmac.compare_digest(action.get("username", "").encode(), self._user.encode())
        right = hmac.compare_digest(action.get("secret", "").encode(), self._secret.encode())
        if action.get("action", "").lower() != "login" or not (named and right):
            writer.write(ami_messages.response(action, "Error", "Message: Authentication failed"))
            return False
        writer.write(ami_messages.response(action, "Success", "Message: Authentication accepted"))
        uptime_seconds = int(asyncio.get_running_loop().time() - self._started_at)
        if action.get("events", "on").lower() != "off":
            writer.write(ami_messages.fully_booted(uptime_seconds))
            self._listeners.add(writer)
        return True

    async def _answer(self, action: Action, writer: asyncio.StreamWriter) -> None:
        name = action.get("action", "").lower()
        if name == "ping":
            now_ms = self._now_ms()
            stamp = f"Timestamp: {now_ms // 1000}.{now_ms % 1000:03d}000"
            writer.write(ami_messages.response(action, "Success", "Ping: Pong", stamp))
        elif name == "corestatus":
            writer.write(ami_messages.core_status(action, self._started_ms))
        elif name == "status":
            await self._answer_status(action, writer)
        elif name == "hangup":
            cause = action.get("cause", "")
            known = self._hang_up(action.get("channel", ""), int(cause) if cause in _CAUSES else 16)
            reply = ("Success", "Message: Channel Hungup") if known else ("Error", "Message: No such channel")
            writer.write(ami_messages.response(action, *reply))
        elif name in ("getvar", "setvar"):
            writer.write(self._variable(name, action))
        elif name == "logoff":
            writer.write(ami_messages.response(action, "Goodbye", "Message: Thanks for all the fish."))
        else:
            text = (
                f"Message: Invalid/unknown command: {name[:40]}. Use Action: ListCommands to show available commands."
            )
            writer.write(ami_messages.response(action, "Error", text))

    def _variable(self, name: str, action: Action) -> bytes:
        """Getvar and Setvar of what the node agent uses: the limits' variables."""
        variable = action.get("variable", "")
        if name == "getvar":
            value = self._variables.get(variable)
            if value is None:
                return ami_messages.response(action, "Error", "Message: GetVar Access Forbidden: Variable")
            return ami_messages.response(action, "Success", f"Variable: {variable}", f"Value: {value}")
        if not self._variables.set(variable, action.get("value", "")):
            return ami_messages.response(action, "Error", "Message: SetVar Access Forbidden: Variable")
        return ami_messages.response(action, "Success", "Message: Variable Set")

    async def _answer_status(self, action: Action, writer: asyncio.StreamWriter) -> None:
        channels = list(self._channels())
        if wanted := action.get("channel"):
            channels = [channel for channel in channels if channel.name == wanted]
            if not channels:
                writer.write(ami_messages.response(action, "Error", "Message: No such channel"))
                return
        lines = ("EventList: start", "Message: Channel status will follow")
        writer.write(ami_messages.response(action, "Success", *lines))
        for start in range(0, len(channels), _CHANNELS_PER_WRITE):
            now_ms = self._now_ms()
            some = channels[start : start + _CHANNELS_PER_WRITE]
            writer.write(b"".join(ami_messages.status_event(action, channel, now_ms) for channel in some))
            async with asyncio.timeout(WRITE_SECONDS):
                await writer.drain()
            await asyncio.sleep(0)  # thousands of channels must not hold up the calls
        writer.write(ami_messages.status_complete(action, len(channels)))


_CAUSES: Final = frozenset(str(cause) for cause in range(1, 128))


async def _read_action(reader: asyncio.StreamReader) -> Action:
    """The next action; empty at the end of the connection."""
    lines = bytearray()
    while True:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            return {}
        if not line.strip():
            if lines:
                return ami_messages.parse_action(bytes(lines))
            continue
        lines += line
        if len(lines) > ami_messages.MAX_ACTION_BYTES:
            raise ConnectionError("AMI action too long")
