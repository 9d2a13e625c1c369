"""Simulated time, and processes that can be killed or frozen at any of their effects.

One thread, one heap of moments: what happens next is decided by time and then by the order of asking, so the same plan
gives the same history. Coroutines of the product run here without an event loop: what they wait for wakes them.
"""

import heapq
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

RESTART_MS: Final = 1_000  # the supervisor's pause before it starts a process again
_PATIENCE: Final = 20  # of a killed coroutine that goes on waiting


class Killed(BaseException):
    """The process is gone: nothing of it runs any further."""


class Suspend:
    """What a coroutine waits for: a moment, or an answer."""

    __slots__ = ("error", "is_done", "result", "wake")

    def __init__(self) -> None:
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.wake: Callable[[], None] | None = None

    def finish(self, result: Any = None, error: BaseException | None = None) -> None:
        """It has come: whoever waits goes on."""
        if self.is_done:
            return
        self.is_done, self.result, self.error = True, result, error
        if self.wake is not None:
            self.wake()

    def __await__(self) -> Generator["Suspend", None, Any]:
        if not self.is_done:
            yield self
        if self.error is not None:
            raise self.error
        return self.result


class Clock:
    """The heap of moments. Times are milliseconds since the beginning of the history."""

    def __init__(self) -> None:
        self.now_ms = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self.steps = 0

    def at(self, at_ms: int, action: Callable[[], None]) -> None:
        """Do it then."""
        self._number += 1
        heapq.heappush(self._heap, (max(at_ms, self.now_ms), self._number, action))

    def after(self, ms: int, action: Callable[[], None]) -> None:
        """Do it in so long."""
        self.at(self.now_ms + ms, action)

    def run(self, until_ms: int) -> None:
        """All that happens up to that moment."""
        while self._heap and self._heap[0][0] <= until_ms:
            at_ms, _, action = heapq.heappop(self._heap)
            self.now_ms = at_ms
            self.steps += 1
            action()
        self.now_ms = max(self.now_ms, until_ms)


