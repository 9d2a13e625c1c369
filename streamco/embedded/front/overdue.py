"""A person's query that the engine cannot end: it computes within one block of rows, or is still being planned.

Neither the limit of its time nor KILL is looked at there, and it could go on for hours. Then this process ends; the
supervisor starts it again within seconds, and nothing that was acknowledged is lost. The login is disabled, for its
query would be asked again.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from streamco.clickhouse_access.register import RegisterError
from streamco.embedded.front.logins import Login, Logins

EXIT_CODE: Final = 70
_GRACE_SECONDS: Final = 60.0  # far more than a block takes on a machine that is busy


class Overdue:
    """Watches what people run. Used from one thread; `end` ends the process."""

    def __init__(self, logins: Logins, end: Callable[[int], object] = os._exit) -> None:
        self._logins = logins
        self._end = end

    @contextmanager
    def watched(self, login: Login) -> Iterator[None]:
        """While this lasts, the login's query runs."""
        limits = login.rights.limits
        if limits is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(limits.query_seconds + _GRACE_SECONDS, self._give_up, login)
        try:
            yield
        finally:
            timer.cancel()

    def _give_up(self, login: Login) -> None:
        sys.stderr.write(
            f"a query of {login.name} has not ended {_GRACE_SECONDS:.0f} s after its time limit, and cannot be ended: "
            f"the login is disabled (`streamco analyst enable {login.name}`), and ClickHouse is started again\n"
        )
        sys.stderr.flush()
        with suppress(RegisterError):  # it has been removed
            self._logins.disable(login.name)
        self._end(EXIT_CODE)
