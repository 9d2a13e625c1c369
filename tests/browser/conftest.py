"""The pages as a browser sees them: the real dashboards process on real servers, and a headless Chromium.

site      the dashboards, serving data that the test inserted; a user `noc` can log in
page      a logged-in page; at its end the browser must not have said any error, nor asked anyone else for anything
"""

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from browser_site import LOGIN, PASSWORD, Site, log_in, wait_for
from kafka import KafkaProducer
from made_traffic import insert_names
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright
from pydantic import SecretStr

from dashboards.access import users
from dashboards.app.serve import run
from dashboards.settings import DashboardsSettings
from router.check import CheckSettings
from router.settings import SnapshotSettings
from runtime.connections import ClickHouse, Kafka, Postgres
from streamco.embedded.settings import user_cache_directory
from streamco.embedded.temporary import free_port
from streamco.embedded.temporary_users import as_user

# A process that has imported the dashboards once: the sites are its children.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["dashboards.app.serve"])
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> Path | None:
    """A Chromium on the path, or the one that `make test` put into the user's cache."""
    found = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if found:
        return Path(found)
    cached = user_cache_directory() / "chromium" / "chromium"
    return cached if cached.exists() else None


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, one a module: as long as Playwright is open its event loop runs, and no asyncio test could."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium was found: run `make test`, which fetches one")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(program), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def site(postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse, tmp_path: Path) -> Iterator[Site]:
    """The dashboards process itself, master and worker."""
    dsn = postgres.dsn.get_secret_value()
    insert_names(dsn)
    with psycopg.connect(dsn) as connection:
        users.add_user(connection, LOGIN, PASSWORD, "noc")
    live = SnapshotSettings(postgres=postgres, directory=tmp_path / "live")
    settings = DashboardsSettings(
        postgres=postgres, kafka=as_user(kafka, "dashboards"), clickhouse=clickhouse, secret_key=SecretStr("k" * 32),
        port=free_port(),
        check=CheckSettings(live=live, directory=tmp_path / "check"),
    )  # fmt: skip
    process = _PROCESSES.Process(target=run, args=(settings,), daemon=True)
    process.start()
    address = f"http://127.0.0.1:{settings.port}"
    producer = KafkaProducer(**kafka.client())
    try:
        wait_for(address)
        yield Site(address, kafka, clickhouse, postgres, producer, process)
    finally:
        producer.close()
        process.terminate()
        process.join(15)
        assert not process.is_alive()


@pytest.fixture
def errors() -> list[str]:
    """What the browser complains of; a test that expects a complaint takes it out."""
    return []


@pytest.fixture
def open_page(browser: Browser, errors: list[str]) -> Iterator[Callable[[], Page]]:
    """Opens pages of a browser without any cookie, each with an eye on its errors and requests."""
    contexts: list[BrowserContext] = []

    def opened() -> Page:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: errors.extend(_elsewhere(request)))
        return page

    yield opened
    for context in contexts:
        context.close()


def _elsewhere(request: Request) -> list[str]:
    url = urlsplit(request.url)
    return [] if url.scheme in ("data", "blob") or url.hostname == "127.0.0.1" else [f"asked {request.url}"]


@pytest.fixture
def page(site: Site, open_page: Callable[[], Page], errors: list[str]) -> Iterator[Page]:
    """Logged in, at the wall."""
    opened = open_page()
    log_in(opened, site)
    yield opened
    assert errors == []
