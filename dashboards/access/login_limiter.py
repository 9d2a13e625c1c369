"""How long somebody who guesses passwords has to wait. Pure but for a lock; time is passed in.

Wrong tries are counted three ways, and a try has to wait for each that counts it:

    address           from there, whatever the login
    login             at it, from wherever nobody has logged in with it before
    login at address  where that login has been used before: for it, this alone counts

So a guesser is slowed down whether it changes logins or addresses, and its tries cost the owner nothing at an address
that the owner has used. After `free_tries` wrong ones the pause is a second, then 2, 4, 8 …, up to a bound. Example, at
login `nora` with five free tries: five guesses at once, then after 1, 2, 4, 8, 16, 32, 60, 60 … seconds.

A try counts as wrong from its beginning: a hundred at the same moment are a hundred, not one.
"""

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from runtime.metrics import Bounded

ADDRESS_PAUSE_SECONDS: Final = 900.0
# Shorter: the owner may come from a new address, or sit behind the same one as the guesser.
LOGIN_PAUSE_SECONDS: Final = 60.0
FORGET_SECONDS: Final = 3_600.0
_MOST_KEPT: Final = 20_000
# A new key costs a password's check, of which there are some tens a second: to push out one that is tried at takes
# longer than its pause.
KEPT: Final = Bounded(
    "dashboards_login_tries_kept", "Addresses and logins with wrong tries; at the bound the oldest go."
)
_Key = tuple[str, str, str]


class Try(NamedTuple):
    """Somebody who wants to log in. `login` as normal_login has it, empty if it can be nobody's; `known`: it was used
    at `address` before."""

    login: str
    address: str
    known: bool


@dataclass(slots=True)
class _Count:
    wrong: int = 0
    next_at: float = 0.0
    last_at: float = 0.0


class LoginLimiter:
    """Safe to use from every thread. Seconds are those of any clock that does not go back."""

    def __init__(self, free_tries: int, most_kept: int = _MOST_KEPT) -> None:
        self._free_tries = free_tries
        self._most_kept = most_kept
        self._guard = threading.Lock()
        self._counts: OrderedDict[_Key, _Count] = OrderedDict()
        KEPT.watch(most_kept, lambda: len(self._counts))

    def begin(self, one: Try, now: float) -> int:
        """Seconds to wait, or 0: it may try now, and counts as wrong until `right` or `undone` is called."""
        with self._guard:
            if (wait := max(self._next_at(key, now) for key, _ in _keys(one)) - now) > 0:
                return math.ceil(wait)  # and nothing is kept of it: only what costs a check can push out others
            for key, bound in _keys(one):
                count = self._count(key, now)
                count.wrong += 1
                count.last_at = now
                count.next_at = now + self._pause(count.wrong, bound)
            return 0

    def right(self, one: Try) -> None:
        """The password was right. What others did at this login or address still counts."""
        self._take_back(one)
        with self._guard:
            self._counts.pop(_at_address(one), None)

    def undone(self, one: Try) -> None:
        """Whether it was right could not be found out."""
        self._take_back(one)

    def _take_back(self, one: Try) -> None:
        with self._guard:
            for key, _ in _keys(one):
                if (count := self._counts.get(key)) is not None and count.wrong:
                    count.wrong -= 1
                    count.next_at = 0.0 if count.wrong < self._free_tries else count.next_at

    def _next_at(self, key: _Key, now: float) -> float:
        count = self._counts.get(key)
        return now if count is None or now - count.last_at > FORGET_SECONDS else count.next_at

    def _count(self, key: _Key, now: float) -> _Count:
        count = self._counts.pop(key, None)
        if count is None or now - count.last_at > FORGET_SECONDS:
            count = _Count()
        self._counts[key] = count  # the newest at the end
        if len(self._counts) > self._most_kept:
            self._counts.popitem(last=False)
            KEPT.lose()
        return count

    def _pause(self, wrong: int, bound: float) -> float:
        beyond = wrong - self._free_tries
        return 0.0 if beyond < 0 else min(bound, 2.0 ** min(beyond, 30))


def _at_address(one: Try) -> _Key:
    return "login at address", one.login, one.address


def _keys(one: Try) -> tuple[tuple[_Key, float], ...]:
    if one.known:
        return ((_at_address(one), LOGIN_PAUSE_SECONDS),)
    return (("address", "", one.address), ADDRESS_PAUSE_SECONDS), (("login", one.login, ""), LOGIN_PAUSE_SECONDS)
