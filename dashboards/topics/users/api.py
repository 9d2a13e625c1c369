"""Users over REST: listed, added, given roles and passwords, disabled. Passwords are made here and told once."""

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

import flask
import msgspec
from spectree import SpecTree

from dashboards.access.logins import LOGIN, LOGIN_PATTERN, LOGIN_RULE
from dashboards.access.persons import person_of_request
from dashboards.access.table import Role
from dashboards.access.users import UserError
from dashboards.kit.bodies import read_json
from dashboards.kit.problems import Fault, problem, responses
from dashboards.kit.queries import SourceAwayError
from dashboards.topics.registry import Route
from dashboards.topics.sources import Sources
from dashboards.topics.users.admin import UserRow
from runtime.user_acts import Person

_MOST_COMPANY: Final = 64
_Company = Annotated[str, msgspec.Meta(max_length=_MOST_COMPANY, description="For role company, and no other.")]


class TokenView(msgspec.Struct, frozen=True):
    """A token of the API that goes on."""

    name: str
    created_at_ms: int
    expires_at_ms: int


class UserView(msgspec.Struct, frozen=True):
    """A user. `sessions`: so many are open."""

    login: str
    role: Role
    company: str | None
    enabled: bool
    created_at_ms: int
    last_login_at_ms: int | None
    password_changed_at_ms: int
    sessions: int
    tokens: tuple[TokenView, ...]


class Users(msgspec.Struct, frozen=True):
    """By login."""

    users: tuple[UserView, ...]


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user to be added."""

    login: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=f"^{LOGIN_PATTERN}$")]
    role: Role
    company: _Company = ""


class NewRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role to be given."""

    role: Role
    company: _Company = ""


class NewPassword(msgspec.Struct, frozen=True):
    """A password that was made, and is told this once."""

    login: str
    password: str


class Disabled(msgspec.Struct, frozen=True):
    """What ended with the disabling."""

    login: str
    sessions_ended: int
    tokens_ended: int


class Changed(msgspec.Struct, frozen=True):
    """Whose user was changed."""

    login: str


def _list(api: SpecTree, sources: Sources) -> Any:
    @api.validate(resp=responses(Users), tags=["users"], operation_id="listUsers")
    def list_users() -> Any:
        """All users of the dashboards, with their sessions and tokens"""
        return _answered(lambda _: Users(tuple(map(_view, sources.users.users()))))

    return list_users


def _add(api: SpecTree, sources: Sources) -> Any:
    @api.validate(
        json=NewUser, resp=responses(NewPassword, 413), tags=["users"], operation_id="addUser", skip_validation=True
    )
    def add_user() -> Any:
        """Add a user, with a password that is made here"""
        body = read_json(NewUser)
        if isinstance(body, flask.Response):
            return body
        return _answered(lambda who: NewPassword(*sources.users.create(who, body.login, body.role, body.company)))

    return add_user


def _role(api: SpecTree, sources: Sources) -> Any:
    @api.validate(
        json=NewRole, resp=responses(Changed, 413), tags=["users"], operation_id="changeRole", skip_validation=True
    )
    def change_role(login: str) -> Any:
        """Give a user another role, from its next request on

        The last administrator keeps its role.
        """
        body = read_json(NewRole)
        if isinstance(body, flask.Response):
            return body

        def change(who: Person) -> Changed:
            sources.users.change_role(who, _exact(login), body.role, body.company)
            return Changed(login)

        return _answered(change)

    return change_role


def _disable(api: SpecTree, sources: Sources) -> Any:
    @api.validate(resp=responses(Disabled), tags=["users"], operation_id="disableUser")
    def disable_user(login: str) -> Any:
        """Let a user in no more: its sessions and tokens end

        The last administrator cannot be disabled.
        """
        return _answered(lambda who: Disabled(login, *sources.users.disable(who, _exact(login))))

    return disable_user


def _enable(api: SpecTree, sources: Sources) -> Any:
    @api.validate(resp=responses(Changed), tags=["users"], operation_id="enableUser")
    def enable_user(login: str) -> Any:
        """Let a disabled user in again; sessions and tokens that had ended stay so"""

        def enable(who: Person) -> Changed:
            sources.users.enable(who, _exact(login))
            return Changed(login)

        return _answered(enable)

    return enable_user


def _password(api: SpecTree, sources: Sources) -> Any:
    @api.validate(resp=responses(NewPassword), tags=["users"], operation_id="renewPassword")
    def renew_password(login: str) -> Any:
        """Give a user a new password that is made here; its sessions end, its tokens go on"""
        return _answered(lambda who: NewPassword(*sources.users.renew_password(who, _exact(login))))

    return renew_password


def _exact(login: str) -> str:
    """A login as it is kept. What people type may have blanks around it, programs send what they were told."""
    if LOGIN.fullmatch(login) is None:
        raise UserError("login", login[:64], LOGIN_RULE)
    return login


def _answered(act: Callable[[Person], Any]) -> Any:
    """What an act answers, or the problem that it has with the question or the database."""
    try:
        return cast(Any, act(person_of_request("api")))
    except UserError as error:
        fault = Fault(field=error.field, value=error.value, rule=error.rule)
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), fault)
    except SourceAwayError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


def _view(row: UserRow) -> UserView:
    return UserView(
        login=row.login,
        role=cast(Role, row.role),
        company=row.company,
        enabled=row.enabled,
        created_at_ms=_ms(row.created_at),
        last_login_at_ms=None if row.last_login_at is None else _ms(row.last_login_at),
        password_changed_at_ms=_ms(row.password_changed_at),
        sessions=row.sessions,
        tokens=tuple(TokenView(one.name, _ms(one.created_at), _ms(one.expires_at)) for one in row.tokens),
    )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _change(rule: str, name: str, view: Callable[[SpecTree, Sources], Any]) -> Route:
    return Route(rule=rule, name=name, method="POST", area="users", act="change", view=view)


ROUTES: Final = (
    Route(rule="users", name="list_users", area="users", view=_list),
    _change("users", "add_user", _add),
    _change("users/<login>/role", "change_role", _role),
    _change("users/<login>/disable", "disable_user", _disable),
    _change("users/<login>/enable", "enable_user", _enable),
    _change("users/<login>/password", "renew_password", _password),
)
