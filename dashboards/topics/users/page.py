"""Users: who may come in, as what; acts on them, each with what it will end; and what everybody has done."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from dash import Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from dashboards.access.persons import person_of_request
from dashboards.access.table import ROLES
from dashboards.access.users import UserError
from dashboards.kit import formats
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.queries import SourceAwayError
from dashboards.kit.shared import Word, column, freshness, grid, marked, state_line
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources
from dashboards.topics.users.admin import UserRow
from dashboards.topics.users.store import Shown, UserState
from runtime.user_acts import Person, UserAct

log = structlog.get_logger(__name__)
PATH: Final = "/users"
AREA: Final = "users"
CHANGE: Final = "change"
REFRESH_MS: Final = 5_000
_HERE: Final = tuple(role for role in ROLES if role != "company")  # whose company is named on the command line
_TWICE: Final = ("users-role", "users-password", "users-disable")  # what ends something is asked again
_BUTTONS: Final = ("users-add", *_TWICE, "users-enable")


def layout() -> Any:
    """The page without its figures."""
    return html.Div(
        [
            dcc.Interval(id="users-tick", interval=REFRESH_MS),
            dcc.Store(id="users-asked", data=""),
            html.Div(id="users-state"),
            html.Div([_form(), _said()], className="users-form"),
            _panel("Users", "users-all", _columns(), "There is no user.", choose=True),
            _panel("What was done", "users-acts", _act_columns(), "Nothing was done yet."),
        ],
        className="audit users",
    )


def _said() -> Any:
    return html.Div(id="users-said", className="users-said", role="status")


def _form() -> Any:
    roles = [{"value": role, "label": role} for role in _HERE]
    login = dcc.Input(
        id="users-login", className="find", placeholder="its login", maxLength=64, autoComplete="off", debounce=False
    )
    return html.Div(
        [
            html.Label([html.Span("New user", className="field-name"), login], className="field"),
            html.Div(
                [
                    html.Span("Role", className="field-name"),
                    dcc.RadioItems(id="users-to", options=roles, value="viewer", inline=True, className="choices"),
                ],
                className="field",
            ),
            _button("users-add", "Add", strong=True),
            html.Div(
                [
                    html.Span("The user chosen below", className="field-name"),
                    html.Div(
                        [
                            _button("users-role", "Give this role"),
                            _button("users-password", "New password"),
                            _button("users-disable", "Disable"),
                            _button("users-enable", "Enable"),
                        ],
                        className="users-buttons",
                    ),
                ],
                className="field",
            ),
        ],
        className="users-fields",
    )


def _button(identity: str, label: str, *, strong: bool = False) -> Any:
    return html.Button(label, id=identity, className="button strong" if strong else "button", n_clicks=0)


def _panel(title: str, identity: str, columns: Sequence[Any], empty: str, *, choose: bool = False) -> Any:
    options: dict[str, Any] = {"rowSelection": {"mode": "singleRow", "checkboxes": True}} if choose else {}
    made = grid(identity, columns, empty=empty, **options)
    return html.Section([html.H2(title), html.Div(made, className="panel-grid")], className="panel audit-open-panel")


def _columns() -> list[Any]:
    return [
        column("login", "Login", width=180, flex=2, minWidth=120),
        column("role", "Role", width=120),
        column("state", "State", width=100, cellClassRules={"amber": "params.value !== 'enabled'"}),
        column("company", "Company", width=120, flex=1, minWidth=80),
        # Of texts that look like moments the grid would make dates.
        column("last", "Last login", width=150, cellDataType=False),
        column("sessions", "Sessions", width=84, kind="number"),
        column("tokens", "Tokens of the API", width=260, flex=3, minWidth=140, tooltipField="tokens"),
        column("password", "Password since", width=150, cellDataType=False),
        column("created", "Added", width=150, cellDataType=False),
    ]


def _act_columns() -> list[Any]:
    return [
        column("at", "At", width=170, cellDataType=False),
        column("who", "Who", width=130, flex=1, minWidth=90),
        column("by", "By", width=90),
        column("origin", "From", width=140),
        column("act", "Did", width=150),
        column("subject", "Whom or what", width=180, flex=2, minWidth=120, tooltipField="subject"),
        column("detail", "Detail", width=260, flex=3, minWidth=140, tooltipField="detail"),
    ]


def add_callbacks(app: PageCallbacks, sources: Sources) -> None:
    """The page's life."""

    @app.callback(
        Output("users-state", "children"),
        Output("users-all", "rowData"),
        Output("users-acts", "rowData"),
        Input("users-tick", "n_intervals"),
        Input("users-asked", "data"),
    )
    def refresh(_: int | None, _asked: str | None) -> tuple[Any, ...]:
        state, now_ms = sources.users.state(), sources.now_ms()
        live = freshness(sources.live.view(), now_ms)
        acts = [act_row(one, at) for at, one in enumerate(state.acts)]
        said = state_line([verdict(state)], live, now_ms, "who may come in, and what was done by whom")
        return said, [user_row(one) for one in state.users], acts

    @app.callback(
        Output("users-said", "children"),
        Output("users-asked", "data"),
        Output("users-login", "value"),
        Output("users-all", "selectedRows"),
        *(Input(name, "n_clicks") for name in _BUTTONS),
        State("users-login", "value"),
        State("users-to", "value"),
        State("users-all", "selectedRows"),
        State("users-asked", "data"),
        prevent_initial_call=True,
        act=CHANGE,
    )
    def change(*given: Any) -> tuple[Any, ...]:
        login, role, chosen, asked = given[-4:]
        button = str(ctx.triggered_id)
        if button not in _BUTTONS or not any(one.get("value") for one in ctx.triggered):
            raise PreventUpdate  # a page that has just been opened is no click
        if button != "users-add":
            login = str(chosen[0].get("id", "")) if chosen else ""
            if not login:
                return marked_line("amber", "choose a user first"), no_update, no_update, no_update
        wanted = f"{button} {login} {role}"
        if button in _TWICE and asked != wanted:
            return marked_line("amber", before(button, login, role or "", chosen[0])), wanted, no_update, no_update
        said, done = acted(sources, person_of_request("page"), button, login or "", role or "")
        kept = (str(sources.now_ms()), "", []) if done else ("", no_update, no_update)
        return said, *kept


