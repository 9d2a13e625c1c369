"""Puts the fake world in the place of disk, clock, threads, event loop and database of the product's modules.

Only names of modules are replaced (`os`, `time`, `asyncio`, `psycopg`, `threading`, `log`, `Disk`): no function of the
product.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

from kafka.errors import KafkaConnectionError

from agent import clock as node_clock
from agent import counters, relay, state_file, watch
from agent.journal import files as journal_files
from agent.restart import last_heartbeat, restart
from router.server import admission
from sinks.dead_letters import waiting as waiting_letters
from streamco import dead_letters_cli
from streams import billing, cdrs, letters, live, output
from tests.simulation.broker import Place
from tests.simulation.clock import Host, Suspend
from tests.simulation.database import Database
from tests.simulation.disk import Disk, FakeOs


class Silent:
    """A log that nobody reads."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Time:
    """The module time: the wall clock of the machine that the running process is on, and true time."""

    def __init__(self, host: Host, wall_ms: Callable[[], int]) -> None:
        self._host, self._wall_ms = host, wall_ms

    def time_ns(self) -> int:
        """Wall clock."""
        return self._wall_ms() * 1_000_000

    def monotonic(self) -> float:
        """Seconds."""
        return 1_000 + self._host.clock.now_ms / 1000

    def monotonic_ns(self) -> int:
        """Nanoseconds."""
        return (1_000_000 + self._host.clock.now_ms) * 1_000_000


class _Timeout:
    def __init__(self, loop: "Loop", seconds: float | None) -> None:
        self._loop, self._seconds = loop, seconds

    async def __aenter__(self) -> None:
        self._loop.timeout_seconds = self._seconds

    async def __aexit__(self, *_: object) -> None:
        self._loop.timeout_seconds = None


class Event:
    """asyncio.Event."""

    def __init__(self, loop: "Loop") -> None:
        self._loop, self._is_set = loop, False
        self._waiting: list[Suspend] = []

    def set(self) -> None:
        """See asyncio."""
        self._is_set = True
        for waiting in self._waiting:
            waiting.finish()
        self._waiting.clear()

    def clear(self) -> None:
        """See asyncio."""
        self._is_set = False

    def is_set(self) -> bool:
        """See asyncio."""
        return self._is_set

    async def wait(self) -> None:
        """Until it is set, or the timeout around this is over."""
        if self._is_set:
            return
        waiting, seconds = Suspend(), self._loop.timeout_seconds
        self._waiting.append(waiting)
        if seconds is not None:
            self._loop.host.clock.after(round(seconds * 1000), lambda: waiting.finish(error=TimeoutError()))
        await waiting


class Loop:
    """The module asyncio, as far as what runs here uses it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.timeout_seconds: float | None = None

    def timeout(self, seconds: float | None) -> _Timeout:
        """See asyncio. It ends only waiting for an Event: all else here ends by itself."""
        return _Timeout(self, seconds)

    def Event(self) -> Event:
        """See asyncio."""
        return Event(self)

    async def gather(self, *awaited: Any) -> list[Any]:
        """One after the other."""
        return [await one for one in awaited]

    async def to_thread(self, function: Callable[..., Any], *given: Any) -> Any:
        """Others run before and after. Of what takes long, here only ClickHouse's inserts run in threads."""
        await self.host.pause(server="clickhouse")
        result = function(*given)
        await self.host.pause()
        return result


class Threads:
    """The module threading: a thread runs whole, a little later."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def Event(self) -> "Flag":
        """See threading."""
        return Flag()

    def Thread(self, target: Callable[[], None], **_: Any) -> "Thread":
        """See threading."""
        return Thread(self._host, target)


class Flag:
    """A threading.Event that nobody waits for."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """See threading."""
        self._is_set = True

    def is_set(self) -> bool:
        """See threading."""
        return self._is_set


class Thread:
    """See Threads."""

    def __init__(self, host: Host, target: Callable[[], None]) -> None:
        self._host, self._target, self._is_done = host, target, False

    def start(self) -> None:
        """In a while."""
        process = self._host.running
        if process is not None:
            process.later(40, self._run)

    def _run(self) -> None:
        if not self._is_done:
            self._is_done = True
            self._target()

    def join(self, _seconds: float) -> None:
        """It was told to stop."""
        self._is_done = True


class Psycopg:
    """The module psycopg, for whoever connects by it."""

    def __init__(self, database: Database) -> None:
        class AsyncConnection:
            connect = staticmethod(database.connect)

        self.AsyncConnection = AsyncConnection


class Record(NamedTuple):
    """A message, as kafka-python has it."""

    partition: int
    offset: int
    value: bytes


class Consumer:
    """kafka-python's, of one partition, for whoever reads it from a place on."""

    def __init__(self, host: Any) -> None:
        self._broker = host.broker
        self._place: Any = None
        self._offset = 0

    def assign(self, places: list[Any]) -> None:
        """See kafka-python."""
        self._place = places[0]

    def seek(self, _place: Any, offset: int) -> None:
        """See kafka-python."""
        self._offset = offset

    def poll(self, max_records: int, **_: Any) -> dict[Any, list[Record]]:
        """See kafka-python. Raises KafkaConnectionError."""
        if self._broker.is_away:
            raise KafkaConnectionError("away")
        first, log = self._offset, self._broker.log[Place(self._place.topic, self._place.partition)]
        self._offset = min(len(log), first + min(max_records, 3))
        records = [Record(self._place.partition, offset, log[offset]) for offset in range(first, self._offset)]
        return {self._place: records} if records else {}

    def close(self, **_: Any) -> None:
        """Nothing to let go."""


class Roomy:
    """runtime.disk.Disk of a disk with room. What a full one refuses has its own tests, on a real file system."""

    said = ""

    def __init__(self, *_: Any) -> None:
        pass

    def look(self) -> bool:
        """Not nearly full."""
        return False


class Click:
    """The module click."""

    @staticmethod
    def echo(*_: Any, **__: Any) -> None:
        """Nobody reads it."""

    @staticmethod
    def style(text: str, **_: Any) -> str:
        """Without colours."""
        return text


@contextmanager
def patched(host: Host, database: Database, disk: Callable[[], Disk], wall_ms: Callable[[], int]) -> Iterator[None]:
    """The product's modules live in this world until it is left."""
    fake_os, fake_time, loop, threads = FakeOs(disk), Time(host, wall_ms), Loop(host), Threads(host)
    replaced: list[tuple[Any, str, Any]] = [
        *((module, "os", fake_os) for module in (journal_files, last_heartbeat, restart, state_file)),
        *((module, "time", fake_time) for module in (relay, counters, watch, node_clock)),
        *((module, "asyncio", loop) for module in (watch, output, cdrs, letters, admission)),
        *((module, "now_ms", wall_ms) for module in (billing, cdrs, letters, live)),
        *((module, "log", Silent()) for module in (journal_files, relay, restart, counters, watch, node_clock)),
        *((module, "log", Silent()) for module in (billing, cdrs, letters, output, admission)),
        (restart, "threading", threads),
        (counters, "Disk", Roomy),
        (output, "psycopg", Psycopg(database)),
        (waiting_letters, "KafkaConsumer", lambda **_: Consumer(database.host)),
        (relay, "send_beat", lambda *_, **__: None),
        (dead_letters_cli, "click", Click),
    ]  # fmt: skip
    with ExitStack() as stack:
        for module, name, value in replaced:
            stack.enter_context(mock.patch.object(module, name, value))
        yield
