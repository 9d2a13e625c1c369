"""The door, with a real PostgreSQL behind it: who gets in, who does not, and what a stranger can make a browser do."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
import psycopg
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from dashboards.access import users
from dashboards.access.login_limiter import LoginLimiter
from dashboards.access.table import ENDPOINTS
from dashboards.app.auth import COOKIE, add_auth, safe_next, same_origin
from dashboards.settings import DashboardsSettings
from runtime.connections import ClickHouse, Kafka, Postgres
from runtime.postgres_pool import Connections

PASSWORD = "correct horse battery"


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "evil", "",
     "/a\\b", "/a\nb", "/a\x00b", "http://[", "//[", "/\u202e", "/login?next=/", "/logout",
     "/_dash-layout", "/" + "a" * 600, " /wall", "http:/evil"],
)  # fmt: skip
def test_no_open_redirect(target: str) -> None:
    assert safe_next(target) == "/"


@pytest.mark.parametrize("target", ["/", "/calls", "/call/sim1-1795000000-1795000001.1", "/calls?vendor=Danube"])
def test_a_path_of_ours_is_kept(target: str) -> None:
    assert safe_next(target) == target


@given(st.text(max_size=40))
def test_next_is_always_a_path_here(target: str) -> None:
    kept = safe_next(target)
    assert kept.startswith("/")
    assert not kept.startswith(("//", "/\\"))
    assert not re.search(r"[\x00-\x1f\\]", kept)


def test_same_origin() -> None:
    assert same_origin({}, "a:1")
    assert same_origin({"Origin": "http://a:1", "Sec-Fetch-Site": "same-origin"}, "a:1")
    assert not same_origin({"Origin": "http://b:1"}, "a:1")
    assert not same_origin({"Origin": "null"}, "a:1")
    assert not same_origin({"Origin": "http://["}, "a:1")
    assert not same_origin({"Sec-Fetch-Site": "cross-site"}, "a:1")
    assert not same_origin({"Sec-Fetch-Site": "same-site", "Origin": "http://a:1"}, "a:1")


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _settings(dsn: str, **values: Any) -> DashboardsSettings:
    return DashboardsSettings(
        postgres=Postgres(dsn=SecretStr(dsn)),
        kafka=Kafka(bootstrap="127.0.0.1:1"),
        clickhouse=ClickHouse(url="http://127.0.0.1:1"),
        secret_key=SecretStr("k" * 32),
        **values,
    )


def _server(settings: DashboardsSettings, clock: Clock) -> flask.Flask:
    server = flask.Flask("dashboards", static_folder=None)
    if settings.behind_https:
        server.wsgi_app = ProxyFix(server.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    limiter = LoginLimiter(settings.login_free_tries)
    add_auth(server, settings, Connections(settings.postgres), clock, limiter, ENDPOINTS, clock.seconds)
    server.add_url_rule("/", "/", lambda: f"wall for {flask.g.user.login}")
    server.add_url_rule("/forgotten", "forgotten", lambda: "a route that has no row in the table")
    update = "/_dash-update-component"
    server.add_url_rule(update, update, lambda: "updated", methods=["POST"])
    return server


@pytest.fixture
def client(postgres_dsn: str, clock: Clock, cheap_hashes: None) -> Iterator[FlaskClient]:
    with psycopg.connect(postgres_dsn) as connection:
        users.add_user(connection, "noc", PASSWORD, "noc")
        company = connection.execute("INSERT INTO companies (name) VALUES ('Alba') RETURNING company_id").fetchone()
        assert company is not None
        users.add_user(connection, "alba", PASSWORD, "company", company[0])
    server = _server(_settings(postgres_dsn), clock)
    server.config["TEST_DSN"] = postgres_dsn
    with server.test_client() as opened:
        yield opened


def _form_token(client: FlaskClient) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
    assert found is not None
    return found[1]


def _log_in(client: FlaskClient, login: str = "noc", password: str = PASSWORD, target: str = "/") -> TestResponse:
    form = {"login": login, "password": password, "next": target, "csrf_token": _form_token(client)}
    return client.post("/login", data=form)


@pytest.mark.servers
def test_nobody_gets_in_without_a_login(client: FlaskClient) -> None:
    answer = client.get("/?vendor=Danube")
    assert answer.status_code == 302
    assert answer.location.startswith("/login?next=/")
    assert client.post("/_dash-update-component").status_code == 401
    assert client.get("/_dash-layout").status_code == 401
    client.set_cookie(COOKIE, "guessed")
    assert client.get("/").status_code == 302


@pytest.mark.servers
def test_the_right_password_opens_and_the_cookie_is_guarded(client: FlaskClient) -> None:
    answer = _log_in(client, "  NOC ", target="/calls")
    assert (answer.status_code, answer.location) == (302, "/calls")
    cookie = next(text for text in answer.headers.getlist("Set-Cookie") if text.startswith(COOKIE))
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert client.get("/").text == "wall for noc"
    assert client.post("/_dash-update-component").text == "updated"


@pytest.mark.servers
@pytest.mark.parametrize(
    ("login", "password"),
    [("noc", "wrong password"), ("nobody", PASSWORD), ("", ""), ("alba", PASSWORD), ("noc", "x" * 5_000)],
)
def test_wrong_logins_look_the_same(client: FlaskClient, login: str, password: str) -> None:
    answer = _log_in(client, login, password)
    assert answer.status_code == 401
    assert "Login or password is wrong." in answer.text
    assert COOKIE not in "".join(answer.headers.getlist("Set-Cookie"))
    assert client.get("/").status_code == 302


@pytest.mark.servers
def test_a_login_from_another_site_is_refused(client: FlaskClient) -> None:
    form = {"login": "noc", "password": PASSWORD}
    assert client.post("/login", data=form).status_code == 400
    assert client.post("/login", data={**form, "csrf_token": "made up"}).status_code == 400


@pytest.mark.servers
def test_another_site_cannot_use_the_session(client: FlaskClient) -> None:
    _log_in(client)
    answer = client.post("/_dash-update-component", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert client.post("/logout", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/logout").status_code == 400
    assert client.get("/").text == "wall for noc"


@pytest.mark.servers
def test_the_login_leads_nowhere_else(client: FlaskClient) -> None:
    assert _log_in(client, target="//evil.example/").location == "/"


@pytest.mark.servers
def test_logout_ends_the_session_for_every_copy_of_the_cookie(client: FlaskClient) -> None:
    _log_in(client)
    copied = client.get_cookie(COOKIE)
    assert copied is not None
    assert client.post("/logout", data={"csrf_token": _form_token(client)}).status_code == 302
    client.set_cookie(COOKIE, copied.value)
    assert client.get("/").status_code == 302


@pytest.mark.servers
def test_a_session_ends_by_itself(client: FlaskClient, clock: Clock) -> None:
    _log_in(client)
    clock.now += timedelta(hours=11, minutes=59)
    assert client.get("/").status_code == 200
    clock.now += timedelta(minutes=1)
    assert client.get("/").status_code == 302


def _from(server: flask.Flask, address: str) -> FlaskClient:
    client = server.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return client


DODGES = ["nora", "NORA", " nora", "nora\t", "\u3000nora", "ｎｏｒａ", "ＮＯＲＡ", "𝐧𝐨𝐫𝐚", "ⓝⓞⓡⓐ", "nora\u2003"]


@pytest.mark.servers
def test_a_guesser_is_slowed_by_address_and_by_login_however_it_writes_it(client: FlaskClient, clock: Clock) -> None:
    server = client.application
    guesser = _from(server, "192.0.2.1")
    answers = [_log_in(guesser, f"guess{n}", "some password") for n in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    assert "Too many wrong tries. Wait a second." in answers[-1].text
    assert answers[-1].headers["Retry-After"] == "1"
    assert guesser.get("/login").status_code == 200
    many = [_from(server, f"198.51.100.{n}") for n in range(len(DODGES))]
    found = [_log_in(one, login, "some password").status_code for one, login in zip(many, DODGES, strict=True)]
    assert found == [401] * 5 + [429] * 5
    clock.now += timedelta(seconds=1)
    assert _log_in(many[-1], "Nora ", "some password").status_code == 401
    again = _log_in(many[-2], "nora", "some password")
    assert (again.status_code, again.headers["Retry-After"]) == (429, "2")


@pytest.mark.servers
def test_the_owner_gets_in_from_a_known_address_while_others_guess(client: FlaskClient, clock: Clock) -> None:
    server = client.application
    home = _from(server, "203.0.113.5")
    assert _log_in(home).status_code == 302
    elsewhere = [_from(server, f"192.0.2.{n}") for n in range(8)]
    assert [_log_in(one, "noc", "some password").status_code for one in elsewhere] == [401] * 5 + [429] * 3
    assert _log_in(_from(server, "198.51.100.9")).status_code == 429, "a new address waits, like the guesser"
    again = _server(_settings(_dsn(server)), clock)  # what is known outlives the process
    for one in (server, again):
        assert _log_in(_from(one, "203.0.113.5")).status_code == 302
    clock.now += timedelta(days=91)
    for n in range(5):
        _log_in(_from(server, f"192.0.2.{n}"), "noc", "some password")
    assert _log_in(_from(server, "203.0.113.5")).status_code == 429, "an address is forgotten after ninety days"


def _dsn(server: flask.Flask) -> str:
    return str(server.config["TEST_DSN"])


@pytest.mark.servers
def test_the_address_is_the_proxys_word_only_where_the_setting_says_so(client: FlaskClient, clock: Clock) -> None:
    dsn = _dsn(client.application)

    def statuses(server: flask.Flask) -> list[int]:
        found = []
        for n in range(7):
            one = _from(server, "127.0.0.1")
            one.environ_base["HTTP_X_FORWARDED_FOR"] = f"192.0.2.{n}"
            found.append(_log_in(one, f"guess{n}", "some password").status_code)
        return found

    assert statuses(_server(_settings(dsn), clock)) == [401] * 5 + [429] * 2
    assert statuses(_server(_settings(dsn, behind_https=True), clock)) == [401] * 7


@pytest.mark.servers
def test_nul_in_the_form_is_400(client: FlaskClient) -> None:
    form = {"login": "noc", "password": PASSWORD, "next": "/", "csrf_token": _form_token(client)}
    for field in ("login", "password", "next"):
        assert client.post("/login", data={**form, field: f"{form[field]}\x00"}).status_code == 400
        assert client.get("/login", query_string={field: "\x00"}).status_code == 400
    assert client.post("/login", data={**form, "x\x00": "1"}).status_code == 400
    assert client.post("/login", data=form).status_code == 302


@pytest.mark.servers
def test_who_asks_whether_we_are_there_tries_no_password(client: FlaskClient) -> None:
    """A load balancer asks by HEAD; a HEAD with the form in its body is no way round its token."""
    one = _from(client.application, "127.0.0.1")
    for method in ("HEAD", "OPTIONS") * 8:
        assert one.open("/login", method=method).status_code == 200
    answer = one.open("/login", method="HEAD", data={"login": "noc", "password": PASSWORD})
    assert (answer.status_code, COOKIE in str(answer.headers)) == (200, False)
    assert _log_in(one, "nobody", "some password").status_code == 401, "the first one, not the twelfth"
    assert one.head("/calls").status_code == 302


HOSTILE = ("/%00", "/calls?x=%00", "/assets/%00", "/login?next=http://[", "/%2f%5b", "/?next=%ff%fe", "/%ff")


@pytest.mark.servers
def test_hostile_addresses_end_in_no_error_of_ours(client: FlaskClient) -> None:
    for _ in range(2):  # by a stranger, then by a user
        for path in HOSTILE:
            for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT"):
                assert client.open(path, method=method).status_code < 500, (path, method)
        _log_in(client)


@pytest.mark.servers
def test_a_route_without_a_row_is_nobodys(client: FlaskClient) -> None:
    _log_in(client)
    assert client.get("/").status_code == 200
    assert client.get("/forgotten").status_code == 403


@pytest.mark.servers
def test_the_database_away_is_said_and_nobody_gets_in(client: FlaskClient, clock: Clock) -> None:
    _log_in(client)
    away = _server(_settings("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"), clock).test_client()
    away.set_cookie(COOKIE, "anything")
    assert away.get("/").status_code == 503
    answer = _log_in(away)
    assert answer.status_code == 503
    assert "does not answer" in answer.text
