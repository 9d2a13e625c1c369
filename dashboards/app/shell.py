"""What is around every page: header, search, the pages that the user's role may see; and which page a path is."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import dash
import dash_mantine_components as dmc
import flask
from dash import ClientsideFunction, Input, Output, State, dcc, html
from flask_wtf.csrf import generate_csrf

from dashboards.access.table import SEE, SHELL, allowed, roles_of
from dashboards.app.page_callbacks import PageCallbacks, Rules
from dashboards.kit.shared import Sources
from dashboards.topics.account import page as account
from dashboards.topics.audit import page as audit
from dashboards.topics.call import page as call
from dashboards.topics.calls import page as calls
from dashboards.topics.check_routing import page as check
from dashboards.topics.controls import page as controls
from dashboards.topics.translation_test import page as trial
from dashboards.topics.users import page as users
from dashboards.topics.wall import page as wall
from schemas.ids import CALL_ID_PATTERN


class Page(NamedTuple):
    """`path` of a page and all below it, if it ends in a slash; `area` is its row in access.py. `label`: in the header.

    `layout` is given what is behind the path, and the role of who looks.
    """

    path: str
    area: str
    layout: Callable[[str, str], Any]
    add_callbacks: Callable[[PageCallbacks, Sources], None]
    label: str = ""


def _check(_: str, role: str) -> Any:
    return check.layout(may_look_up=allowed(role, check.AREA, check.LOOK_UP))


def _controls(_: str, role: str) -> Any:
    return controls.layout(may_release=allowed(role, controls.AREA, controls.RELEASE))


PAGES: Final = (
    Page("/", "wall", lambda *_: wall.layout(), wall.add_callbacks, "Wall"),
    Page("/calls", "calls", lambda *_: calls.layout(), calls.add_callbacks, "Active calls"),
    Page("/call/", "call", lambda call_id, _: call.layout(call_id), call.add_callbacks),
    Page(check.PATH, check.AREA, _check, check.add_callbacks, "Check routing"),
    Page(trial.PATH, "try-translation", lambda *_: trial.layout(), trial.add_callbacks, "Try translation"),
    Page("/controls", controls.AREA, _controls, controls.add_callbacks, "Controls"),
    Page("/audit", "audit", lambda *_: audit.layout(), audit.add_callbacks, "Audit"),
    Page(users.PATH, users.AREA, lambda *_: users.layout(), users.add_callbacks, "Users"),
    Page(account.PATH, account.AREA, lambda _, role: account.layout(role), account.add_callbacks),
)


def page_of(path: str) -> tuple[Page, str] | None:
    """The page of a path, and what is behind the page's own; None where there is none."""
    for page in PAGES:
        below = page.path.endswith("/") and page.path != "/"
        if path == page.path and not below:
            return page, ""
        if below and path.startswith(page.path):
            return page, path.removeprefix(page.path)
    return None


def add_shell(app: dash.Dash, sources: Sources) -> Rules:
    """Put the pages on the application. Out: what the guard of their callbacks reads."""
    rules: Rules = {}
    app.layout = _shell
    for page in PAGES:
        page.add_callbacks(PageCallbacks(app, page.area, rules), sources)
    _add_own(PageCallbacks(app, SHELL, rules))
    return rules


def _add_own(app: PageCallbacks) -> None:
    @app.callback(Output("page", "children"), Output("where", "data"), Input("address", "pathname"))
    def show(path: str | None) -> tuple[Any, str]:
        return shown(path or "/", flask.g.user.role)

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

    app.clientside_callback(
        ClientsideFunction("streamco", "scheme"),
        Output("theme", "forceColorScheme"),
        Input("scheme", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("streamco", "toggle"),
        Output("scheme", "data"),
        Input("toggle", "n_clicks"),
        State("scheme", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(ClientsideFunction("streamco", "mark"), Output("nav", "data-at"), Input("where", "data"))


def shown(path: str, role: str) -> tuple[Any, str]:
    """What a role sees at a path, and the path that the header marks."""
    found = page_of(path)
    if found is None:
        return _nothing("There is no such page. "), path
    page, behind = found
    if not allowed(role, page.area):
        return _nothing(f"Users of role {role} may not see this page, only {roles_of(page.area, SEE)}. "), path
    return page.layout(behind, role), path


def _nothing(text: str) -> Any:
    return html.P([text, dcc.Link("To the wall", href="/")], className="empty")


def _shell() -> Any:
    user = flask.g.user if flask.has_request_context() and "user" in flask.g else None
    links = [
        dcc.Link(page.label, href=page.path, className="nav-link", id=f"nav-{page.label.split()[0].lower()}")
        for page in PAGES
        if page.label and user is not None and allowed(user.role, page.area)
    ]
    header = html.Header(
        [
            html.Span([html.Span("◢", className="mark"), " Streamco"], className="brand"),
            html.Nav(links, id="nav", className="nav"),
            dcc.Input(id="find", className="find", placeholder="call id", debounce=False, maxLength=64),
            html.Span(id="find-error", className="find-error", role="alert"),
            html.Span(id="stale", className="grow stale", role="alert"),
            html.Span("", id="zone-clock", className="clock"),
            dcc.Link(user.login if user else "", href=account.PATH, className="name-link", title="your account"),
            html.Button("◐", id="toggle", className="button", title="dark or light", n_clicks=0),
            html.Form(
                [
                    dcc.Input(type="hidden", name="csrf_token", value=generate_csrf()),
                    html.Button("Log out", className="button", type="submit"),
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
