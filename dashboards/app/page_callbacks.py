"""Callbacks of pages, each with the area and act of access.py that it is; and the guard before every one of them.

calls = PageCallbacks(app, "controls", rules)
@calls.callback(Output(…), Input(…))                   needs ("controls", "see")
@calls.callback(Output(…), Input(…), act="release")    needs ("controls", "release")
"""

from collections.abc import Callable
from typing import Any, Final

import dash
import flask
import structlog

from dashboards.access.table import SEE, TABLE, allowed, roles_of
from dashboards.app.callback_values import BadCallbackError, read_body

log = structlog.get_logger(__name__)
PATH: Final = "/_dash-update-component"
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


def guard(app: dash.Dash, rules: Rules) -> Callable[[], Any]:
    """What to run before each request, behind the login: the answer that refuses a callback, or None."""

    def check() -> Any:
        if flask.request.endpoint != PATH or flask.request.method != "POST":
            return None
        try:
            key = read_body(flask.request.get_data(), app.callback_map)
        except BadCallbackError as error:
            log.warning("callback refused", error=str(error)[:200], login=flask.g.user.login)
            return f"This is no request of a page: {error}"[:500], 400
        area, act = rules.get(key, ("", ""))
        if not allowed(flask.g.user.role, area, act):
            log.warning("act refused", login=flask.g.user.login, role=flask.g.user.role, area=area, act=act)
            return f"{flask.g.user.login}: only {roles_of(area, act)} may do this", 403
        return None

    return check
