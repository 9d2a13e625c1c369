"""Really asks the look-up that a call would ask: by the router's own client, with its time, bulkhead, cache and rest.

It costs what the provider takes for it: only who says so asks, and in a minute not more often than is allowed.
"""

import asyncio
import concurrent.futures
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from router.check.question import Question, QuestionError, asked_peer, request_of
from router.core import lookup_of
from router.core.portability import Dip
from router.snapshot.store import Snapshot

if TYPE_CHECKING:
    from router.server.lookups import Lookups

MOST_A_MINUTE: Final = 30
_WAIT_SECONDS: Final = 3.0  # a look-up has 0.8 s at most: this is for a loop that hangs
_CLOSE_SECONDS: Final = 5.0


class LookUps:
    """Safe to use from every thread. One a process: its answers are kept, its failures counted, for all who ask."""

    def __init__(self, tokens: Mapping[str, SecretStr], clock: Callable[[], float] = time.monotonic) -> None:
        """Opens nothing: the first question does. `tokens` as the router has them."""
        self._tokens = tokens
        self._clock = clock
        self._guard = threading.Lock()
        self._asked: deque[float] = deque(maxlen=MOST_A_MINUTE)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lookups: Lookups | None = None

    def ask(self, snapshot: Snapshot, question: Question) -> Dip | None:
        """What it says; None where the question wants none, or the call would ask none. Raises QuestionError."""
        if not question.look_up:
            return None
        wanted = lookup_of(snapshot, request_of(asked_peer(snapshot, question), question))
        if wanted is None:
            return None
        lookup, number = wanted
        loop, lookups = self._started()
        asking = lookups.ask(lookup, snapshot.config.lookups.mobile_networks, number)
        future = asyncio.run_coroutine_threadsafe(asking, loop)
        try:
            return future.result(_WAIT_SECONDS)
        except (TimeoutError, concurrent.futures.TimeoutError):
            future.cancel()
            return Dip(lookup.name, number, "no answer")

    def close(self) -> None:
        """End what is open."""
        with self._guard:
            loop, thread, lookups = self._loop, self._thread, self._lookups
            self._loop = self._thread = self._lookups = None
        if loop is None or thread is None or lookups is None:
            return
        asyncio.run_coroutine_threadsafe(lookups.close(), loop).result(_CLOSE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSE_SECONDS)
        loop.close()

    def _started(self) -> "tuple[asyncio.AbstractEventLoop, Lookups]":
        """The loop and the client, made at the first question: after any fork. Raises QuestionError."""
        with self._guard:
            now = self._clock()
            if len(self._asked) == MOST_A_MINUTE and now - self._asked[0] < 60:
                rule = f"{MOST_A_MINUTE} were asked within a minute: they cost money, so wait"
                raise QuestionError("look_up", "true", rule)
            self._asked.append(now)
            if self._loop is None or self._lookups is None:
                self._lookups = _client(self._tokens)
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="look-ups", daemon=True)
                self._thread.start()
            return self._loop, self._lookups


def _client(tokens: Mapping[str, SecretStr]) -> Any:
    # An HTTP client, which most who check routing never need.
    from router.server.lookups import Lookups

    return Lookups(tokens)
