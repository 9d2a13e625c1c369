"""The dashboards of a browser test: where they are, what they read from, and how a person logs in."""

import multiprocessing.process
import os
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import msgspec
import psycopg
from check_world import load_check_world
from kafka import KafkaProducer
from made_traffic import MadeLive
from playwright.sync_api import Page

from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.live import NodeState
from schemas.topics import ACTIVE_CALLS, NODE_STATES

LOGIN = "noc"
PASSWORD = "correct horse battery"


@dataclass
class Site:
    """The dashboards at `address`, and what they read from."""

    address: str
    kafka: Kafka
    clickhouse: ClickHouse
    postgres: Postgres
    producer: KafkaProducer
    process: multiprocessing.process.BaseProcess

    def show(self, *calls: MadeLive) -> None:
        """Put live calls on their topic."""
        for live in calls:
            self.producer.send(ACTIVE_CALLS.name, key=live.key, value=live.value).get(10)

    def take_away(self, live: MadeLive) -> None:
        """The tombstone of a live call."""
        self.producer.send(ACTIVE_CALLS.name, key=live.key, value=None).get(10)

    def heartbeat(self) -> None:
        """A node says that it lives, now."""
        now_ms = time.time_ns() // 1_000_000
        state = NodeState(node="sim1", epoch=1, at_ms=now_ms, agent_id="a", calls=1, journal_waiting_bytes=0)
        self.producer.send(NODE_STATES.name, key=b"sim1", value=msgspec.json.encode(state)).get(10)


def wait_for(address: str) -> None:
    """Until the login page answers."""
    deadline = time.monotonic() + 40
    while True:
        try:
            with urlopen(f"{address}/login", timeout=5) as answer:  # noqa: S310 - our own address
                assert answer.status == 200
                return
        except OSError:
            assert time.monotonic() < deadline, "the dashboards do not answer"
            time.sleep(0.2)


def log_in(page: Page, site: Site, path: str = "/") -> None:
    """Through the form, like a person."""
    page.goto(site.address + path)
    page.fill("#login", LOGIN)
    page.fill("#password", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("header.header")


def load_beside_names(site: Site, directory: Path) -> None:
    """The world of check_world.py, beside the names that the site has already."""
    dsn = site.postgres.dsn.get_secret_value()
    with psycopg.connect(dsn) as connection:  # the site's names have numbers of their own
        for table, column in (("companies", "company_id"), ("destinations", "destination_id")):
            connection.execute(f"ALTER TABLE {table} ALTER {column} RESTART WITH 10000".encode())
    load_check_world(dsn, directory)


def shown(page: Page, name: str) -> None:
    """A picture of the page for whoever wants to look at it, in every colour and size that it is judged in."""
    folder = os.environ.get("STREAMCO_TEST_PICTURES")
    if not folder:
        return
    for scheme in ("dark", "light"):
        if page.evaluate("document.documentElement.getAttribute('data-mantine-color-scheme')") != scheme:
            page.click("#toggle")
        for width, height in ((1366, 768), (1920, 1080)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(600)
            page.screenshot(path=Path(folder) / f"{name}-{scheme}-{width}.png")
