"""Callbacks of pages, each with the area and act of access/table.py that it is. The guard reads what is noted here.

calls = PageCallbacks(app, "controls", rules)
@calls.callback(Output(…), Input(…))                   needs ("controls", "see")
@calls.callback(Output(…), Input(…), act="release")    needs ("controls", "release")
"""

from collections.abc import Callable
from typing import Any

import dash

from dashboards.access.table import SEE, TABLE

Rules = dict[str, tuple[str, str]]
"""Area and act by a callback's key in Dash's map."""


class PageCallbacks:
    """What a page adds its callbacks to."""

    def __init__(self, app: dash.Dash, area: str, rules: Rules) -> None:
        """`rules` is what the guard reads: every callback that is added here is added to it."""
        self._app = app
        self._area = area
        self._rules = rules

    def callback(self, *arguments: Any, act: str = SEE, **options: Any) -> Callable[..., Any]:
        """As Dash's, for those who may do `act` here. Raises KeyError where the table has no such row."""
        made: Callable[..., Any] = self._added(act, lambda: self._app.callback(*arguments, **options))
        return made

    def clientside_callback(self, *arguments: Any, **options: Any) -> None:
        """As Dash's. It runs in the browser: the guard refuses it like any that is none."""
        self._added(SEE, lambda: self._app.clientside_callback(*arguments, **options))  # type: ignore[no-untyped-call]

    def _added(self, act: str, add: Callable[[], Any]) -> Any:
        TABLE[self._area, act]
        before = set(self._app.callback_map)
        made = add()
        for key in self._app.callback_map.keys() - before:
            self._rules[key] = (self._area, act)
        return made
