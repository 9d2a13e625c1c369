"""The API's own door: a bearer token before every request, and nothing else; cookies open nothing here.

So no other site can make a browser ask anything: it would have to know the token.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import flask
import psycopg
import structlog

from dashboards.api import PREFIX
from dashboards.api.problems import problem
from dashboards.api_tokens import TOKEN, user_of_token
from dashboards.users import STAFF_ROLES

log = structlog.get_logger(__name__)
_SCHEME: Final = "Bearer "


def check_token(connect: Callable[[], psycopg.Connection[Any]], clock: Callable[[], datetime]) -> flask.Response | None:
    """None lets the request in, with `flask.g.user`; else the answer that refuses it."""
    given = flask.request.headers.get("Authorization", "")
    token = given.removeprefix(_SCHEME)
    if token == given or TOKEN.fullmatch(token) is None:
        return problem(401, "A token is needed: Authorization: Bearer streamco_…")
    try:
        with connect() as connection:
            user = user_of_token(connection, token, clock())
    except psycopg.Error as error:
        log.warning("tokens cannot be checked", error=str(error)[:200])
        return problem(503, "The database of users does not answer. Try again in a moment.")
    if user is None:
        log.warning("token refused", address=flask.request.remote_addr)
        return problem(401, "This token is not known, or has ended.")
    if user.role not in STAFF_ROLES:
        return problem(403, f"Users of role {user.role} may not use the API.")
    flask.g.user = user
    # The pages answer every path that nobody else does: not here.
    if flask.request.url_rule is not None and not flask.request.url_rule.rule.startswith(PREFIX):
        return problem(404, "There is no such path.")
    return None
