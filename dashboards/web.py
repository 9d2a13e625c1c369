"""The web application: Flask with the door in front, Dash behind it, one shell around its pages."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import dash
import dash_mantine_components as dmc
import flask
from dash import ClientsideFunction, Input, Output, State, dcc, html
from flask_compress import Compress
from flask_limiter import Limiter
from flask_wtf.csrf import generate_csrf
from werkzeug.middleware.proxy_fix import ProxyFix

from dashboards.api.problems import add_problems
from dashboards.api.routes import add_api
from dashboards.audits import AuditStore
from dashboards.auth import add_auth, now_utc
from dashboards.checks import Checks
from dashboards.controls import ControlStore
from dashboards.live import LiveReader, LiveStore
from dashboards.names import NameStore
from dashboards.pages import audit, call, calls, check, controls, trial, wall
from dashboards.pages.shared import Sources
from dashboards.queries import Queries
from dashboards.reachability import ReachStore
from dashboards.settings import DashboardsSettings
from dashboards.trials import Trials
from router.quality_reader import QualityReader
from schemas.ids import CALL_ID_PATTERN

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": a browser then says "Origin: null" on our own forms, and logging out would be refused.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_LINKS: Final = (
    ("/", "Wall"),
    ("/calls", "Active calls"),
    (check.PATH, "Check routing"),
    (trial.PATH, "Try translation"),
    ("/controls", "Controls"),
    ("/audit", "Audit"),
)


def clock_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Web:
    """`server` is the WSGI application; `start` begins to read the live topics (in the process that serves)."""

    def __init__(self, settings: DashboardsSettings, clock: Callable[[], datetime] = now_utc) -> None:
        self.store = LiveStore()
        self._reader = LiveReader(settings.kafka, self.store, clock_ms, settings.metrics)
        postgres, queries = settings.postgres, Queries(settings.clickhouse, clock)
        self._quality = QualityReader(settings.kafka)
        checks = Checks(settings.check, lambda: self._quality.current, lambda: int(clock().timestamp() * 1000))
        self.sources = Sources(
            queries,
            NameStore(postgres),
            self.store,
            AuditStore(postgres),
            clock,
            ControlStore(postgres),
            ReachStore(postgres),
            checks,
            Trials(postgres),
        )
        self.server, limiter = _flask(settings, clock)
        add_api(
            self.server,
            limiter,
            checks,
            queries,
            self.sources.trials,
            self.sources.reach,
            postgres,
            settings.api_requests_per_minute,
        )
        self.dash = _dash(self.server, self.sources)
        policy = _policy(self.dash)

        @self.server.after_request
        def secure(response: flask.Response) -> flask.Response:
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            response.headers.setdefault("Content-Security-Policy", policy)
            if not flask.request.path.startswith(("/assets/", "/_dash-component-suites/")):
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


def _flask(settings: DashboardsSettings, clock: Callable[[], datetime]) -> tuple[flask.Flask, Limiter]:
    server = flask.Flask("dashboards", template_folder="templates", static_folder=None)
    server.config["COMPRESS_ALGORITHM"] = ["zstd", "br", "gzip"]
    Compress(server)
    if settings.behind_https:
        server.wsgi_app = ProxyFix(server.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    add_problems(server)
    return server, add_auth(server, settings, clock)


def _policy(app: dash.Dash) -> str:
    """Nothing from elsewhere; inline scripts only Dash's own, by hash. Components style themselves inline."""
    scripts = " ".join(["'self'", *app.csp_hashes()])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'self'; "
        "form-action 'self'"
    )


def _dash(server: flask.Flask, sources: Sources) -> dash.Dash:
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
    app.layout = _shell
    for page in (wall, calls, call, check, trial, controls, audit):
        page.add_callbacks(app, sources)

    @app.callback(Output("page", "children"), Output("where", "data"), Input("address", "pathname"))
    def show(path: str) -> tuple[Any, str]:
        if path == "/calls":
            return calls.layout(), path
        if path == "/controls":
            return controls.layout(), path
        if path == check.PATH:
            return check.layout(), path
        if path == trial.PATH:
            return trial.layout(), path
        if path == "/audit":
            return audit.layout(), path
        if path and path.startswith("/call/"):
            return call.layout(path.removeprefix("/call/")), path
        if path in ("/", None):
            return wall.layout(), "/"
        return html.P(["There is no such page. ", dcc.Link("To the wall", href="/")], className="empty"), str(path)

    @app.callback(
        Output("address", "pathname"),
        Output("find-error", "children"),
        Input("find", "n_submit"),
        State("find", "value"),
        prevent_initial_call=True,
    )
    def find(_: int, text: str | None) -> tuple[Any, str]:
        call_id = (text or "").strip().split("/")[0]
        if CALL_ID_PATTERN.fullmatch(call_id) is None:
            return dash.no_update, "not a call's id"
        return f"/call/{call_id}", ""

    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("streamco", "scheme"),
        Output("theme", "forceColorScheme"),
        Input("scheme", "data"),
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("streamco", "toggle"),
        Output("scheme", "data"),
        Input("toggle", "n_clicks"),
        State("scheme", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(ClientsideFunction("streamco", "mark"), Output("nav", "data-at"), Input("where", "data"))  # type: ignore[no-untyped-call]
    return app


def _shell() -> Any:
    user = flask.g.user if flask.has_request_context() and "user" in flask.g else None
    links = [
        dcc.Link(label, href=href, className="nav-link", id=f"nav-{label.split()[0].lower()}") for href, label in _LINKS
    ]
    header = html.Header(
        [
            html.Span([html.Span("◢", className="mark"), " Streamco"], className="brand"),
            html.Nav(links, id="nav", className="nav"),
            dcc.Input(id="find", className="find", placeholder="call id", debounce=False, maxLength=64),
            html.Span(id="find-error", className="find-error", role="alert"),
            html.Span(id="stale", className="grow stale", role="alert"),
            html.Span("", id="zone-clock", className="clock"),
            html.Button("◐", id="toggle", className="button", title="dark or light", n_clicks=0),
            html.Form(
                [
                    dcc.Input(type="hidden", name="csrf_token", value=generate_csrf()),
                    html.Button(f"Log out {user.login if user else ''}", className="button", type="submit"),
                ],
                action="/logout",
                method="post",
            ),
        ],
        className="header",
    )
    return dmc.MantineProvider(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Store(id="scheme", storage_type="local", data="dark"),
            dcc.Store(id="where"),
            header,
            html.Main(id="page", className="page"),
        ],
        id="theme",
        forceColorScheme="dark",
        theme={"fontFamily": "Inter, system-ui, sans-serif", "primaryColor": "gray"},
    )
