"""Check routing in a real browser: asked by the form, by the address, and from a call's page."""

from pathlib import Path

import psycopg
import pytest
from browser_site import Site, load_beside_names, shown
from made_traffic import Try, insert, make_call
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.servers]
NOW_MS = 1_795_000_000_000
expect.set_options(timeout=30_000)  # a moment's snapshot is built by a process of its own


def test_the_form_answers_in_words_and_the_address_keeps_the_question(site: Site, page: Page, tmp_path: Path) -> None:
    load_beside_names(site, tmp_path)
    page.click("text=Check routing")
    expect(page.locator("#check-answer")).to_contain_text("No call is made")
    shown(page, "empty")
    page.fill("#check-from", "acme")
    page.fill("#check-callee", "+447700900123")
    page.fill("#check-caller", "12125550100")
    page.click("#check-go")
    answer = page.locator("#check-answer")
    expect(answer).to_contain_text(
        "Goes to vendor-a at 0.020000 USD. 2 vendors not taken: 1 blocked code, 1 no profit."
    )
    expect(answer).to_contain_text("Sold at 0.030000 USD a minute (code 447), route class Standard.")
    expect(page.locator("#call-candidates .ag-center-cols-container .ag-row")).to_have_count(3)
    expect(page.locator("#call-candidates")).to_contain_text("costs more than the profit rule allows")
    assert "from=acme" in page.url
    assert "callee=%2B447700900123" in page.url
    shown(page, "answer")
    page.reload()
    expect(answer).to_contain_text("Goes to vendor-a at 0.020000 USD.")
    assert page.input_value("#check-callee") == "+447700900123"
    page.fill("#check-callee", "33123456789")
    page.press("#check-callee", "Enter")
    expect(answer).to_contain_text("Refused, BLOCKED (the caller hears 403)")
    shown(page, "refused")
    page.go_back()
    expect(answer).to_contain_text("Goes to vendor-a at 0.020000 USD.")


def test_another_moment_and_what_cannot_be_asked(site: Site, page: Page, tmp_path: Path) -> None:
    load_beside_names(site, tmp_path)
    page.goto(f"{site.address}/check-routing?from=acme-tech&callee=442071234567&at=2030-01-01")
    answer = page.locator("#check-answer")
    expect(answer).to_contain_text(
        "Goes to vendor-b at 0.006500 USD, then vendor-a at 0.007000 USD, then vendor-c at 0.001000 USD."
    )
    expect(answer).to_contain_text("123442071234567 (tech prefix put before it, as the peer sends it)")
    expect(answer).to_contain_text("a snapshot built for this moment")
    shown(page, "moment")
    page.fill("#check-at", "tomorrow")
    page.press("#check-at", "Enter")
    expect(answer).to_contain_text("at 'tomorrow': must be a date or a time")
    shown(page, "error")


def test_a_calls_page_leads_to_the_same_question(site: Site, page: Page, tmp_path: Path) -> None:
    load_beside_names(site, tmp_path)
    call = make_call(1, NOW_MS, [Try(11, "ANSWER", 16, 200, talk_ms=61_000)])
    insert(site.clickhouse, [call])
    with psycopg.connect(site.postgres.dsn.get_secret_value()) as connection:
        statement = "UPDATE peers SET peer_id = %s WHERE name = 'acme'"
        connection.execute(statement.encode(), (call.decision.customer_peer_id,))
    page.goto(f"{site.address}/call/{call.call_id}")
    expect(page.locator(".decided")).to_contain_text("on configuration 7")
    shown(page, "call")
    page.click("#check-now")
    page.wait_for_url(f"{site.address}/check-routing?from=acme&callee=*")
    expect(page.locator("#check-answer")).to_contain_text("acme, caller")
    assert page.input_value("#check-callee") == call.decision.callee_dialled


def test_the_caller_chance_and_a_look_up_that_is_asked_once(site: Site, page: Page, tmp_path: Path) -> None:
    load_beside_names(site, tmp_path)
    with psycopg.connect(site.postgres.dsn.get_secret_value()) as connection:  # nobody listens there
        connection.execute(
            "INSERT INTO lookups (name, kind, url, answer_field)"
            " VALUES ('NPAC', 'lrn', 'http://127.0.0.1:9/{number}', 'lrn')"
        )
        connection.execute(
            "UPDATE peers SET lookup_id = (SELECT max(lookup_id) FROM lookups), trusted = true WHERE name = 'acme'"
        )
    page.goto(f"{site.address}/check-routing?from=acme&callee=442071234567")
    answer = page.locator("#check-answer")
    expect(answer).to_contain_text("A call would first ask NPAC about 442071234567: not asked here.")
    expect(page.locator("#check-asserted")).not_to_be_visible()
    page.click("#check-more summary")
    page.fill("#check-asserted", "<sip:+442079460000@host>")
    page.fill("#check-privacy", "id")
    page.fill("#check-seed", "x")
    page.click("#check-go")
    expect(answer).to_contain_text("seed 'x': must be a whole number from 0 to 4294967295")
    page.fill("#check-seed", "7")
    page.check("#check-look-up input")
    page.click("#check-go")
    expect(answer).to_contain_text("no answer in its time; so it goes by the number called.")
    expect(answer).to_contain_text("acme, caller 442079460000, withheld")
    expect(page.locator("#check-look-up input")).not_to_be_checked()
    shown(page, "look-up")
    page.reload()
    expect(answer).to_contain_text("not asked here.")
    expect(page.locator("#check-asserted")).to_be_visible()
    shown(page, "look-up-not-asked")
    assert page.input_value("#check-seed") == "7"


def test_a_bad_number_leads_to_its_patterns(site: Site, page: Page, tmp_path: Path) -> None:
    load_beside_names(site, tmp_path)
    page.goto(f"{site.address}/check-routing?from=acme-tech&callee=44")
    page.click("text=Try its patterns")
    expect(page.locator("#try-note")).to_contain_text("An originator: tech prefix 123")
    expect(page.locator("#try-answer")).to_contain_text("This number: the call is refused, BAD NUMBER.")
