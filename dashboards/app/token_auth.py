"""The API's own door: a bearer token before every request, and nothing else; cookies open nothing here.

So no other site can make a browser ask anything: it would have to know the token.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import flask
import psycopg
import structlog
from werkzeug.exceptions import HTTPException

from dashboards.access.api_tokens import TOKEN, user_of_token
from dashboards.access.table import SHELL, Endpoints, allowed, enters
from dashboards.kit.problems import PREFIX, problem
from runtime.postgres_pool import Connections

log = structlog.get_logger(__name__)
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SCHEME: Final = "bearer"  # in any case (RFC 9110)


def check_token(connections: Connections, clock: Callable[[], datetime], endpoints: Endpoints) -> flask.Response | None:
    """None lets the request in, with `flask.g.user`; else the answer that refuses it."""
    scheme, _, token = flask.request.headers.get("Authorization", "").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != _SCHEME or TOKEN.fullmatch(token) is None:
        return problem(401, "A token is needed: Authorization: Bearer streamco_…")
    try:
        with connections.lent(autocommit=True) as connection:
            user = user_of_token(connection, token, clock())
    except psycopg.Error as error:
        log.warning("tokens cannot be checked", error=str(error)[:200])
        return problem(503, "The database of users does not answer. Try again in a moment.")
    if user is None:
        log.warning("token refused", address=flask.request.remote_addr)
        return problem(401, "This token is not known, or has ended.")
    if not allowed(user.role, SHELL):
        return problem(403, f"Users of role {user.role} may not use the API.")
    flask.g.user = user
    # The pages answer every path that nobody else does: not here.
    if flask.request.url_rule is not None and not flask.request.url_rule.rule.startswith(PREFIX):
        return _nothing_here()
    if not enters(user.role, flask.request.endpoint, endpoints):
        log.warning("act refused", login=user.login, role=user.role, path=flask.request.path[:128])
        return problem(403, f"Users of role {user.role} may not do this.")
    return None


def _nothing_here() -> flask.Response:
    """404, or 405 where the path answers to another method."""
    adapter = flask.globals.request_ctx.url_adapter
    methods = []
    for method in _METHODS:
        try:
            rule, _ = adapter.match(method=method, return_rule=True)  # type: ignore[union-attr]
        except HTTPException:
            continue
        if rule.rule.startswith(PREFIX):
            methods.append(method)
    if not methods:
        return problem(404, "There is no such path.")
    answer = problem(405, "The method is not allowed for this path.")
    answer.headers["Allow"] = ", ".join(methods)
    return answer
