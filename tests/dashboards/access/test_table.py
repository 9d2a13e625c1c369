"""Who may do what: every role against every page, callback and path of the API, on a real PostgreSQL.

What each role may is written here once more, by hand: a row of the table that is changed by mistake is seen. What is
registered without a row, or what no row lets anybody do, is a failure.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from api_client import NOW, PASSWORD, Api
from callback_bodies import spoiled, valid_body
from check_world import load_check_world
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboards.access import users
from dashboards.access.api_tokens import make_token
from dashboards.access.table import ENDPOINTS, OPEN_ENDPOINTS, ROLES, SEE, SHELL, TABLE, allowed, enters
from dashboards.app.auth import COOKIE
from dashboards.app.shell import page_of
from dashboards.topics.registry import pages
from runtime.connections import Postgres

FIGURES = {"shell", "account", "account/change", "wall", "controls", "audit", "reachability"}
CALLS = FIGURES | {"calls", "call", "check-routing", "try-translation", "decisions", "edge-refusals"}
NOC = CALLS | {"controls/release", "check-routing/look up"}
MAY: Mapping[str, set[str]] = {
    "administrator": NOC | {"users", "users/change"},
    "noc": NOC,
    "billing": CALLS,
    "analyst": CALLS,
    "viewer": FIGURES,
    "company": set(),
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def name(area: str, act: str) -> str:
    return area if act == SEE else f"{area}/{act}"


def test_the_table_says_what_is_meant() -> None:
    assert set(MAY) == set(ROLES)
    for role in ROLES:
        assert {name(*row) for row in TABLE if allowed(role, *row)} == MAY[role], role
    assert all(roles <= set(ROLES) for roles in TABLE.values())


@pytest.mark.parametrize("role", [*ROLES, "", "root", "Administrator"])
def test_what_has_no_row_is_nobodys(role: str) -> None:
    assert not allowed(role, "invoices")
    assert not allowed(role, "wall", "delete")
    assert not enters(role, "a_new_route", ENDPOINTS)
    assert role in ROLES or not any(allowed(role, *row) for row in TABLE)


class Site:
    """The dashboards with a user, a session and a token of each role."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.web = api.web
        self.sessions: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        with psycopg.connect(api.dsn) as connection:
            company = connection.execute("SELECT company_id FROM companies ORDER BY 1 LIMIT 1").fetchone()
            assert company is not None
            for role in ROLES:
                login = f"a.{role}"
                users.add_user(connection, login, PASSWORD, role, company[0] if role == "company" else None)
                user = users.check_login(connection, login, PASSWORD)
                assert user is not None
                self.sessions[role] = users.open_session(connection, user, "127.0.0.1", NOW, 1)
                self.tokens[role] = make_token(connection, login, "t", NOW, 1)

    def client(self, role: str) -> FlaskClient:
        """A browser with the role's cookie."""
        client = self.web.server.test_client()
        client.set_cookie(COOKIE, self.sessions[role])
        return client


@pytest.fixture
def site(postgres: Postgres, tmp_path: Path, cheap_hashes: None) -> Site:
    load_check_world(postgres.dsn.get_secret_value(), tmp_path)
    return Site(Api(postgres, tmp_path, per_minute=60_000))


@pytest.mark.servers
def test_every_route_page_and_callback_has_a_row(site: Site) -> None:
    registered = {rule.endpoint for rule in site.web.server.url_map.iter_rules()}
    assert registered == OPEN_ENDPOINTS | set(site.web.endpoints)
    callbacks = site.web.dash.callback_map
    assert site.web.rules.keys() == callbacks.keys()
    used = {*site.web.endpoints.values(), *site.web.rules.values(), *((page.area, SEE) for page in pages())}
    assert used | {("check-routing", "look up")} == set(TABLE), "a row that nothing uses, or a use without a row"
    assert {page.area for page in pages()} <= {area for area, _ in site.web.rules.values()}


@pytest.mark.servers
def test_pages_and_their_callbacks(site: Site) -> None:
    for role in ROLES:
        _try_pages(site, role)


def _try_pages(site: Site, role: str) -> None:
    client, callbacks = site.client(role), site.web.dash.callback_map
    entered = SHELL in MAY[role]
    show = next(key for key in callbacks if "page.children" in key)
    for page in pages():
        path = f"{page.path}{'sim1-1795000000-1795000001.1' if page.path == '/call/' else ''}"
        assert client.get(path).status_code == (200 if entered else 302), (role, path)
        body = valid_body(callbacks[show], show)
        body["inputs"][0]["value"] = path
        told = client.post("/_dash-update-component", json=body)
        assert told.status_code == (200 if entered else 401), (role, path)
        assert not entered or ("may not see this page" in told.text) == (page.area not in MAY[role]), (role, path)
    for key, callback in callbacks.items():
        told = client.post("/_dash-update-component", json=valid_body(callback, key))
        may = name(*site.web.rules[key]) in MAY[role]
        if not entered:
            assert told.status_code == 401
        elif "callback" not in callback:
            assert told.status_code == 400
        else:
            assert told.status_code in ((200, 204) if may else (403,)), (role, key, told.text)
    if entered:
        header = client.get("/_dash-layout").text.replace("\\u002f", "/")
        seen = {page.path for page in pages() if (page.order or page.area == "account") and page.area in MAY[role]}
        assert set(re.findall(r'"href":\s*"(/[a-z-]*)"', header)) == seen, "the header shows what may be seen alone"


