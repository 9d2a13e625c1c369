"""Who may run a query now: so many at once in all, half of them people's at most, and each login within its limits."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from streamco.embedded.front.logins import Login, Usage
from streamco.embedded.front.wire import EngineError

_WAIT_SECONDS: Final = 30.0


class Turn:
    """A request's right to run its query. Given back once, however often it is said."""

    def __init__(self, places: Sequence[asyncio.Semaphore], most: int, ended: Callable[[], None]) -> None:
        self._places = places
        self._most = most
        self._ended = ended
        self._held: list[asyncio.Semaphore] = []
        self._kept = True

    async def begin(self) -> None:
        """Wait for a place. Raises EngineError when none comes free."""
        try:
            await asyncio.wait_for(self._take(), _WAIT_SECONDS)
        except TimeoutError as error:
            raise EngineError(
                f"Code: 202. DB::Exception: {self._most} queries run already. (TOO_MANY_SIMULTANEOUS_QUERIES)"
            ) from error

    async def _take(self) -> None:
        for place in self._places:
            await place.acquire()
            self._held.append(place)

    def release(self) -> None:
        """The query has ended, or will not be run."""
        if self._kept:
            self._kept = False
            for place in self._held:
                place.release()
            self._ended()


class Turns:
    """All of them. Used from one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all = asyncio.Semaphore(most)
        # What is left is our own processes', whatever people do.
        self._peoples_most = max(1, most // 2)
        self._peoples = asyncio.Semaphore(self._peoples_most)
        self._usage = Usage()

    def turn(self, login: Login) -> Turn:
        """That of a request which has just come: it counts before its body is read. Raises EngineError above a limit.

        It has to be released.
        """
        ended = self._usage.begin(login)
        if login.rights.limits is None:
            return Turn((self._all,), self._most, ended)
        return Turn((self._peoples, self._all), self._peoples_most, ended)
