"""Before every callback: is it one of ours, as the page sends it, and may this user do what it does?"""

from collections.abc import Callable
from typing import Any, Final

import dash
import flask
import structlog

from dashboards.access.table import allowed, roles_of
from dashboards.app.callback_values import BadCallbackError, read_body
from dashboards.kit.page_callbacks import Rules

log = structlog.get_logger(__name__)
PATH: Final = "/_dash-update-component"


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
