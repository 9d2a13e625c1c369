"""The limits of a fake node, as the dialplan keeps them (extensions.conf, [limits]): variables, places, counts.

The node agent sets and reads them by AMI, as on an Asterisk.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

UNTIL: Final = "LIMITS_UNTIL"
MOST_VARIABLES: Final = 20_000
_NAME: Final = re.compile(r"(?:LC|LS|LA|LX)_[prc][0-9]+(?:-[0-9]+)?|LIMITS_UNTIL")
_GROUP_COUNT: Final = re.compile(r"GROUP_COUNT\(([prc][0-9]+(?:-[0-9]+)?)@[prc]\)")


class NodeLimits:
    """`now_s` is the clock of the machine that the agent and the fake node share, in unix seconds."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._variables: dict[str, str] = {}
        self._second: dict[str, tuple[int, int]] = {}  # key: (second, LA_key at its beginning)
        self._places: dict[str, tuple[str, ...]] = {}  # by call
        self._used: Counter[str] = Counter()

    def take(self, call_id: str, keys: Sequence[str], at_ms: int) -> bool:
        """Give the call these places, in place of those that it has. False: one is full, and it has none."""
        self._used.subtract(self._places.pop(call_id, ()))
        second = at_ms // 1000
        for key in keys:
            if not self._has_room(key, second):
                self._count(f"LX_{key}")
                return False
        if keys:
            self._places[call_id] = tuple(keys)
            self._used.update(keys)
        for key in keys:
            if self._variables.get(f"LS_{key}") != "-":
                self._count(f"LA_{key}")
        return True

    def _has_room(self, key: str, second: int) -> bool:
        if self._now_s() >= self._number(UNTIL) or self._used[key] >= self._number(f"LC_{key}"):
            return False
        if self._variables.get(f"LS_{key}") == "-":
            return True
        passed = self._number(f"LA_{key}")
        if self._second.get(key, (-1, 0))[0] != second:
            self._second[key] = (second, passed)
        return passed - self._second[key][1] < self._number(f"LS_{key}")

    def get(self, name: str) -> str | None:
        """A variable or function as Getvar answers it; None: not one of these."""
        if counted := _GROUP_COUNT.fullmatch(name):
            return str(self._used[counted[1]])
        return self._variables.get(name, "") if _NAME.fullmatch(name) else None

    def set(self, name: str, value: str) -> bool:
        """Setvar; False: not one of these, or too many."""
        if _NAME.fullmatch(name) is None or (name not in self._variables and len(self._variables) >= MOST_VARIABLES):
            return False
        self._variables[name] = value
        return True

    def clear(self) -> None:
        """Another start: nothing is left of what was."""
        for rows in (self._variables, self._second, self._places, self._used):
            rows.clear()

    def _count(self, name: str) -> None:
        self._variables[name] = str(self._number(name) + 1)

    def _number(self, name: str) -> int:
        text = self._variables.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
