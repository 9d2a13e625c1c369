"""F4: PostgreSQL killed, gone for a while, cut off in the middle of COMMIT: workers come back, and nothing is twice."""

import random
import time

import pytest
from fault_line import ServersLine
from feeder import Feeder
from made_legs import make_legs
from tcp_proxy import TcpProxy, Trap

from tests.faults.report import report

pytestmark = [pytest.mark.servers, pytest.mark.faults]


def address(url: str) -> tuple[str, int]:
    host, _, port = url.rpartition("@")[2].partition("/")[0].rpartition(":")
    return host, int(port)


@pytest.mark.long
def test_f4_postgres_killed_and_gone_for_a_while(line: ServersLine, chance: random.Random) -> None:
    kills, seconds = 2, 8.0
    ended = make_legs(line.parties, 5, 800)
    names = ("streams-1", "streams-2")
    for name, role in zip(names, ("billing", "cdrs"), strict=True):
        line.keep(name, role, batch_messages=20)
    line.until(lambda: line.working(*names))
    feeder = Feeder(line.kafka, ended, kills * (seconds + 6), in_a_frame=5)
    for _ in range(kills):
        before = line.posted()
        line.until(lambda: line.posted() > before)  # noqa: B023
        time.sleep(chance.uniform(0, 1))
        line.servers.kill("postgres")
        time.sleep(chance.uniform(seconds / 2, seconds))
        line.servers.start("postgres")
    feeder.finish()
    line.until(lambda: line.posted() == len(ended) == line.written())
    audited = line.audit_of(ended)
    assert audited.ok, audited.differences
    assert line.restarts() >= kills  # each time billing ended, waited, and came back by itself
    line.end()
    report("F4 PostgreSQL kill -9, gone for seconds", kills, len(ended), line.repeated("streams-1"), "equal")


def test_f4_the_link_is_cut_in_the_middle_of_commit(line: ServersLine, chance: random.Random, whole: bool) -> None:
    ways = ["answer", "half", "after", "before"] if whole else ["answer"]
    ended = make_legs(line.parties, 6, 500)
    with TcpProxy(address(line.dsn)) as proxy:
        line.reach["postgres"] = proxy.address
        line.keep("streams-1", "billing", batch_messages=5, batch_seconds=0.05)
        del line.reach["postgres"]
        line.start("streams-2", "cdrs")
        line.until(lambda: line.working("streams-1", "streams-2"))
        feeder = Feeder(line.kafka, ended, 4 * len(ways), in_a_frame=5)
        traps = []
        for way in ways:
            time.sleep(chance.uniform(0.2, 1))
            trap = proxy.trap(Trap("up", b"COMMIT", way))  # type: ignore[arg-type]
            line.until(lambda: trap.sprung)  # noqa: B023
            traps.append(trap)
        feeder.finish()
        line.until(lambda: line.posted() == len(ended) == line.written())
        audited = line.audit_of(ended)
        assert audited.ok, audited.differences
        # A commit whose answer was lost is the one that is tried again although it was done.
        assert line.repeated("streams-1") > 0
        assert line.restarts() >= len(ways)
        line.end()
    report(f"F4 COMMIT cut: {', '.join(ways)}", len(traps), len(ended), line.repeated("streams-1"), "equal")