def before(button: str, login: str, role: str, row: Mapping[str, Any]) -> str:
    """What an act will do, in numbers, before it does it."""
    sessions = _counted(row.get("sessions"), "open session")
    what = {
        "users-role": f"{login} becomes {role}, from its next request on",
        "users-password": f"{login} gets a new password, shown once; {sessions} ends",
        "users-disable": f"{login} may come in no more: {sessions} and {_counted(row.get('live_tokens'), 'token')} end",
    }[button]
    return f"{what}. Press again to do it."


def _counted(number: Any, what: str) -> str:
    number = number if isinstance(number, int) else 0
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def acted(sources: Sources, person: Person, button: str, login: str, role: str) -> tuple[Any, bool]:
    """Do what a button is for: what is said then, and whether it was done."""
    try:
        if button == "users-add":
            return secret_line("was added", sources.users.create(person, login, role)), True
        if button == "users-password":
            return secret_line("has a new one", sources.users.renew_password(person, login)), True
        if button == "users-disable":
            ended = sources.users.disable(person, login)
            sessions, tokens = _counted(ended.sessions, "session"), _counted(ended.tokens, "token")
            return marked_line("normal", f"{login} is disabled; {sessions} and {tokens} ended"), True
        if button == "users-role":
            sources.users.change_role(person, login, role)
            return marked_line("normal", f"{login} is {role} now"), True
        sources.users.enable(person, login)
        return marked_line("normal", f"{login} may come in again"), True
    except (UserError, SourceAwayError) as error:
        return marked_line("red", str(error)), False


def marked_line(state: Any, text: str) -> Any:
    """What is said of an act, with its mark."""
    return marked(Word(state, text))


def secret_line(what: str, made: Shown) -> Any:
    """A password that is shown this once, to be copied."""
    shown = html.Code(made.password, className="secret")
    return html.Span([marked(Word("normal", f"{made.login} {what}. Its password, shown this once: ")), shown])


def verdict(state: UserState) -> Word:
    """How many may come in, as what, in one sentence."""
    if state.away:
        return Word("red", state.away)
    enabled = [one for one in state.users if one.enabled]
    administrators = sum(one.role == "administrator" for one in enabled)
    sessions = sum(one.sessions for one in enabled)
    disabled = len(state.users) - len(enabled)
    text = f"{_counted(len(enabled), 'user')}, {_counted(administrators, 'administrator')}"
    text += f", {_counted(sessions, 'session')} open" + (f"; {disabled} disabled" if disabled else "")
    if administrators == 1:
        return Word("amber", f"{text}. Make a second administrator: nobody else can let one in again.")
    return Word("normal", text)


def user_row(one: UserRow) -> dict[str, Any]:
    """A user as the grid shows it."""
    return {
        "id": one.login,
        "login": one.login,
        "role": one.role,
        "state": "enabled" if one.enabled else "disabled",
        "company": one.company or "",
        "last": _moment(one.last_login_at) if one.last_login_at else formats.UNKNOWN,
        "sessions": one.sessions,
        "live_tokens": len(one.tokens),
        "tokens": ", ".join(f"{token.name} until {token.expires_at.astimezone():%Y-%m-%d}" for token in one.tokens),
        "password": _moment(one.password_changed_at),
        "created": _moment(one.created_at),
    }


def act_row(one: UserAct, at: int) -> dict[str, Any]:
    """An act as the grid shows it."""
    return {
        "id": f"{one.at.timestamp()}/{at}",
        "at": f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}",
        "who": one.person,
        "by": one.via,
        "origin": one.origin,
        "act": f"{one.area}: {one.act}",
        "subject": one.subject,
        "detail": one.detail,
    }


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


PAGE: Final = Page(
    path=PATH,
    title="Users",
    area=AREA,
    layout=lambda *_: layout(),
    callbacks=add_callbacks,
    order=70,
)
