"""What is around every page: header, search, the pages that the user's role may see; and which page a path is."""

from collections.abc import Mapping
from typing import Any, Final

import dash
import dash_mantine_components as dmc
import flask
from dash import ClientsideFunction, Input, Output, State, dcc, html
from flask_wtf.csrf import generate_csrf

from dashboards.access.table import SEE, SHELL, allowed, roles_of
from dashboards.kit.page_callbacks import PageCallbacks, Rules
from dashboards.topics.account.page import PATH as ACCOUNT
from dashboards.topics.registry import Page, pages
from dashboards.topics.sources import Sources
from schemas.ids import CALL_ID_PATTERN

_TITLE: Final = "Streamco"


def page_of(path: str) -> tuple[Page, str] | None:
    """The page of a path, and what is behind the page's own; None where there is none."""
    for page in pages():
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
    for page in pages():
        page.callbacks(PageCallbacks(app, page.area, rules), sources)
    _add_own(PageCallbacks(app, SHELL, rules))
    return rules


def _add_own(app: PageCallbacks) -> None:
    @app.callback(Output("page", "children"), Output("where", "data"), Input("address", "pathname"))
    def show(path: str | None) -> tuple[Any, Mapping[str, str]]:
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


def shown(path: str, role: str) -> tuple[Any, Mapping[str, str]]:
    """What a role sees at a path; and the path that the header marks, with the title of the browser's tab."""
    found = page_of(path)
    if found is None:
        return _nothing("There is no such page. "), {"path": path, "title": _TITLE}
    page, behind = found
    where = {"path": path, "title": f"{page.title} · {_TITLE}"}
    if not allowed(role, page.area):
        return _nothing(f"Users of role {role} may not see this page, only {roles_of(page.area, SEE)}. "), where
    return page.layout(behind, role), where


def _nothing(text: str) -> Any:
    return html.P([text, dcc.Link("To the wall", href="/")], className="empty")


def _shell() -> Any:
    user = flask.g.user if flask.has_request_context() and "user" in flask.g else None
    links = [
        dcc.Link(page.title, href=page.path, className="nav-link", id=f"nav-{page.title.split()[0].lower()}")
        for page in pages()
        if page.order is not None and user is not None and allowed(user.role, page.area)
    ]
    header = html.Header(
        [
            html.Span([html.Span("◢", className="mark"), " Streamco"], className="brand"),
            html.Nav(links, id="nav", className="nav"),
            dcc.Input(id="find", className="find", placeholder="call id", debounce=False, maxLength=64),
            html.Span(id="find-error", className="find-error", role="alert"),
            html.Span(id="stale", className="grow stale", role="alert"),
            html.Span("", id="zone-clock", className="clock"),
            dcc.Link(user.login if user else "", href=ACCOUNT, className="name-link", title="your account"),
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
