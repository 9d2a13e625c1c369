"""One's own account: a new password takes the present one, typed right, and the new one twice."""

import psycopg
import pytest
from api_client import NOW, PASSWORD, Api
from callback_bodies import valid_body

from dashboards.access import users
from dashboards.app.auth import COOKIE

pytestmark = pytest.mark.servers
NEW = "staple of another battery"


@pytest.mark.parametrize(
    ("now", "new", "again", "said", "password"),
    [
        (PASSWORD, NEW, NEW, "Your password is changed.", NEW),
        (PASSWORD, NEW, NEW + "x", "was not typed the same twice", PASSWORD),
        ("wrong", NEW, NEW, "the one you have now is another", PASSWORD),
        (PASSWORD, "short", "short", "from 12 to 256", PASSWORD),
    ],
)
def test_a_new_password(api: Api, cheap_hashes: None, now: str, new: str, again: str, said: str, password: str) -> None:
    with psycopg.connect(api.dsn) as connection:
        users.add_user(connection, "ada", PASSWORD, "analyst")
        user = users.check_login(connection, "ada", PASSWORD)
        assert user is not None
        session = users.open_session(connection, user, "127.0.0.1", NOW, 1)
    browser = api.web.server.test_client()
    browser.set_cookie(COOKIE, session)
    callbacks = api.web.dash.callback_map
    key = next(key for key in callbacks if "account-said.children" in key)
    body = valid_body(callbacks[key], key, clicked="account-change")
    for given, value in zip(body["state"], (now, new, again), strict=True):
        given["value"] = value
    assert said in browser.post("/_dash-update-component", json=body).text
    with psycopg.connect(api.dsn) as connection:
        for one in (PASSWORD, NEW):
            assert (users.check_login(connection, "ada", one) is not None) == (one == password), one
