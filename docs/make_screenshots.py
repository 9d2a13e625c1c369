"""Takes the pictures of docs/images from a running stack: five pages, dark and light, each under 300 kB.

    STREAMCO_LOGIN=admin STREAMCO_PASSWORD=… .venv/bin/python docs/make_screenshots.py [FOLDER]

STREAMCO_ADDRESS is where the dashboards are (default http://127.0.0.1:18050). STREAMCO_CALL_ID is the call to show;
without it a call that is going on, tried at more than one vendor if there is one, is waited for until it has ended.
"""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[1]
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH: Final = 1440
HEIGHT: Final = 900
MOST_BYTES: Final = 300_000
TRIAL: Final = "/try-translation?pattern=%5E011&replacement=%2B&number=011493012345&number=493012345&number=12"
SETTLE_MS: Final = 4_000
CALL_SECONDS: Final = 300.0
CALLS_WATCHED: Final = 8


def main() -> int:
    """Take them all; the exit code."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    address = os.environ.get("STREAMCO_ADDRESS", "http://127.0.0.1:18050").rstrip("/")
    size = os.environ.get("STREAMCO_SIZE", f"{WIDTH}x{HEIGHT}")
    width, height = (int(part) for part in size.split("x"))
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        call_id = os.environ.get("STREAMCO_CALL_ID", "")
        for scheme in ("dark", "light"):
            page = _logged_in(browser, address, scheme, width, height)
            call_id = call_id or _ended_call(page, address)
            for name, path in (("wall", "/"), ("calls", "/calls"), ("call", f"/call/{call_id}")):
                page.goto(address + path)
                page.wait_for_selector(".card-value, .ag-row, .lanes", timeout=20_000)
                page.wait_for_timeout(SETTLE_MS)
                _take(page, folder / f"{name}-{scheme}.png")
            page.click("#check-now")
            page.wait_for_selector("#call-candidates .ag-row", timeout=20_000)
            page.wait_for_timeout(SETTLE_MS)
            _take(page, folder / f"check-{scheme}.png")
            page.goto(address + TRIAL)
            page.wait_for_selector("#tried", timeout=20_000)
            _take(page, folder / f"trial-{scheme}.png")
        browser.close()
    return 0


def _logged_in(browser: Browser, address: str, scheme: str, width: int, height: int) -> Page:
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    context.add_init_script(f"localStorage.setItem('scheme', '\"{scheme}\"')")
    page = context.new_page()
    page.goto(f"{address}/login")
    page.fill("#login", os.environ["STREAMCO_LOGIN"])
    page.fill("#password", os.environ["STREAMCO_PASSWORD"])
    page.click("button[type=submit]")
    page.wait_for_selector("#page")
    return page


def _ended_call(page: Page, address: str) -> str:
    """A call that was up a moment ago and whose legs and decision are all there."""
    page.goto(f"{address}/calls")
    page.wait_for_selector("#calls-grid .ag-row", timeout=60_000)
    rows = page.eval_on_selector_all(
        "#calls-grid .ag-center-cols-container .ag-row",
        "rows => rows.map(row => [row.getAttribute('row-id'), row.querySelector('[col-id=leg]')?.innerText])",
    )
    hunted = sorted(rows, key=lambda row: -int(row[1] or 0))[:CALLS_WATCHED]
    deadline = time.monotonic() + CALL_SECONDS
    while time.monotonic() < deadline:
        for call_id, _ in hunted:
            page.goto(f"{address}/call/{call_id}")
            page.wait_for_timeout(1_500)
            if page.locator(".legs-grid .ag-row", has_text="caller").count() and page.locator(".decided").count():
                return str(call_id)
    raise SystemExit(f"no call has ended within {CALL_SECONDS:.0f} s; set STREAMCO_CALL_ID")


def _take(page: Page, path: Path) -> None:
    page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{path}: {size:,} bytes, above {MOST_BYTES:,}")


if __name__ == "__main__":
    sys.exit(main())
