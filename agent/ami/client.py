"""One session with Asterisk's manager: panoramisk's protocol, with a limit on everything it does not limit itself.

panoramisk's Manager reconnects by itself, sends again what was on its way, and waits for ever for an answer; so only
its protocol and its messages are used. A session that has ended is not used again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self

from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message

from agent.ami.events import Headers
from runtime.listeners import require_own

MAX_MESSAGE_CHARACTERS: Final = 1 << 20
_CONNECT_SECONDS: Final = 5.0


class AmiError(Exception):
    """The manager cannot be used: not reached, refused, silent, or gone."""


class _Owner:
    """What panoramisk's protocol expects of its manager."""

    forgetable_actions: tuple[str, ...] = ()

    def __init__(self, session: "AmiSession") -> None:
        self._session = session
        self.awaiting_actions: deque[Action] = deque(maxlen=0)  # nothing is ever sent again

    def dispatch(self, event: Message) -> None:
        self._session.received(event)

    def connection_lost(self, error: object) -> None:
        self._session.lost(error)


class _Protocol(AMIProtocol):  # type: ignore[misc]
    def __init__(self, owner: _Owner) -> None:
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.factory = self._owner
        self.config: dict[str, str] = {}
        self.encoding = "utf8"

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.queue and len(self.queue[0]) > MAX_MESSAGE_CHARACTERS:
            self.transport.abort()


class AmiSession:
    """`on_event` is called with every event's headers (names in any case). Make it by `open`."""

    def __init__(self, on_event: Callable[[Headers], None], answer_seconds: float) -> None:
        self._on_event = on_event
        self._answer_seconds = answer_seconds
        self._protocol = _Protocol(_Owner(self))
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        user: str,
        secret: str,
        on_event: Callable[[Headers], None],
        answer_seconds: float,
        *,
        events: bool = True,
        run_by: int | None = None,
    ) -> Self:
        """Connect and log in. Raises AmiError, also where AMI must be this user's of this machine and is not."""
        session = cls(on_event, answer_seconds)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                loop = asyncio.get_running_loop()
                transport, _ = await loop.create_connection(lambda: session._protocol, host, port)
        except OSError as error:  # TimeoutError is one
            raise AmiError(f"AMI at {host}:{port} is not reached: {error!r}") from error
        try:
            if run_by is not None:
                require_own(transport.get_extra_info("peername")[1], run_by)
            answer = await session.ask(
                {"Action": "Login", "Username": user, "Secret": secret, "Events": "on" if events else "off"}
            )
            if not answer[0].success:
                raise AmiError(f"AMI at {host}:{port} refuses user {user}: {answer[0].get('message', '')}")
        except ConnectionError as error:
            session.close()
            raise AmiError(f"AMI at {host}:{port} is not ours: {error}") from error
        except AmiError:
            session.close()
            raise
        return session

    async def ask(self, action: dict[str, str]) -> list[Message]:
        """The answer to an action: its messages, one or a list from start to end. Raises AmiError."""
        if self.ended.done():
            raise AmiError(f"AMI is gone: {self.ended.result()}")
        answer: asyncio.Future[Any] = self._protocol.send(dict(action), as_list=None)  # None: as Asterisk announces
        await asyncio.wait({answer, self.ended}, timeout=self._answer_seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            messages = answer.result()
            return messages if isinstance(messages, list) else [messages]
        answer.cancel()
        if self.ended.done():
            raise AmiError(f"AMI is gone: {self.ended.result()}")
        raise AmiError(f"AMI has not answered {action['Action']} for {self._answer_seconds:g} s")

    def close(self) -> None:
        """End the session."""
        self.lost("closed")
        self._protocol.close()

    def received(self, event: Message) -> None:
        """An event has come that answers no action."""
        self._on_event(event)

    def lost(self, error: object) -> None:
        """The connection has ended."""
        if not self.ended.done():
            self.ended.set_result(repr(error) if isinstance(error, Exception) else str(error or "closed by Asterisk"))
