"""Trying patterns in a real browser: a peer's saved rules, others instead, what RE2 refuses; nothing is saved."""

from pathlib import Path

import psycopg
import pytest
from browser_site import Site, load_beside_names, shown
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.servers]
expect.set_options(timeout=30_000)
RULES = "INSERT INTO translations SELECT peer_id, %s, %s, %s, %s, %s FROM peers WHERE name = %s"
SAVED = (
    ("in", "callee", 1, r"^\*31#", "", "acme-tech"),
    ("in", "callee", 2, "^011", "+", "acme-tech"),
    ("out", "callee", 1, "^", "+", "vendor-a"),
)


@pytest.fixture
def saved(site: Site, tmp_path: Path) -> Site:
    """The site with peers that have rules: acme-tech with the tech prefix 123, vendor-a."""
    load_beside_names(site, tmp_path)
    with psycopg.connect(site.postgres.dsn.get_secret_value()) as connection:
        for rule in SAVED:
            connection.execute(RULES, rule)
    return site


def _stored(site: Site) -> list[tuple[object, ...]]:
    with psycopg.connect(site.postgres.dsn.get_secret_value()) as connection:
        return connection.execute("SELECT * FROM translations ORDER BY 1, 2, 3, 4").fetchall()


def _rows(page: Page) -> list[list[str]]:
    return page.eval_on_selector_all(
        "#tried tbody tr", "rows => rows.map(row => [...row.children].map(cell => cell.innerText))"
    )


def test_saved_rules_are_tried_and_changed_and_nothing_is_saved(saved: Site, page: Page) -> None:
    stored = _stored(saved)
    page.click("text=Try translation")
    answer = page.locator("#try-answer")
    expect(answer).to_contain_text("Nothing is saved")
    expect(page.locator(".try-rule")).to_have_count(1)
    shown(page, "trial-empty")
    page.fill("#try-peer", "acme-tech")
    page.press("#try-peer", "Tab")
    expect(page.locator("#try-note")).to_contain_text("An originator: tech prefix 123, no country.")
    expect(page.locator(".try-rule")).to_have_count(2)
    assert page.input_value(".try-rule >> nth=1 >> input >> nth=0") == "^011"
    page.fill("#try-numbers", "123011493012345\n123*31#4930123456\n12344\n\n")
    page.click("#try-go")
    expect(answer).to_contain_text("1 of 3 numbers: the call is refused, BAD NUMBER.")
    expect(answer).to_contain_text("These rules are saved at acme-tech.")
    rows = _rows(page)
    assert rows[0] == ["123011493012345", "493012345", "011493012345", "·", "+493012345", "493012345"]
    assert rows[1] == ["123*31#4930123456", "4930123456", "*31#4930123456", "4930123456", "·", "·"]
    assert "2 digits after its prefixes, must be 3 to 15" in rows[2][1]
    shown(page, "trial-saved")
    page.click("#try-add")
    expect(page.locator(".try-rule")).to_have_count(3)
    page.fill(".try-rule >> nth=2 >> input >> nth=0", "^44$")
    page.fill(".try-rule >> nth=2 >> input >> nth=1", "442071234567")
    page.press(".try-rule >> nth=2 >> input >> nth=1", "Enter")
    expect(answer).to_contain_text("All 3 numbers go through.")
    expect(answer).to_contain_text("These rules are not saved")
    expect(page.locator(".tried-line")).to_contain_text(
        r"translations: {callee: [{pattern: '^\*31#'}, {pattern: '^011', replacement: '+'}, "
        "{pattern: '^44$', replacement: '442071234567'}]}"
    )
    shown(page, "trial-changed")
    page.reload()
    expect(answer).to_contain_text("All 3 numbers go through.")
    expect(page.locator(".try-rule")).to_have_count(3)
    page.click(".try-rule >> nth=2 >> text=✕")
    expect(page.locator(".try-rule")).to_have_count(2)
    page.click(".try-rule >> nth=1 >> text=↑")
    expect(page.locator(".try-rule >> nth=0 >> input >> nth=0")).to_have_value("^011")
    page.click("#try-go")
    expect(page.locator("#tried th >> nth=3")).to_contain_text("^011")
    assert _rows(page)[0][3] == "+493012345"
    assert _stored(saved) == stored


def test_what_re2_refuses_is_named_and_what_is_typed_stays(saved: Site, page: Page) -> None:
    page.goto(f"{saved.address}/try-translation?peer=vendor-a&number=4930123456")
    answer = page.locator("#try-answer")
    expect(answer).to_contain_text("This number goes through.")
    assert _rows(page) == [["4930123456", "+4930123456", "+4930123456"]]
    page.fill(".try-rule >> nth=0 >> input >> nth=0", "(49")
    page.click("#try-add")
    page.fill(".try-rule >> nth=1 >> input >> nth=0", "^1")
    page.fill(".try-rule >> nth=1 >> input >> nth=1", r"\2")
    page.click("#try-go")
    expect(answer).to_contain_text("rule 1, pattern '(49': RE2 does not accept it: missing ): (49")
    expect(answer).to_contain_text(r"rule 2, replacement '\2': names group 2, the pattern has 0")
    expect(answer).to_contain_text("So nothing was tried.")
    assert page.input_value(".try-rule >> nth=0 >> input >> nth=0") == "(49"
    shown(page, "trial-error")
    page.fill("#try-peer", "nobody")
    page.press("#try-peer", "Enter")
    expect(page.locator("#try-note")).to_contain_text("There is no peer of that name.")
    assert page.input_value(".try-rule >> nth=0 >> input >> nth=0") == "(49"
    page.click("text=Take the saved ones")
    page.click("#try-go")
    expect(answer).to_contain_text("peer 'nobody': there is no peer of that name")


def test_rules_of_a_peer_that_is_still_to_be_made(saved: Site, page: Page) -> None:
    page.goto(f"{saved.address}/try-translation")
    page.fill(".try-rule >> nth=0 >> input >> nth=0", "x")
    page.fill("#try-numbers", "x\nAnna Muster")
    page.click("text=Caller's name")
    page.click("#try-go")
    answer = page.locator("#try-answer")
    expect(answer).to_contain_text("1 of 2 names: the call goes on without.")
    assert page.input_value(".try-rule >> nth=0 >> input >> nth=0") == "x"
