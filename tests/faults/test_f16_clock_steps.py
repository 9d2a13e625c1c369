"""F16: the clock of Asterisk's machine is set forwards and backwards while people talk; the bill does not notice, and
the leg is flagged. The clock is shifted under Asterisk and its agent, who share a machine; once under Asterisk alone.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clock_shim import Shim, shim_library
from fault_line import FaultLine, verdict
from made_legs import insert_parties, journal_line, make_legs
from real_line import CALLER, NODE, Line
from sip_call import Placed

from configuration.asterisk.fetch import FetchError, installation
from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.events import CallEnded, LegEnded
from schemas.topics import CALLS, DEAD_LETTERS
from simulator.sipp import scenarios
from sinks.audit.full.sources import read_topic
from tests.faults.report import report

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.servers]
HOUR_MS = 3_600_000
TALK_MS = 4_000
CLOCK_SECONDS = 1.2  # the agent reads the clocks each second
GIVEN_UP = "an hour forwards while it rings"
# The launcher starts Asterisk, and nothing else, with the shim under it.
PRELUDE = """
import json, sys
from pathlib import Path
from configuration.asterisk.fetch import Installation
sys.path.insert(0, {tools!r})
from clock_shim import Shim
own = Installation.command
shim = Shim(Path({library!r}), Path({directory!r}))
Installation.command = lambda self, name: shim.command(own(self, name))
"""


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamco"
    try:
        library = shim_library(cache)
    except FetchError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return Shim(library, tmp_path)


@pytest.fixture
def asterisk(postgres_dsn: str, shim: Shim, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A node whose Asterisk has the clock that the shim says."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamco"
    try:
        programs = installation(cache)
    except FetchError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    if programs.root == Path("/"):
        pytest.skip("the system's own Asterisk is not started by a loader of its own")
    line = Line(postgres_dsn, tmp_path_factory.mktemp("t"), programs, cache)
    tools = str(Path(__file__).parents[1] / "tools")
    library = str(shim_library(cache))
    line.node_prelude = PRELUDE.format(tools=tools, library=library, directory=str(tmp_path))
    try:
        line.start()
        yield line
    finally:
        line.close()


@pytest.fixture
def line(tmp_path: Path, postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse) -> Iterator[FaultLine]:
    made = FaultLine(tmp_path, postgres, kafka, clickhouse)
    yield made
    made.close()


def test_two_nodes_with_clocks_apart(line: FaultLine) -> None:
    """One three hours ahead of the machine's clock, one three behind: each bills by its own, and all of it is equal."""
    parties = insert_parties(line.postgres.dsn.get_secret_value())
    now_ms = time.time_ns() // 1_000_000
    journals = {}
    legs = 0
    for seed, (node, ahead_ms) in enumerate({"sim1": 3 * HOUR_MS, "sim2": -3 * HOUR_MS}.items(), 1):
        journals[node] = line.directory / node / "journal"
        journals[node].mkdir(parents=True)
        lines = [journal_line(leg) for leg in make_legs(parties, seed, 60, now_ms + ahead_ms)]
        legs += len(lines)
        text = b"".join(lines).replace(b"=sim1-", b"=%s-" % node.encode())
        (journals[node] / "Master.csv").write_bytes(text)
        line.start_agent(line.directory / node, node)
    for role in ("billing", "cdrs"):
        line.start_worker(role)
    audited = line.audit(journals)
    report("F16 two nodes with clocks apart", 0, audited.legs.rated, line.repeats(), verdict(audited))
    assert audited.ok, audited.differences
    assert audited.legs.rated == audited.legs.ledger == audited.legs.cdr == legs
    assert set(audited.nodes) == {"sim1", "sim2"}


def say(placed: Placed, line: FaultLine, text: str) -> None:
    line.until(lambda: text in placed.received)


