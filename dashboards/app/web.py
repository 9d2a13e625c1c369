"""The web application: Flask with the door in front, Dash behind it, one shell around its pages."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import dash
import flask
from dash.exceptions import DependencyException
from flask_compress import Compress
from werkzeug.middleware.proxy_fix import ProxyFix

from dashboards.access.login_limiter import LoginLimiter
from dashboards.access.table import ENDPOINTS
from dashboards.app.api.routes import add_api
from dashboards.app.auth import add_auth, now_utc
from dashboards.app.callback_guard import guard
from dashboards.app.shell import add_shell
from dashboards.kit.live import LiveReader, LiveStore
from dashboards.kit.names import NameStore
from dashboards.kit.page_callbacks import Rules
from dashboards.kit.problems import add_problems
from dashboards.kit.queries import Queries
from dashboards.settings import DashboardsSettings
from dashboards.topics.audit.store import AuditStore
from dashboards.topics.check_routing.questions import Checks
from dashboards.topics.controls.store import ControlStore
from dashboards.topics.edge_refusals.store import EdgeRefusalStore
from dashboards.topics.reachability.store import ReachStore
from dashboards.topics.registry import routes
from dashboards.topics.sources import Sources
from dashboards.topics.translation_test.store import Trials
from dashboards.topics.users.store import UserStore
from router.server.quality_reader import QualityReader
from runtime.postgres_pool import Connections

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": a browser then says "Origin: null" on our own forms, and logging out would be refused.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def clock_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Web:
    """`server` is the WSGI application; `start` begins to read the live topics (in the process that serves)."""

    def __init__(self, settings: DashboardsSettings, clock: Callable[[], datetime] = now_utc) -> None:
        self.store = LiveStore()
        self._reader = LiveReader(settings.kafka, self.store, clock_ms, settings.metrics)
        self._connections = connections = Connections(settings.postgres, settings.threads)
        self._quality = QualityReader(settings.kafka)
        checks = Checks(
            settings.check, connections, lambda: self._quality.current, lambda: int(clock().timestamp() * 1000)
        )
        logins = LoginLimiter(settings.login_free_tries)
        self.sources = Sources(
            clock=clock,
            queries=Queries(settings.clickhouse, clock),
            names=NameStore(connections),
            live=self.store,
            audits=AuditStore(connections),
            checks=checks,
            controls=ControlStore(connections),
            edge_refusals=EdgeRefusalStore(connections),
            reach=ReachStore(connections),
            trials=Trials(connections),
            users=UserStore(connections, clock, logins),
        )
        self.endpoints = {**ENDPOINTS, **{route.endpoint: (route.area, route.act) for route in routes()}}
        self.server = _flask(settings)
        limiter = add_auth(self.server, settings, connections, clock, logins, self.endpoints)
        add_api(self.server, limiter, self.sources, settings.api_requests_per_minute)
        self.dash, self.rules = _dash(self.server, self.sources)
        policy = _policy(self.dash)

        @self.server.after_request
        def secure(response: flask.Response) -> flask.Response:
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            response.headers.setdefault("Content-Security-Policy", policy)
            file = flask.request.path.startswith(("/assets/", "/_dash-component-suites/"))
            if not file or response.status_code not in (200, 206, 304):
                response.headers["Cache-Control"] = "no-store"
            return response

    def start(self) -> None:
        """Follow the live topics from here on."""
        self._reader.start()
        self._quality.start()

    def stop(self) -> None:
        """End the reading threads."""
        self._reader.stop()
        self._quality.stop()
        self.sources.checks.close()
        self._connections.close()


def _flask(settings: DashboardsSettings) -> flask.Flask:
    server = flask.Flask("dashboards", template_folder="templates", static_folder=None)
    server.config["COMPRESS_ALGORITHM"] = ["zstd", "br", "gzip"]
    Compress(server)
    if settings.behind_https:
        server.wsgi_app = ProxyFix(server.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    add_problems(server)
    return server


def _policy(app: dash.Dash) -> str:
    """Nothing from elsewhere; inline scripts only Dash's own, by hash. Components style themselves inline."""
    scripts = " ".join(["'self'", *app.csp_hashes()])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'self'; "
        "form-action 'self'"
    )


def _dash(server: flask.Flask, sources: Sources) -> tuple[dash.Dash, Rules]:
    app = dash.Dash(
        "dashboards",
        server=server,  # type: ignore[arg-type]
        assets_folder="assets",
        serve_locally=True,
        title="Streamco",
        update_title="",
        suppress_callback_exceptions=True,
        compress=False,
    )
    rules = add_shell(app, sources)
    server.before_request(guard(app, rules))
    server.register_error_handler(DependencyException, lambda _: ("There is no such file.", 404))
    return app, rules
