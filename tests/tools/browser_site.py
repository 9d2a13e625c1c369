"""The dashboards of a browser test: where they are, what they read from, and how a person logs in."""

import multiprocessing.process
import time
from dataclasses import dataclass
from urllib.request import urlopen

import msgspec
from kafka import KafkaProducer
from made_traffic import MadeLive
from playwright.sync_api import Page

from schemas.connections import ClickHouse, Kafka, Postgres
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
