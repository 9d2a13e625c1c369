"""Vendors that do not answer, on the real Asterisk with the real agent and router; Kafka is away all the time."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
import pytest
from hunt_calls import ANY_END
from real_calls import until
from real_line import LATE, Line
from sip_call import Call

from router.server.reach import LOOK_SECONDS
from router.server.reachability import SILENT_INVITES
from simulator.sipp import scenarios
from sinks.reachability import Reachability, list_reachability

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
PROGRAM = """
import sys
from agent.main import run
from agent.settings import AgentSettings
run(AgentSettings.model_validate_json(sys.argv[1]))
"""
# Each is tried before vendor 2, which answers.
SILENT, IGNORES_OPTIONS, NOBODY_LISTENS = 1, 3, 4
NUMBERS = {SILENT: "999220000010", IGNORES_OPTIONS: "999230000010", NOBODY_LISTENS: "999250000010"}
REFUSES_OPTIONS = 6
PORTS = """
    UPDATE peers SET port = new.port FROM unnest(%s::text[], %s::int[]) AS new (name, port)
    WHERE peers.name = new.name
"""
BACK = "UPDATE peers SET probe = true, pdd_timeout_seconds = 10 WHERE starts_with(name, 'sipp-vendor-')"


@dataclass
class Stub:
    """A vendor on a bare UDP socket: it counts the calls that it is asked for, and answers only what it is told to."""

    host: str
    options: str = ""  # the status line's end that OPTIONS are answered with; empty: nothing
    invite: str = ""
    calls: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind((self.host, 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                raw, sender = self.socket.recvfrom(65_536)
                head = raw.decode(errors="replace").partition("\r\n\r\n")[0]
                method = head.partition(" ")[0]
                if method == "INVITE":
                    self.calls.update(re.findall(r"^Call-ID: (.*)$", head, re.MULTILINE))
                status = {"OPTIONS": self.options, "INVITE": self.invite}.get(method, "")
                if status:
                    kept = [one for one in head.split("\r\n") if re.match(r"(Via|From|To|Call-ID|CSeq):", one)]
                    kept = [f"{one};tag=stub" if one.startswith("To:") else one for one in kept]
                    text = "\r\n".join([f"SIP/2.0 {status}", *kept, "Content-Length: 0", "", ""])
                    self.socket.sendto(text.encode(), sender)


class Vendors:
    """The line's vendors, as this module changes them."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.silent = Stub("127.0.0.21")
        self.refuses = Stub("127.0.0.26", options="405 Method Not Allowed")
        answers = scenarios.vendor_answers()
        head, label, tail = answers.partition('<label id="90"/>')
        text = head + label + re.sub(r"<send>.*?</send>", '<pause milliseconds="1"/>', tail, count=1, flags=re.DOTALL)
        ignores = line.vendor("ignores-options", text, "127.0.0.23")
        self.ports = {
            SILENT: self.silent.port,
            IGNORES_OPTIONS: int(ignores.rpartition(":")[2]),
            REFUSES_OPTIONS: self.refuses.port,
        }
        with psycopg.connect(line.dsn, autocommit=True) as connection:
            rows = connection.execute("SELECT name, peer_id FROM peers WHERE name LIKE 'sipp-vendor-%'").fetchall()
        self.numbers = {peer_id: int(name[-1]) for name, peer_id in rows}

    def change(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.line.dsn, autocommit=True) as connection:
            connection.execute(statement.encode(), values)
            row = connection.execute("SELECT generation FROM configuration_generation").fetchone()
        beat = self.line.directory / "beat"
        until(lambda: row is not None and f"generation {row[0]}," in beat.read_text(), "the router knows the change")

    def state(self, number: int) -> str:
        with psycopg.connect(self.line.dsn) as connection:
            found: dict[str, Reachability] = {one.vendor: one for one in list_reachability(connection, 100)}
        one = found.get(f"sipp-vendor-{number}")
        return one.state if one is not None else "none"

    def until_state(self, number: int, state: str) -> None:
        until(lambda: self.state(number) == state, f"vendor {number} is {state}, not {self.state(number)}")
        time.sleep(2 * LOOK_SECONDS + 0.5)  # and every router knows it

    def hunts(self, name: str, number: str, count: int = 1) -> list[list[int | str]]:
        """The vendors of each call's legs, of so many calls at once; of one without a leg, the reason.

        On a busy machine PostgreSQL may be late for a moment; such calls say nothing of vendors, and are made again.
        """
        for turn in range(3):
            placed = [self.line.call(f"{name}-{turn}-{at}", number, ANY_END) for at in range(count)]
            for one in placed:
                one.wait()
            calls = self.line.calls_of([one.address for one in placed])
            if not {calls[one.address].ended.reason for one in placed} & LATE:
                break
        return [self._hunt(calls[one.address]) for one in placed]

    def _hunt(self, call: Call) -> list[int | str]:
        vendors: list[int | str] = [self.numbers[leg.facts.vendor_peer_id] for leg in call.legs]
        return vendors or [call.ended.reason]