@pytest.mark.asterisk
@pytest.mark.timeout(280)
def test_the_clock_is_set_in_mid_call(line: FaultLine, asterisk: Line, shim: Shim) -> None:
    node = asterisk.directory / "node"
    for role in ("billing", "cdrs"):
        line.start_worker(role)
    line.environments[f"agent-{NODE}"] = shim.environment()
    line.start_agent(node, NODE, asterisk.ami_port)
    placed: dict[str, Placed] = {}
    for name, before, while_talking, at_seconds in (
        ("not at all", 0, 0, 1.5),
        ("ten minutes forwards", 0, 600, 1.5),
        ("an hour and ten minutes backwards", 600, -3_600, 1.5),
        ("an hour backwards while it rings", 0, -3_600, 0.0),
        (GIVEN_UP, -3_600, 0, 0.0),
    ):
        shim.set(before)
        time.sleep(CLOCK_SECONDS)
        call = asterisk.call(name.replace(" ", "-"), "999210000010", scenarios.caller_talks(CALLER, TALK_MS))
        say(call, line, "SIP/2.0 200 OK" if at_seconds else "SIP/2.0 180 Ringing")
        time.sleep(at_seconds)
        shim.set(while_talking)
        call.wait()
        # Dial's ringing time follows the wall clock: an hour forwards, and nobody has answered in time.
        assert call.code == (1 if name == GIVEN_UP else 0), call.said()
        placed[name] = call
        if name == "ten minutes forwards":  # a restarted agent still knows of the step
            line.until(lambda: len(line_events(line)) >= 4)
            line.kill(f"agent-{NODE}")
            line.start_agent(node, NODE, asterisk.ami_port)
    line.until(lambda: len(line_events(line)) == 2 * len(placed))
    shim.set(0)
    for name, call in placed.items():
        call_id = asterisk.calls_of([call.address])[call.address].ended.call_id
        legs = [leg for leg in line_events(line) if leg.call_id == call_id]
        assert len(legs) == 2
        for leg in legs:
            if name == GIVEN_UP:
                assert (leg.answered_at_ms, leg.duration_ms, leg.dial_status) == (None, 0, "NOANSWER")
                continue
            assert TALK_MS - 50 <= leg.duration_ms < TALK_MS + 700, (name, leg)
            if "while it rings" not in name:
                assert leg.clock_disagreement == (name != "not at all"), (name, leg)
        if name == "ten minutes forwards":
            assert all(abs((leg.asterisk_duration_ms or 0) - TALK_MS - 600_000) < 1_500 for leg in legs)
    audited = line.audit({NODE: node / "journal"})
    assert list(read_topic(line.kafka, DEAD_LETTERS)) == []
    report("F16 clock set in mid-call", 4, audited.legs.rated, line.repeats(), verdict(audited))
    assert audited.ok, audited.differences
    assert audited.legs.rated == 2 * len(placed)


@pytest.mark.asterisk
@pytest.mark.timeout(280)
def test_the_clock_is_set_under_asterisk_alone(line: FaultLine, asterisk: Line, shim: Shim) -> None:
    """No machine does that; should two be mistaken for one, the legs that were up are flagged."""
    node = asterisk.directory / "node"
    line.start_agent(node, NODE, asterisk.ami_port)
    for name, seconds in (("forwards", 600), ("backwards", -3)):
        shim.set(0)
        call = asterisk.call(f"alone-{name}", "999210000010", scenarios.caller_talks(CALLER, TALK_MS))
        say(call, line, "SIP/2.0 200 OK")
        time.sleep(1.5)
        shim.set(seconds)
        call.wait()
    line.until(lambda: len(line_events(line)) == 4)
    assert all(leg.clock_disagreement for leg in line_events(line)), line_events(line)


def line_events(line: FaultLine) -> list[LegEnded | CallEnded]:
    """The closings that the agent has sent."""
    return [event for event in read_topic(line.kafka, CALLS) if isinstance(event, LegEnded | CallEnded)]
