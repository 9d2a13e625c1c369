"""Login, wall, active calls and one call in a real browser, with numbers counted beside."""

import json
import time
from collections.abc import Callable, Iterable
from urllib.request import urlopen

import pytest
from browser_site import LOGIN, PASSWORD, Site, log_in
from made_traffic import MadeCall, Try, insert, make_call, make_live, make_traffic
from playwright.sync_api import Page, expect

from dashboards.kit import formats
from runtime.clickhouse import connect
from schemas.events import CallEnded

pytestmark = [pytest.mark.browser, pytest.mark.servers]
SECOND_MS = 20_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _card(page: Page, title: str) -> str:
    """What a card says, without its name."""
    found = page.locator(".card", has=page.locator(".card-title", has_text=title)).locator(".card-value")
    return found.inner_text().replace(formats.THIN, " ")


def _cells(page: Page, grid: str, row: str) -> dict[str, str]:
    """A row of a grid by its id: column → text."""
    cells = page.locator(f'{grid} .ag-row[row-id="{row}"] .ag-cell')
    headers = page.locator(f"{grid} .ag-header-cell")
    # Headers and a row's cells are drawn one after the other, and anew with new figures: as many, and the same a moment
    # later.
    deadline, before = time.monotonic() + SECOND_MS / 1000, 0
    while not (before and headers.count() == cells.count() == before):
        assert time.monotonic() < deadline, (row, before, headers.count(), cells.count())
        before = cells.count()
        page.wait_for_timeout(100)
    pairs: list[list[str]] = cells.evaluate_all("cells => cells.map(c => [c.getAttribute('col-id'), c.innerText])")
    return {name: text.strip() for name, text in pairs}


