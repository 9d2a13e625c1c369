"""Users in a real browser: added with a password that opens, disabled at the second press, each act with its person."""

import os
from pathlib import Path

import psycopg
import pytest
from browser_site import LOGIN, Site
from playwright.sync_api import Page, expect

from dashboards.access.users import check_login

pytestmark = [pytest.mark.browser, pytest.mark.servers]
SECOND_MS = 20_000


def _photograph(page: Page, name: str) -> None:
    """With STREAMCO_TEST_PICTURES=FOLDER: in the sizes that it is looked at in."""
    if folder := os.environ.get("STREAMCO_TEST_PICTURES"):
        for width, height in ((1920, 1080), (1366, 768), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(800)
            page.screenshot(path=Path(folder) / f"{name}-{width}.png")
        page.set_viewport_size({"width": 1440, "height": 900})


def test_a_user_is_added_and_disabled_by_an_administrator(site: Site, page: Page) -> None:
    expect(page.locator("#nav-audit")).to_be_visible()
    expect(page.locator("#nav-users")).to_have_count(0)
    with psycopg.connect(site.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("UPDATE users SET role = 'administrator'")
        page.goto(f"{site.address}/users")
        expect(page.locator("#users-all .ag-row")).to_have_count(1, timeout=SECOND_MS)
        page.fill("#users-login", "Nora.Petrova")
        page.click("label:has-text('analyst')")
        page.click("#users-add")
        expect(page.locator("#users-said")).to_contain_text("nora.petrova was added", timeout=SECOND_MS)
        password = page.locator("#users-said code").inner_text()
        assert check_login(connection, "nora.petrova", password) is not None
        expect(page.locator("#users-all .ag-row")).to_have_count(2, timeout=SECOND_MS)
        _photograph(page, "users")
        page.click('#users-all .ag-row[row-id="nora.petrova"] .ag-checkbox-input')
        page.click("#users-disable")
        expect(page.locator("#users-said")).to_contain_text("0 open sessions and 0 tokens end. Press again to do it.")
        assert check_login(connection, "nora.petrova", password) is not None
        page.click("#users-disable")
        expect(page.locator("#users-said")).to_contain_text("nora.petrova is disabled", timeout=SECOND_MS)
        assert check_login(connection, "nora.petrova", password) is None
        expect(page.locator("#users-acts .ag-row")).to_have_count(2, timeout=SECOND_MS)
        expect(page.locator("#users-acts")).to_contain_text("users: disable")
        found = connection.execute("SELECT person, via, act FROM user_acts ORDER BY act_id").fetchall()
    assert found == [(LOGIN, "page", "add"), (LOGIN, "page", "disable")]
    page.click('#users-all .ag-row[row-id="noc"] .ag-checkbox-input')
    for _ in range(2):
        page.click("#users-disable")
        page.wait_for_timeout(500)
    expect(page.locator("#users-said")).to_contain_text("the last administrator cannot be disabled", timeout=SECOND_MS)