@pytest.mark.servers
def test_paths_of_the_api_by_every_method(site: Site) -> None:
    rules: dict[str, dict[str, str]] = {}
    for rule in site.web.server.url_map.iter_rules():
        if rule.rule.startswith("/api/"):
            for method in rule.methods or ():
                rules.setdefault(rule.rule, {})[method] = rule.endpoint
    assert len(rules) > 9
    for role in ROLES:
        for path, endpoints in rules.items():
            for method in METHODS:
                _try_path(site, role, path, method, endpoints.get(method))


def _try_path(site: Site, role: str, path: str, method: str, endpoint: str | None) -> None:
    there = path.replace("<call_id>", "sim1-1795000000-1795000001.1").replace("<login>", "nobody")
    headers = {"Authorization": f"Bearer {site.tokens[role]}"}
    answer = site.web.server.test_client().open(there, method=method, headers=headers)
    if SHELL not in MAY[role]:
        expected: tuple[int, ...] = (403,)
    elif endpoint is None:
        expected = (405,)
    else:
        expected = (200, 404, 422, 503) if name(*site.web.endpoints[endpoint]) in MAY[role] else (403,)
    assert answer.status_code in expected, (role, method, path, answer.text)


@pytest.mark.servers
def test_a_look_up_is_for_those_who_may_spend(site: Site) -> None:
    client = site.web.server.test_client()
    for role in ROLES:
        headers = {"Authorization": f"Bearer {site.tokens[role]}"}
        asked = {"from": "acme", "callee": "442071234567", "look_up": "true"}
        answer = client.get("/api/v1/check-routing", query_string=asked, headers=headers)
        assert (answer.status_code == 200) == ("check-routing/look up" in MAY[role]), role
    callbacks = site.web.dash.callback_map
    key = next(key for key in callbacks if "check-answer.children" in key)
    body = valid_body(callbacks[key], key, clicked="check-asked")
    body["inputs"][0]["value"], body["state"][0]["value"] = "?from=acme&callee=442071234567", ["look_up"]
    told = {role: site.client(role).post("/_dash-update-component", json=body).text for role in ("noc", "analyst")}
    assert "Only administrator, noc may ask look-ups" in told["analyst"]
    assert "may ask look-ups" not in told["noc"]


@pytest.mark.servers
def test_a_new_role_counts_from_the_next_request_on(site: Site) -> None:
    client = site.client("noc")
    headers = {"Authorization": f"Bearer {site.tokens['noc']}"}
    key = next(key for key, rule in site.web.rules.items() if rule == ("controls", "release"))
    body = valid_body(site.web.dash.callback_map[key], key)

    def answers() -> tuple[int, int]:
        release = client.post("/_dash-update-component", json=body).status_code
        return release, client.get("/api/v1/edge-refusals", headers=headers).status_code

    assert answers() == (200, 200)
    with psycopg.connect(site.api.dsn) as connection:
        connection.execute("UPDATE users SET role = 'viewer' WHERE login = 'a.noc'")
    assert answers() == (403, 403)
    with psycopg.connect(site.api.dsn) as connection:
        connection.execute("UPDATE users SET enabled = false WHERE login = 'a.noc'")
    assert answers() == (401, 401)


@pytest.mark.servers
def test_spoiled_bodies_of_callbacks_are_refused_and_never_an_error(site: Site, whole: bool) -> None:
    client, callbacks = site.client("administrator"), site.web.dash.callback_map
    keys = sorted(key for key, one in callbacks.items() if "callback" in one)
    counted: dict[int, int] = {}

    @settings(max_examples=2_000 if whole else 100, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def spoil(data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(keys))
        body = data.draw(spoiled(valid_body(callbacks[key], key)))
        told = client.post("/_dash-update-component", data=json.dumps(body), content_type="application/json")
        assert told.status_code in (200, 204, 400), (told.status_code, body)
        counted[told.status_code] = counted.get(told.status_code, 0) + 1

    spoil()
    assert counted[400] > 20


@pytest.mark.servers
def test_what_is_no_body_of_a_callback(site: Site) -> None:
    client = site.client("noc")
    for raw in (b"", b"x", b"[]", b"{}", b"\xff", b"[" * 50_000, b'{"output": null}', b'{"output": "\\u0000"}'):
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            assert client.post("/_dash-update-component", data=raw, content_type=kind).status_code == 400, raw


@pytest.mark.servers
def test_the_bare_folder_of_assets_is_like_any_unknown_path(site: Site) -> None:
    stranger: Any = site.web.server.test_client()
    for path in ("/assets/", "/assets", "/nowhere", "/assetsx"):
        answer = stranger.get(path)
        assert (answer.status_code, answer.location.split("?")[0]) == (302, "/login"), path
    assert stranger.get("/assets/style.css", buffered=True).status_code == 200
    assert stranger.get("/assets/nowhere.css").status_code == 404
    assert stranger.post("/assets/").status_code == 401
    for path in ("/_dash-component-suites/x/y.js", "/_dash-component-suites/dash/nowhere.js"):
        assert site.client("noc").get(path).status_code == 404


def test_paths_and_pages() -> None:
    found = page_of("/call/a/b")
    assert found is not None
    assert (found[0].area, found[1]) == ("call", "a/b")
    assert page_of("/call") is None
    assert page_of("/calls/") is None
    assert page_of("//") is None
