"""The controllers in a real browser: what is held, on the wall and on the page, and a release by name and reason."""

import os
import re
from pathlib import Path

import psycopg
import pytest
from browser_site import Site
from made_legs import insert_peers
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.servers]
SECOND_MS = 20_000


def _photograph(page: Page, name: str) -> None:
    """With STREAMCO_TEST_PICTURES=FOLDER: both schemes, for people to look at."""
    if folder := os.environ.get("STREAMCO_TEST_PICTURES"):
        for scheme in ("dark", "light"):
            page.screenshot(path=Path(folder) / f"{name}-{scheme}.png")
            page.click("#toggle")
            page.wait_for_timeout(500)


def test_what_is_held_is_on_the_wall_and_is_released_by_name(site: Site, page: Page) -> None:
    dsn = site.postgres.dsn.get_secret_value()
    insert_peers(dsn)
    with psycopg.connect(dsn) as connection:
        peers = dict(connection.execute("SELECT name, peer_id FROM peers").fetchall())
        vendors = [peers[name] for name in ("danube", "estuary", "fjord")]
        connection.execute(
            "INSERT INTO termination_controls (name, metric, threshold, release_minutes) VALUES"
            " ('Bad ASR', 'asr', 20, 30), ('False answers', 'fas', 30, NULL)"
        )
        connection.execute(
            "INSERT INTO termination_controls (name, metric, threshold, scope, code_prefix, action)"
            " VALUES ('Slow to Bangladesh', 'pdd', 8, 'code', '880', 'demote')"
        )
        connection.execute(
            "INSERT INTO origination_controls (name, measure, threshold, window_seconds, action, cap_concurrent)"
            " VALUES ('Surge', 'cps', 40, 60, 'cap', 100)"
        )
        row = (
            "INSERT INTO control_actions (action_id, kind, control_id, control, peer_id, code, action, cap_concurrent,"
            " reason, since, until, released_at, released_by, released_why)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now() - %s * interval '1 minute', {}, {}, %s, %s)"
        )
        held = row.format("now() + interval '22 minutes'", "NULL").encode()
        for values in (
            ("a", "termination", 1, "Bad ASR", vendors[0], "", "block", None,
             "ASR 4.1 % of 212 legs in 300 s, below 20 %, in 3 checks on end", 8, None, None),
            ("b", "termination", 3, "Slow to Bangladesh", vendors[1], "88017", "demote", None,
             "PDD 9.4 s of 61 legs that rang in 300 s, above 8 s, in 3 checks on end", 3, None, None),
            ("c", "origination", 1, "Surge", peers["alba"], "", "cap", 100,
             "63.2 calls a second in 60 s, above 40", 1, None, None),
        ):  # fmt: skip
            connection.execute(held, values)
        connection.execute(
            row.format("now() - interval '30 minutes'", "now() - interval '30 minutes'").encode(),
            ("d", "termination", 1, "Bad ASR", vendors[2], "", "block", None,
             "ASR 11 % of 90 legs in 300 s, below 20 %, in 3 checks on end", 60, "time", None),
        )  # fmt: skip
    site.heartbeat()
    expect(page.locator(".words .word.red").first).to_contain_text("Control: danube is blocked", timeout=SECOND_MS)
    page.click("#nav-controls")
    expect(page.locator("#controls-held .ag-row")).to_have_count(3, timeout=SECOND_MS)
    expect(page.locator("#controls-all .ag-row")).to_have_count(4)
    expect(page.locator('#controls-held .ag-row[row-id="a"]')).to_contain_text("ASR 4.1 % of 212 legs")
    expect(page.locator("#controls-why")).to_be_visible()
    page.wait_for_timeout(1_000)
    _photograph(page, "controls")
    page.click("#controls-release")
    expect(page.locator("#controls-said")).to_have_text("choose a row first", timeout=SECOND_MS)
    page.click('#controls-held .ag-row[row-id="a"] .ag-checkbox-input')
    expect(page.locator('#controls-held .ag-row[row-id="a"]')).to_have_class(re.compile("ag-row-selected"))
    page.wait_for_timeout(500)  # the grid tells of it a moment later; a person takes longer to write why
    page.fill("#controls-why", "the vendor has mended its trunk")
    page.click("#controls-release")
    expect(page.locator("#controls-said")).to_have_text("danube was released", timeout=SECOND_MS)
    expect(page.locator("#controls-held .ag-row")).to_have_count(2, timeout=SECOND_MS)
    expect(page.locator('#controls-released .ag-row[row-id="a"]')).to_contain_text("the vendor has mended its trunk")
    with psycopg.connect(dsn) as connection:
        released = connection.execute("SELECT released_by FROM control_actions WHERE action_id = 'a'").fetchone()
    assert released == ("noc",)