def test_the_door(site: Site, open_page: Callable[[], Page]) -> None:
    page = open_page()
    page.goto(f"{site.address}/calls")
    assert page.url == f"{site.address}/login?next=/calls"
    page.fill("#login", LOGIN)
    page.fill("#password", "wrong password")
    page.click("button[type=submit]")
    expect(page.locator("[role=alert]")).to_contain_text("Login or password is wrong.")
    page.fill("#login", LOGIN)
    page.fill("#password", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("#calls-grid")
    assert page.url.startswith(f"{site.address}/calls")
    expect(page).to_have_title("Active calls · Streamco")
    page.click("text=Log out")
    page.wait_for_selector("#password")
    page.goto(f"{site.address}/")
    assert "/login" in page.url


def test_headers_keep_the_page_to_itself(site: Site) -> None:
    with urlopen(f"{site.address}/login") as answer:  # noqa: S310 - our own address
        headers = answer.headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe-inline" not in headers["Content-Security-Policy"].split("script-src")[1].split(";")[0]
    assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
    assert headers["Cache-Control"] == "no-store"


def _money(calls: Iterable[MadeCall], side: str) -> int:
    return sum(leg.amount_micros for call in calls for leg in call.legs if leg.side == side)


def test_the_wall_shows_what_was_inserted(site: Site, page: Page) -> None:
    # A failed first leg may have ended minutes before its call: so the window is wider than the traffic.
    page.goto(f"{site.address}/?window=15")
    now_ms = _now_ms()
    recent = make_traffic(1, now_ms - 200_000, now_ms - 20_000, 300)
    old = make_traffic(2, now_ms - 3_600_000 - 200_000, now_ms - 3_600_000 - 60_000, 200)
    insert(site.clickhouse, [*recent, *old])
    site.show(make_live(1, now_ms - 9_000, answered_ms=now_ms - 5_000), make_live(2, now_ms - 3_000))
    site.heartbeat()
    inbound = [call.legs[0].ended for call in recent]
    calls = [one for one in inbound if isinstance(one, CallEnded) and not one.reason]
    answered = [one for one in calls if one.answered_at_ms is not None]
    revenue, cost = _money(recent, "receivable"), _money(recent, "payable")

    expect(page.locator(".card", has_text="ASR")).to_contain_text(f"{len(calls):,} calls", timeout=20_000)
    assert _card(page, "ASR") == formats.ratio(len(answered), len(calls)).replace(formats.THIN, " ")
    talk_ms = sum(one.duration_ms for one in answered)
    assert _card(page, "ACD") == formats.duration(talk_ms / 1000 / len(answered))
    assert _card(page, "Minutes") == f"{talk_ms / 60_000:,.0f}"
    assert _card(page, "Revenue") == formats.money(revenue)
    assert _card(page, "Cost") == formats.money(cost)
    assert _card(page, "Margin") == formats.money(revenue - cost)
    assert _card(page, "Concurrent") == "2"
    pdd = [one.pdd_ms for one in calls if one.pdd_ms is not None]
    assert _card(page, "PDD") == f"{sum(pdd) / len(pdd) / 1000:.1f} s"

    for customer_id, name in {1: "Alba Telecom", 2: "Borealis Voice", 3: "Cedar Networks"}.items():
        own = [c for c in recent if c.decision.customer_company_id == customer_id]
        routed = [c for c in own if not c.decision.reason]
        row = _cells(page, "#wall-customer", name)
        assert row["attempts"] == str(len(routed))
        assert row["refused"] == str(len(own) - len(routed))
        assert row["money"] == formats.money(_money(own, "receivable"))
    legs = [leg for call in recent for leg in call.legs if leg.side == "payable" and leg.account_id == 11]
    row = _cells(page, "#wall-vendor", "Danube Carrier")
    assert row["attempts"] == str(len(legs))
    assert row["asr"] == str(formats.percent(sum(leg.ended.answered_at_ms is not None for leg in legs), len(legs)))
    expect(page.locator(".live")).to_contain_text("live")


def test_the_wall_without_any_traffic_says_so(site: Site, page: Page) -> None:
    site.heartbeat()
    expect(page.locator(".words")).to_contain_text("No call has ended in this window", timeout=SECOND_MS)
    assert "NaN" not in page.inner_text("body")
    expect(page.locator("#wall-vendor")).to_contain_text("No traffic has ended in this window yet.")


def test_a_fall_is_the_first_thing_said(site: Site, page: Page) -> None:
    now_ms = _now_ms()
    before = [make_call(n, now_ms - 3_600_000 - 120_000, [Try(12, talk_ms=9_000)]) for n in range(1, 60)]
    failed = [Try(12, "CONGESTION", 34, 503, pdd_ms=None), Try(11, talk_ms=5_000)]
    insert(site.clickhouse, [*before, *[make_call(n, now_ms - 60_000, failed) for n in range(101, 160)]])
    words = page.locator(".words .word.red")
    expect(words.first).to_contain_text("Estuary Tel: ASR 0.0 % of 59, ▼ 100 points in 1 h", timeout=SECOND_MS)
    first = page.locator('#wall-vendor .ag-row[row-index="0"]')
    expect(first).to_contain_text("Estuary Tel")
    page.click("text=15 min")
    expect(page).to_have_url(f"{site.address}/?window=15")
    page.reload()
    expect(page.locator('.choices input[value="15"]')).to_be_checked(timeout=SECOND_MS)


def test_a_live_call_appears_moves_on_and_vanishes(site: Site, page: Page) -> None:
    now_ms = _now_ms()
    site.heartbeat()
    page.click("text=Active calls")
    expect(page.locator("#calls-grid")).to_contain_text("No call is up.", timeout=SECOND_MS)
    ringing = make_live(1, now_ms - 4_000, hunted=(12, 11), ringing=True, customer=2)
    other = make_live(2, now_ms - 64_000, answered_ms=now_ms - 61_000, customer=3, destination=3, hunted=(13,))
    site.show(ringing, other)
    call_id = ringing.call.call_id
    expect(page.locator(f'#calls-grid .ag-row[row-id="{call_id}"]').first).to_be_visible(timeout=SECOND_MS)
    row = _cells(page, "#calls-grid", call_id)
    assert (row["state"], row["customer"], row["vendor"], row["leg"]) == (
        "ringing",
        "Borealis Voice",
        "Danube Carrier",
        "2",
    )
    assert (row["caller"], row["callee"], row["cost"]) == ("35929990001", "8801712345", formats.UNKNOWN)
    talking = _cells(page, "#calls-grid", other.call.call_id)
    assert talking["state"] == "talking"
    assert float(talking["cost"]) > 0.02
    expect(page.locator(".words")).to_contain_text("2 calls: 1 talking, 1 ringing, 0 setting up")

    site.show(make_live(1, now_ms - 4_000, hunted=(12, 11), customer=2, answered_ms=_now_ms() - 1_000))
    cell = page.locator(f'#calls-grid .ag-row[row-id="{call_id}"] [col-id=state]')
    expect(cell).to_have_text("talking", timeout=SECOND_MS)

    page.fill("#calls-filter", "Cedar")
    expect(page.locator(f'#calls-grid .ag-row[row-id="{call_id}"]')).to_have_count(0, timeout=SECOND_MS)
    expect(page).to_have_url(f"{site.address}/calls?find=Cedar")
    page.fill("#calls-filter", "")
    expect(cell).to_be_visible(timeout=SECOND_MS)

    site.take_away(ringing)
    expect(page.locator(f'#calls-grid .ag-row[row-id="{call_id}"]')).to_have_count(0, timeout=SECOND_MS)
    expect(page.locator(".words")).to_contain_text("1 calls")


def test_a_call_from_the_grid_to_its_legs_and_candidates(site: Site, page: Page) -> None:
    now_ms = _now_ms()
    site.heartbeat()
    ended = make_call(5, now_ms - 70_000, [Try(12, "CONGESTION", 34, 503, pdd_ms=None), Try(11, talk_ms=61_000)])
    live = make_live(5, now_ms - 70_000, hunted=(12, 11), answered_ms=now_ms - 61_000)
    assert live.call.call_id == ended.call_id
    site.show(live)
    page.click("text=Active calls")
    page.locator("#calls-grid .cell-link").first.click(timeout=SECOND_MS)
    expect(page).to_have_url(f"{site.address}/call/{ended.call_id}")
    expect(page.locator(".call-head")).to_contain_text("leg 2 by Danube Carrier", timeout=SECOND_MS)
    insert(site.clickhouse, [ended])
    expect(page.locator(".call-head")).to_contain_text(
        "Alba Telecom → Bangladesh Mobile: 1:01 by Danube Carrier, after 2 legs", timeout=SECOND_MS
    )
    for leg in ended.legs:
        row = _cells(page, "#call-legs", leg.leg_id)
        assert row["amount"].lstrip("−") == formats.money(leg.amount_micros, decimals=6)
        assert row["billed"] == str(leg.billed_seconds)
    assert "503" in _cells(page, "#call-legs", f"{ended.call_id}/1")["outcome"]
    candidates = [_cells(page, "#call-candidates", str(n)) for n in range(3)]
    assert [(one["vendor"], one["verdict"], one["position"]) for one in candidates] == [
        ("danube", "TAKEN", "2"),
        ("estuary", "TAKEN", "1"),
        ("fjord", "NO PROFIT", formats.UNKNOWN),
    ]
    assert candidates[0]["why"].startswith("answered")
    assert "SIP 503" in candidates[1]["why"]
    assert "profit" in candidates[2]["why"]
    expect(page.locator(".lane")).to_have_count(3)


def test_a_refused_call_and_what_is_no_call(site: Site, page: Page) -> None:
    refused = make_call(6, _now_ms() - 5_000, [], reason="NO BALANCE")
    insert(site.clickhouse, [refused])
    page.fill("#find", refused.call_id)
    page.press("#find", "Enter")
    expect(page.locator(".call-head")).to_contain_text("refused, NO BALANCE", timeout=SECOND_MS)
    page.fill("#find", "<b>x</b>")
    page.press("#find", "Enter")
    expect(page.locator("#find-error")).to_have_text("not a call's id", timeout=SECOND_MS)
    page.goto(f"{site.address}/call/sim1-1795000000-1795000000.9")
    expect(page.locator("#call-body")).to_contain_text("Nothing is known of this call", timeout=SECOND_MS)
    page.goto(f"{site.address}/nowhere")
    expect(page.locator("#page")).to_contain_text("There is no such page.", timeout=SECOND_MS)


def test_dark_and_light_are_kept(page: Page) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.wait_for_selector(".card")
    dark = background()
    page.click("#toggle")
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", "light")
    light = background()
    assert light != dark
    page.reload()
    page.wait_for_selector(".card", timeout=SECOND_MS)
    assert background() == light
    assert json.loads(page.evaluate("localStorage.getItem('scheme')")) == "light"
    page.click("#toggle")
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    assert background() == dark


def test_a_source_that_is_away_is_said_and_the_page_lives(site: Site, page: Page, errors: list[str]) -> None:
    now_ms = _now_ms()
    insert(site.clickhouse, make_traffic(1, now_ms - 200_000, now_ms - 20_000, 60))
    expect(page.locator(".card", has_text="Minutes")).to_contain_text("calls refused", timeout=SECOND_MS)
    with connect(site.clickhouse) as client:
        client.command("DROP VIEW judged_legs")
    expect(page.locator(".words .word.red")).to_contain_text("the figures below are old", timeout=SECOND_MS)
    expect(page.locator(".card")).to_have_count(10)
    site.process.terminate()
    site.process.join(15)
    expect(page.locator("#stale")).to_contain_text("no answer since", timeout=40_000)
    errors.clear()  # the browser says that nobody answers


def test_a_session_that_is_over_leads_to_the_login(site: Site, open_page: Callable[[], Page]) -> None:
    page = open_page()
    log_in(page, site, "/calls")
    page.context.clear_cookies()
    page.reload()
    page.wait_for_selector("#password")
    assert page.url.endswith("/login?next=/calls")
