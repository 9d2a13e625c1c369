"""The audit in a real browser: green, then red with the leg and a way to its call, on the page and on the wall."""

import os
import re
import time
from pathlib import Path

import psycopg
import pytest
from browser_site import Site
from made_traffic import insert, make_traffic
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.servers]
SECOND_MS = 20_000


def _sql(site: Site, *statements: str) -> None:
    with psycopg.connect(site.postgres.dsn.get_secret_value()) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _runs(site: Site, bad: int) -> None:
    """An hour of runs, the newest `bad` of them with differences."""
    _sql(
        site,
        "DELETE FROM audit_runs",
        "INSERT INTO audit_runs (at, seconds, ok, rated, posted, compared, waiting, differences)"
        " SELECT now() - number * interval '1 minute' + interval '55 s', 0.31 + number % 7 * 0.02,"
        f" number > {bad}, 40000, 40000, 41213 + number * 7 % 300, 213, CASE WHEN number <= {bad} THEN 3 ELSE 0 END"
        " FROM generate_series(1, 60) AS of (number)",
    )


def _photograph(page: Page, name: str) -> None:
    """With STREAMCO_TEST_PICTURES=FOLDER: both schemes, for people to look at."""
    if folder := os.environ.get("STREAMCO_TEST_PICTURES"):
        for scheme in ("dark", "light"):
            page.screenshot(path=Path(folder) / f"{name}-{scheme}.png")
            page.click("#toggle")
            page.wait_for_timeout(500)


def test_green_then_red_with_the_leg_and_back_on_the_wall(site: Site, page: Page) -> None:
    now_ms = time.time_ns() // 1_000_000
    calls = make_traffic(1, now_ms - 200_000, now_ms - 20_000, 60)
    insert(site.clickhouse, calls)
    leg_id = f"{calls[0].decision.call_id}/0"
    _runs(site, bad=0)
    _sql(
        site,
        "INSERT INTO audit_journals VALUES ('ast1', now(), 0), ('ast2', now() - interval '9 minutes', 7300000)",
        "INSERT INTO journal_segments (node, file, name, bytes, tail, legs, leg_hash, undecodable, first_at, sealed_at,"
        " posted_at, deleted_at) SELECT 'ast' || node, number::text, 'n', 512000000, '', 912345, 1, 0,"
        " now() - number * interval '9 hours', now(), CASE WHEN number > 1 THEN now() END,"
        " CASE WHEN number > 14 THEN now() END"
        " FROM generate_series(1, 20) AS of (number), generate_series(1, 2) AS n (node)",
        "INSERT INTO audit_hours SELECT now() - number * interval '1 hour', 'ast' || node, 228000, 5, 1, now(),"
        " number > 0 FROM generate_series(0, 79) AS of (number), generate_series(1, 2) AS n (node)",
    )
    site.heartbeat()
    page.click("#nav-audit")
    expect(page.locator(".words .word.normal")).to_contain_text("Equal: every leg is rated", timeout=SECOND_MS)
    expect(page.locator(".run")).to_have_count(60)
    expect(page.locator("#audit-open")).to_contain_text("Nothing differs.")
    row = page.locator('#audit-journals .ag-row[row-id="ast1"]')
    expect(row).to_contain_text("18,246,900")
    page.wait_for_timeout(1_000)
    _photograph(page, "audit-green")

    _runs(site, bad=4)
    _sql(
        site,
        "INSERT INTO audit_differences (kind, subject, detail, since, last_seen_at)"
        f" VALUES ('rated leg not in the ledger', '{leg_id}', 'rated 52000 for account 1001',"
        "         now() - interval '200 s', now()),"
        "        ('balance is not the sum of its entries', 'account 1004', '-1250000 -1249999',"
        "         now() - interval '90 s', now()),"
        "        ('ledger leg without a journal line', 'ast1-1795609861-1795609900.12/2', '',"
        "         now() - interval '3 days', now())",
        "INSERT INTO audit_differences (kind, subject, since, last_seen_at, resolved_at)"
        " VALUES ('rated leg without CDR', 'ast1-1795609861-1795609900.99/1',"
        "         now() - interval '2 hours', now(), now() - interval '1 hour')",
    )
    red = page.locator(".words .word.red")
    expect(red).to_contain_text("3 differences since", timeout=SECOND_MS)
    expect(page.locator(".run.red")).to_have_count(4)
    expect(page.locator("#audit-open .ag-row")).to_have_count(3)
    since = page.locator('#audit-open .ag-cell[col-id="since"]').all_inner_texts()
    assert all(re.fullmatch(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d", text) for text in since), since
    assert page.locator('#audit-open .ag-cell[col-id="age"]').first.inner_text() == "3\u2009d 0\u2009h"
    expect(page.locator("#audit-mended .ag-row")).to_have_count(1)
    page.wait_for_timeout(500)
    _photograph(page, "audit-red")
    page.click("#nav-wall")
    expect(page.locator(".words .word.red")).to_contain_text("Audit: 3 differences since", timeout=SECOND_MS)
    page.wait_for_selector(".card", timeout=SECOND_MS)
    _photograph(page, "wall-red")
    page.click(".words .word.red a")
    page.click(f"#audit-open a:has-text('{leg_id}')")
    page.wait_for_selector(".lanes, .call-head", timeout=SECOND_MS)
    assert page.url.endswith(f"/call/{calls[0].decision.call_id}")


def test_no_audit_for_minutes_is_red_and_none_at_all_is_said(site: Site, page: Page) -> None:
    site.heartbeat()
    expect(page.locator(".words")).to_contain_text("Audit: The audit has not run yet", timeout=SECOND_MS)
    _runs(site, bad=0)
    _sql(site, "UPDATE audit_runs SET at = at - interval '4 minutes'")
    page.click("#nav-audit")
    expect(page.locator(".words .word.red")).to_contain_text("No audit since", timeout=SECOND_MS)
