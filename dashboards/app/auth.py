"""The door: login, logout, and a check before every request. Deny by default: only the login and its assets are open.

A session is a random token in a cookie that scripts cannot read and other sites cannot send (SameSite=Strict). Every
request that changes something must carry a token of the form (Flask-WTF) or come from this very origin (Dash's own).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import flask
import psycopg
import structlog
from flask import g, redirect, render_template, request
from flask_limiter import Limiter
from flask_wtf.csrf import CSRFProtect
from werkzeug.wrappers import Response

from dashboards.access.login_limiter import LoginLimiter, Try
from dashboards.access.logins import normal_address, normal_login
from dashboards.access.table import OPEN_ENDPOINTS, SHELL, Endpoints, allowed, enters
from dashboards.access.users import (
    TooBusyError,
    User,
    check_login,
    close_session,
    is_known_address,
    open_session,
    user_of_session,
)
from dashboards.app.token_auth import check_token
from dashboards.app.whole_requests import MAX_BODY_BYTES
from dashboards.kit.bad_texts import refuse_bad_texts
from dashboards.kit.problems import PREFIX, problem
from dashboards.settings import DashboardsSettings
from runtime.postgres_pool import Connections

log = structlog.get_logger(__name__)
COOKIE: Final = "streamco_session"
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_LONGEST_NEXT: Final = 512


def add_auth(
    server: flask.Flask,
    settings: DashboardsSettings,
    connections: Connections,
    clock: Callable[[], datetime],
    logins: LoginLimiter,
    endpoints: Endpoints,
    seconds: Callable[[], float] = time.monotonic,
) -> Limiter:
    """Put the door in front of every route of the server. Out: what limits how often one may ask the API.

    `endpoints`: the row of each route. `seconds`: what `logins` counts pauses by.
    """
    server.config.update(
        SECRET_KEY=settings.secret_key.get_secret_value(),
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_SSL_STRICT=False,
        SESSION_COOKIE_NAME="streamco_form",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=settings.behind_https,
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        RATELIMIT_HEADERS_ENABLED=False,
    )
    csrf = CSRFProtect(server)
    door = _Door(settings, connections, clock, logins, endpoints, seconds)
    server.before_request(door.check)
    server.before_request(refuse_bad_texts)
    server.add_url_rule("/login", "login", _protected(csrf, door.login), methods=["GET", "POST"])
    server.add_url_rule("/logout", "logout", _protected(csrf, door.logout), methods=["POST"])
    server.register_error_handler(429, _too_many)
    return Limiter(lambda: normal_address(request.remote_addr), app=server, storage_uri="memory://", default_limits=[])


def _protected(csrf: CSRFProtect, view: Callable[[], Any]) -> Callable[[], Any]:
    def checked() -> Any:
        if request.method not in READING:
            csrf.protect()
        return view()

    checked.__name__ = view.__name__
    return checked


def _too_many(_: Exception) -> Any:
    if request.path.startswith(PREFIX):
        return problem(429, "Too many requests. Wait a minute.")
    return "Too many requests. Wait a minute.", 429


class _Door:
    def __init__(
        self,
        settings: DashboardsSettings,
        connections: Connections,
        clock: Callable[[], datetime],
        logins: LoginLimiter,
        endpoints: Endpoints,
        seconds: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._seconds = seconds
        self._limiter = logins
        self._connections = connections
        self._endpoints = endpoints

    def check(self) -> Any:
        """Before every request: who is it?"""
        if request.endpoint in OPEN_ENDPOINTS:
            return None
        if request.path.startswith(PREFIX):
            return check_token(self._connections, self._clock, self._endpoints)
        if request.method not in READING and not same_origin(request.headers, request.host):
            return "This request came from another site.", 403
        token = request.cookies.get(COOKIE, "")
        try:
            with self._connections.lent(autocommit=True) as connection:
                user = user_of_session(connection, token, self._clock()) if token else None
        except psycopg.Error as error:
            log.warning("sessions cannot be checked", error=str(error)[:200])
            return "The database of users does not answer. Try again in a moment.", 503
        if user is None or not allowed(user.role, SHELL):
            if request.method in READING and not request.path.startswith("/_"):
                return redirect(_login_address())
            return "Log in first.", 401
        if not enters(user.role, request.endpoint, self._endpoints):
            log.warning("route refused", login=user.login, role=user.role, path=request.path[:128])
            return f"Users of role {user.role} may not do this.", 403
        g.user = user
        return None

    def login(self) -> Any:
        """The form, and what it sends."""
        target = safe_next(request.values.get("next", ""))
        if request.method in READING:  # HEAD too: who asks whether we are there tries no password
            return render_template("login.html", error="", next=target)

        def again(status: int, error: str) -> Any:
            return render_template("login.html", error=error, next=target), status

        try:
            with self._connections.lent(autocommit=True) as connection:
                entered = self._enter(connection)
        except TooBusyError:
            return again(503, "Busy. Try again in a moment.")
        except psycopg.Error as error:
            log.warning("logins cannot be checked", error=str(error)[:200])
            return again(503, "The database of users does not answer.")
        if isinstance(entered, int):
            words = "a second" if entered == 1 else f"{entered} seconds"
            answer = flask.make_response(again(429, f"Too many wrong tries. Wait {words}."))
            answer.headers["Retry-After"] = str(entered)
            return answer
        if entered is None:
            return again(401, "Login or password is wrong.")
        response = redirect(target)
        response.set_cookie(
            COOKIE,
            entered,
            max_age=self._settings.session_hours * 3600,
            httponly=True,
            samesite="Strict",
            secure=self._settings.behind_https,
            path="/",
        )
        return response

    def _enter(self, connection: psycopg.Connection[Any]) -> str | int | None:
        """A new session's token; or seconds to wait before the next try; or None where login or password is wrong."""
        login, address = normal_login(request.form.get("login", "")), normal_address(request.remote_addr)
        now = self._clock()
        known = login is not None and is_known_address(connection, login, address, now)
        one = Try(login or "", address, known)
        if wait := self._limiter.begin(one, self._seconds()):
            log.warning("login slowed down", login=one.login, address=address, seconds=wait)
            return wait
        try:
            user = check_login(connection, one.login, request.form.get("password", ""), known=known)
            token = self._open(connection, user, now) if user is not None and allowed(user.role, SHELL) else None
        except (TooBusyError, psycopg.Error):
            self._limiter.undone(one)
            raise
        if token is None:
            log.warning("login refused", login=one.login, address=address)
            return None
        self._limiter.right(one)
        log.info("login", login=one.login, address=address)
        return token

    def _open(self, connection: psycopg.Connection[Any], user: User, now: datetime) -> str | None:
        return open_session(connection, user, request.remote_addr or "", now, self._settings.session_hours)

    def logout(self) -> Response:
        """End the session here and in the database."""
        try:
            with self._connections.lent(autocommit=True) as connection:
                close_session(connection, request.cookies.get(COOKIE, ""))
        except psycopg.Error as error:
            log.warning("a session cannot be ended", error=str(error)[:200])
            return Response("The database of users does not answer: you are still logged in. Try again.", 503)
        response = redirect("/login")
        response.delete_cookie(COOKIE, path="/")
        return response


def _login_address() -> str:
    here = request.full_path.rstrip("?")
    return f"/login?next={quote(safe_next(here), safe='/')}"


def safe_next(target: str) -> str:
    """Where to go after the login: a path of ours, else the start."""
    try:
        parts = urlsplit(target)
    except ValueError:  # such as http://[
        return "/"
    ours = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    clean = len(target) <= _LONGEST_NEXT and target.isprintable() and "\\" not in target
    return target if ours and clean and not target.startswith(("/login", "/logout", "/_")) else "/"


def same_origin(headers: Any, host: str) -> bool:
    """Does this request come from a page of ours? Browsers say so; who says nothing is no browser with our cookie."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("Origin")
    try:
        return origin is None or urlsplit(origin).netloc == host
    except ValueError:
        return False


def now_utc() -> datetime:
    """The clock of the real thing."""
    return datetime.now(UTC)