@contextmanager
def agent_of(line: Line) -> Iterator[None]:
    values = {
        "node": "ast1",
        "directory": str(line.directory / "node"),
        "kafka": {"bootstrap": "127.0.0.1:9"},
        "postgres": {"dsn": line.dsn},
        "ami_port": line.ami_port,
        "ami_secret": "right-secret",
        "heartbeat_seconds": 0.5,
        "beat": str(line.directory / "agent.beat"),
    }
    with (line.directory / "agent.out").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(values)], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def vendors(own_line: Line) -> Iterator[Vendors]:
    if own_line.node.poll() is not None:
        own_line.start_node()
    own_line.await_node()
    found = Vendors(own_line)
    with psycopg.connect(own_line.dsn) as connection:
        before = connection.execute("SELECT name, port FROM peers WHERE name LIKE 'sipp-vendor-%'").fetchall()
    with agent_of(own_line):
        try:
            found.change(PORTS, [f"sipp-vendor-{number}" for number in found.ports], [*found.ports.values()])
            found.change(
                "UPDATE peers SET probe = false, pdd_timeout_seconds = 1 WHERE name = ANY (%s)",
                [f"sipp-vendor-{number}" for number in (SILENT, IGNORES_OPTIONS)],
            )
            found.until_state(2, "reachable")
            found.until_state(NOBODY_LISTENS, "unreachable")
            yield found
        finally:
            found.change(PORTS, *map(list, zip(*before, strict=True)))
            found.change(BACK)
    found.change("DELETE FROM vendor_reachability")


def test_a_vendor_that_ignores_options_is_called(vendors: Vendors) -> None:
    assert vendors.hunts("ignores", NUMBERS[IGNORES_OPTIONS]) == [[IGNORES_OPTIONS]]
    vendors.until_state(IGNORES_OPTIONS, "reachable")


def test_any_answer_to_options_counts(vendors: Vendors) -> None:
    vendors.until_state(REFUSES_OPTIONS, "reachable")


def test_a_probed_vendor_that_does_not_answer_is_skipped(vendors: Vendors) -> None:
    assert vendors.hunts("nobody", NUMBERS[NOBODY_LISTENS]) == [[2]]


def test_a_silent_vendor_is_skipped_after_three_calls_and_tried_with_one(vendors: Vendors) -> None:
    number, stub = NUMBERS[SILENT], vendors.silent
    assert vendors.hunts("silent", number, SILENT_INVITES) == [[SILENT, 2]] * SILENT_INVITES
    vendors.until_state(SILENT, "skipped")
    assert len(stub.calls) == SILENT_INVITES
    assert vendors.hunts("skipped", number, 2) == [[2], [2]]

    # Half a minute later
    vendors.change("UPDATE vendor_reachability SET skip_until = clock_timestamp() WHERE skip_until IS NOT NULL")
    time.sleep(2 * LOOK_SECONDS + 0.5)
    assert sorted(vendors.hunts("tried", number, 5)) == [[SILENT, 2], [2], [2], [2], [2]]
    assert len(stub.calls) == SILENT_INVITES + 1

    # Another half minute, and now it says something, if only that it has no line
    stub.invite = "503 Service Unavailable"
    vendors.until_state(SILENT, "skipped")
    vendors.change("UPDATE vendor_reachability SET skip_until = clock_timestamp() WHERE skip_until IS NOT NULL")
    time.sleep(2 * LOOK_SECONDS + 0.5)
    assert vendors.hunts("answers", number) == [[SILENT, 2]]
    vendors.until_state(SILENT, "reachable")
    assert vendors.hunts("as-always", number, 3) == [[SILENT, 2]] * 3


def test_a_probed_vendor_that_ignores_options_is_skipped_and_says_so(vendors: Vendors) -> None:
    vendors.change("UPDATE peers SET probe = true WHERE name = %s", f"sipp-vendor-{IGNORES_OPTIONS}")
    vendors.until_state(IGNORES_OPTIONS, "unreachable")
    assert vendors.hunts("probed", NUMBERS[IGNORES_OPTIONS]) == [[2]]
    vendors.change("UPDATE peers SET probe = false WHERE name = %s", f"sipp-vendor-{IGNORES_OPTIONS}")
    until(lambda: vendors.state(IGNORES_OPTIONS) == "reachable", "it is not probed any more")
    time.sleep(2 * LOOK_SECONDS + 0.5)
    assert vendors.hunts("not-probed", NUMBERS[IGNORES_OPTIONS]) == [[IGNORES_OPTIONS]]
