"""One's own account: who one is, as what, and a new password for the one that was made for one."""

from typing import Any, Final

import flask
from dash import Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from dashboards.access.passwords import MAX_CHARACTERS, MIN_CHARACTERS
from dashboards.access.persons import person_of_request
from dashboards.access.users import UserError
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.queries import SourceAwayError
from dashboards.kit.shared import Word, marked
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources

PATH: Final = "/account"
AREA: Final = "account"
CHANGE: Final = "change"
_FIELDS: Final = {"now": "Password now", "new": "New password", "again": "The new one again"}


def layout(role: str) -> Any:
    """The form."""
    return html.Div(
        [
            html.H2(f"{flask.g.user.login}, {role}"),
            html.P(
                f"A password has from {MIN_CHARACTERS} to {MAX_CHARACTERS} characters, of any kind. With a new one all "
                "your sessions end, this one too; tokens of the API go on.",
                className="decided",
            ),
            html.Div([*map(_field, _FIELDS), _button()], className="users-fields"),
            html.Div(id="account-said", className="users-said", role="status"),
        ],
        className="users-form",
    )


def _field(name: str) -> Any:
    completed = "current-password" if name == "now" else "new-password"
    given = dcc.Input(
        id=f"account-{name}", type="password", className="find", maxLength=MAX_CHARACTERS, autoComplete=completed
    )
    return html.Label([html.Span(_FIELDS[name], className="field-name"), given], className="field")


def _button() -> Any:
    return html.Button("Change it", id="account-change", className="button strong", n_clicks=0)


def add_callbacks(app: PageCallbacks, sources: Sources) -> None:
    """The page's life."""

    @app.callback(
        Output("account-said", "children"),
        *(Output(f"account-{name}", "value") for name in _FIELDS),
        Input("account-change", "n_clicks"),
        *(State(f"account-{name}", "value") for name in _FIELDS),
        prevent_initial_call=True,
        act=CHANGE,
    )
    def change(_: int | None, now: str | None, new: str | None, again: str | None) -> tuple[Any, ...]:
        if not any(one.get("value") for one in ctx.triggered):
            raise PreventUpdate
        if new != again:
            return marked(Word("red", "The new password was not typed the same twice.")), *([no_update] * 3)
        try:
            sources.users.change_own_password(person_of_request("page"), now or "", new or "")
        except (UserError, SourceAwayError) as error:
            return marked(Word("red", str(error))), *([no_update] * 3)
        done = html.Span([marked(Word("normal", "Your password is changed. ")), html.A("Log in again", href="/login")])
        return done, "", "", ""


PAGE: Final = Page(
    path=PATH,
    title="Your account",
    area=AREA,
    layout=lambda _, role: layout(role),
    callbacks=add_callbacks,
)