class Process:
    """A process of the product: alive or not, perhaps frozen; what it does to the world goes through `effect`."""

    def __init__(self, host: "Host", name: str) -> None:
        self.host = host
        self.name = name
        self.is_alive = False
        self.incarnation = 0
        self.frozen_until_ms = 0
        self.is_atomic = False  # inside a transaction: others do not run between two of its statements
        self.effects = 0
        self._armed: list[tuple[int, Callable[[], None]]] = []
        self._running: set[Task] = set()

    def start(self) -> None:
        """Begin (again), with nothing remembered."""
        self.is_alive = True
        self.incarnation += 1
        self.frozen_until_ms = 0
        self.host.note("start", self.name)
        self.enter(self.begin)

    def begin(self) -> None:
        """What the process does first."""

    def ended(self) -> None:
        """What the world notices when the process is gone."""

    def kill(self, down_ms: int = RESTART_MS, why: str = "killed") -> None:
        """kill -9; it is started again after `down_ms`."""
        if not self.is_alive:
            return
        self.is_alive = False
        self.host.bites["kills"] += why == "killed"
        self.host.bites["kills within a transaction"] += why == "killed" and self.is_atomic
        self.is_atomic = False
        self._armed.clear()
        self.host.note(why, self.name, down_ms)
        for task in [*self._running]:
            task.end()
        self._running.clear()
        self.ended()
        incarnation = self.incarnation
        self.host.clock.after(down_ms, lambda: self._start_again(incarnation))

    def _start_again(self, incarnation: int) -> None:
        if not self.is_alive and self.incarnation == incarnation:
            self.start()

    def freeze(self, ms: int) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        self.host.note("frozen", self.name, ms)
        self.frozen_until_ms = self.host.clock.now_ms + ms

    def arm(self, effects: int, fault: Callable[[], None]) -> None:
        """Let `fault` happen at the process's n-th effect from now."""
        self._armed.append((self.effects + max(1, effects), fault))

    def disarm(self) -> None:
        """No more faults."""
        self._armed.clear()

    def effect(self) -> None:
        """Called before and after everything that others can see. Raises Killed where the process dies here."""
        self.effects += 1
        if not self.is_alive:
            raise Killed
        if self._armed:
            due = [fault for number, fault in self._armed if number <= self.effects]
            self._armed = [one for one in self._armed if one[0] > self.effects]
            for fault in due:
                fault()
            if not self.is_alive:
                raise Killed

    def later(self, ms: int, action: Callable[[], None]) -> None:
        """Do it in so long, if this is then still the same process."""
        incarnation = self.incarnation

        def act() -> None:
            if self.is_alive and self.incarnation == incarnation:
                if self.frozen_until_ms > self.host.clock.now_ms:
                    self.host.clock.at(self.frozen_until_ms, act)
                else:
                    self.enter(action)

        self.host.clock.after(ms, act)

    def enter(self, action: Callable[[], None]) -> None:
        """Run a piece of the process; what it raises ends it, as its supervisor sees it."""
        before, self.host.running = self.host.running, self
        try:
            action()
        except Killed:
            pass
        except self.host.expected_errors as error:
            self.kill(why=f"ends by {type(error).__name__}")
        except Exception as error:
            if self.host.raise_unexpected:
                raise
            self.host.fail("a process ended by an error that nobody expects", f"{self.name}: {error!r}", error)
            self.kill(why="ends")
        finally:
            self.host.running = before

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine of the process."""
        task = Task(self, coroutine)
        self._running.add(task)
        task.step()

    def done(self, task: "Task") -> None:
        """A coroutine has ended."""
        self._running.discard(task)


class Task:
    """A coroutine of a process."""

    def __init__(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._process = process
        self._coroutine = coroutine
        self._is_inside = False
        self._is_over = False

    def step(self) -> None:
        """Up to the next thing that it waits for."""
        if self._is_over:
            return  # what it waited for has come after its process was killed
        self._is_inside = True
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            self._process.done(self)
            return
        except BaseException:
            self._process.done(self)
            raise
        finally:
            self._is_inside = False
        awaited.wake = lambda: self._process.later(0, self.step)
        if awaited.is_done:
            awaited.wake()

    def end(self) -> None:
        """The process is gone: the coroutine sees that at its next effect, and has none any more."""
        self._is_over = True
        if self._is_inside:
            return  # it has killed its own process, and is being left by Killed
        try:
            for _ in range(_PATIENCE):
                self._coroutine.throw(Killed())
        except (Killed, StopIteration, RuntimeError):
            pass
        finally:
            self._coroutine.close()


class Host:
    """What processes need of their world. tests/simulation/world.py makes it."""

    expected_errors: tuple[type[BaseException], ...] = ()
    raise_unexpected = False  # to be seen with their trace

    def __init__(self) -> None:
        self.clock = Clock()
        self.running: Process | None = None
        self.trace: list[tuple[Any, ...]] = []
        self.failures: list[tuple[str, str]] = []
        self.slow_ms: dict[str, int] = {}  # by server: how much longer its answers take
        self.bites: Counter[str] = Counter()  # what the faults came to

    def note(self, *what: Any) -> None:
        """Something worth telling: part of the history and of its hash."""
        self.trace.append((self.clock.now_ms, *what))

    def fail(self, kind: str, detail: str, error: BaseException | None = None) -> None:
        """Something that must never be."""
        self.note("FAILURE", kind, detail)
        self.failures.append((kind, detail))

    def meets(self, left: Counter[str], what: str) -> bool:
        """Whether the running process's request meets a fault of which so many are left, by process or for anybody."""
        for name in ("", self.running.name) if self.running is not None else ("",):
            if left[name]:
                left[name] -= 1
                self.bites[what] += 1
                return True
        return False

    def effect(self) -> None:
        """The running process's effect."""
        if self.running is not None:
            self.running.effect()

    async def pause(self, ms: int = 1, server: str = "") -> None:
        """Let others run, for as long as the server takes; not inside a transaction."""
        ms += self.slow_ms.get(server, 0)
        process = self.running
        if process is None or process.is_atomic:
            return
        waiting = Suspend()
        self.clock.after(ms, waiting.finish)
        await waiting


def run_now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        return stopped.value
    coroutine.close()
    raise AssertionError("the coroutine waits")


@types.coroutine
def nothing() -> Generator[None, None, None]:
    """Awaited without waiting."""
    return
    yield
