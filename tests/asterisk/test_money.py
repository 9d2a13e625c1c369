"""Money and the real Asterisk: calls are cut when it ends, billed to the cut; a router's death ends no call."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ami import Ami
from real_calls import until
from real_line import CALLER, PENNILESS, RICH, Line, MakeLine
from sip_call import Call, Placed

from agent.credit.cuts import LEAD_MS
from billing.payments import pay
from runtime.connections import Kafka
from simulator.sipp import scenarios
from sinks.ledger import Ledger
from streamco.embedded.temporary_users import as_user, values_of
from streams.folds.rating import rate_leg
from tests.faults.report import report

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
PROGRAM = """
import sys
from agent.main import run
from agent.settings import AgentSettings
run(AgentSettings.model_validate_json(sys.argv[1]))
"""
PREPAID = "SIPp Customer 2 USD"
QUANTUM_SECONDS = 3
SECOND = Decimal("0.001")  # what the customer pays for one


@pytest.fixture(scope="module")
def own_line(make_line: MakeLine) -> Iterator[Line]:
    """A line of this module's own: nobody else's call holds money on it."""
    with make_line("money", Line) as line:
        yield line


@pytest.fixture
def connection(own_line: Line) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(own_line.dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def line(own_line: Line, kafka: Kafka, tmp_path: Path) -> Iterator[Line]:
    """The line with short quanta, and an agent beside it that looks often."""
    if own_line.node.poll() is not None:
        own_line.start_node()
    own_line.await_node()
    own_line.kill_router()
    own_line.start_router(hold_seconds=QUANTUM_SECONDS)
    own_line.await_router()
    values = {
        "node": "ast1", "directory": str(own_line.directory / "node"), "kafka": values_of(as_user(kafka, "agent")),
        "postgres": {"dsn": own_line.dsn}, "ami_port": own_line.ami_port, "ami_secret": "right-secret",
        "heartbeat_seconds": 0.4, "hold_margin_seconds": 2, "beat": str(tmp_path / "agent.beat"),
    }  # fmt: skip
    with (tmp_path / "agent.out").open("wb") as log:
        agent = subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(values)], stdout=log, stderr=log)
    until((tmp_path / "agent.beat").exists, "the agent is at work")  # who was seen may be its predecessor
    with psycopg.connect(own_line.dsn, autocommit=True) as connection:
        seen = "SELECT count(*) FROM nodes WHERE name = 'ast1' AND last_seen_at > now() - interval '2 seconds'"
        until(lambda: connection.execute(seen).fetchone() == (1,), "the agent has been seen")
    yield own_line
    agent.terminate()
    assert agent.wait(20) == 0, (tmp_path / "agent.out").read_text()[-3000:]
    own_line.kill_router()
    own_line.start_router()
    own_line.await_router()


def money_of(connection: psycopg.Connection[Any], account: str) -> tuple[Decimal, Decimal, int]:
    """(balance, held, holds)"""
    row = connection.execute(
        "SELECT balance, held, (SELECT count(*) FROM holds WHERE holds.account_id = accounts.account_id)"
        " FROM accounts JOIN account_balances USING (account_id) WHERE name = %s",
        (account,),
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


async def bill(dsn: str, calls: list[Call]) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        legs = [rate_leg(leg) for call in calls for leg in (call.ended, *call.legs)]
        await Ledger(connection).post(legs)


@pytest.mark.faults
async def test_calls_are_cut_when_their_money_ends_and_billed_to_the_cut(
    line: Line, connection: psycopg.Connection[Any]
) -> None:
    balance, _, _ = money_of(connection, PREPAID)
    assert balance == 0
    paid = 20 * SECOND
    pay(line.dsn, PREPAID, paid, "twenty seconds")
    placed: list[Placed] = []
    for number in (1, 2):  # either could talk for longer than half of it: by itself it would be cut later
        placed.append(line.call(f"cut-{number}", f"99921000004{number}", scenarios.caller_listens(CALLER), PENNILESS))
    until(lambda: all("SIP/2.0 200 OK" in one.received for one in placed), "both are answered")
    most_held = Decimal(0)
    deadline = time.monotonic() + 25
    paid_seconds: dict[str, int] = {}
    while any(one.process.poll() is None for one in placed):
        assert time.monotonic() < deadline, "a call goes on without money"
        held = money_of(connection, PREPAID)[1]
        most_held = max(most_held, held)
        rows = connection.execute(
            "SELECT call_id, covered_seconds FROM holds JOIN accounts USING (account_id) WHERE name = %s", (PREPAID,)
        )
        paid_seconds |= dict(rows.fetchall())
        await asyncio.sleep(0.1)
    assert most_held == paid  # every micro-unit was held, never one more
    calls = [line.calls_of([one.address for one in placed])[one.address] for one in placed]
    for call in calls:
        ended, seconds = call.ended, paid_seconds[call.ended.call_id]
        assert (ended.release_side, ended.reason, ended.cause) == ("us", "BALANCE EXHAUSTED", 31)
        assert seconds < 17, "this one could have been cut by the dialplan"
        assert seconds * 1000 - 3 * LEAD_MS <= ended.duration_ms <= seconds * 1000
    assert sum(paid_seconds.values()) == 20
    await bill(line.dsn, calls)
    await bill(line.dsn, calls)  # a repeat
    assert money_of(connection, PREPAID) == (0, 0, 0)
    legs = sum(1 + len(call.legs) for call in calls)
    report("F13 balance runs out in mid-call", len(calls), legs, legs, "billed to the cut, nothing left or held")
    broke = line.call("broke", "999210000043", scenarios.caller_refused(CALLER, 403), PENNILESS).wait()
    assert broke.code == 0, broke.received
    assert line.calls_of([broke.address])[broke.address].ended.reason == "NO BALANCE"


async def test_a_payment_in_time_lets_the_call_go_on(line: Line, connection: psycopg.Connection[Any]) -> None:
    pay(line.dsn, PREPAID, 30 * SECOND, "thirty seconds")
    placed = line.call("paid", "999210000044", scenarios.caller_talks(CALLER, 7_000), PENNILESS)
    until(lambda: "SIP/2.0 200 OK" in placed.received, "it is answered")
    pay(line.dsn, PREPAID, -26 * SECOND, "taken back")  # four seconds are left
    until(lambda: money_of(connection, PREPAID)[:2] == (4 * SECOND, 4 * SECOND), "all of it is held")
    pay(line.dsn, PREPAID, 26 * SECOND, "and paid again")
    placed.wait()
    call = line.calls_of([placed.address])[placed.address]
    assert (call.ended.release_side, call.ended.reason) == ("caller", "")
    assert call.ended.duration_ms >= 6_900
    await bill(line.dsn, [call])
    seconds = -(-call.ended.duration_ms // 1000)
    assert money_of(connection, PREPAID) == ((30 - seconds) * SECOND, 0, 0)
    pay(line.dsn, PREPAID, -(30 - seconds) * SECOND, "refunded")


async def test_a_router_killed_in_mid_call_ends_no_call_and_its_money_is_held_on(
    line: Line, connection: psycopg.Connection[Any]
) -> None:
    account = "SIPp Customer 1 USD"
    before, _, _ = money_of(connection, account)
    placed = line.call("orphan", "999210000045", scenarios.caller_talks(CALLER, 6_000), RICH)
    until(lambda: "SIP/2.0 200 OK" in placed.received, "it is answered")
    line.kill_router()
    assert money_of(connection, account)[1:] == (QUANTUM_SECONDS * SECOND, 1)
    until(lambda: money_of(connection, account)[1] >= 2 * QUANTUM_SECONDS * SECOND, "the hold is extended")
    assert placed.wait().code == 0
    line.start_router(hold_seconds=QUANTUM_SECONDS)
    line.await_router()
    call = line.calls_of([placed.address])[placed.address]
    assert (call.ended.release_side, call.ended.reason) == ("caller", "")
    await bill(line.dsn, [call])
    seconds = -(-call.ended.duration_ms // 1000)
    assert seconds >= 6
    assert money_of(connection, account) == (before - seconds * SECOND, 0, 0)


def test_the_agents_user_may_do_little_more_than_list_and_hang_up(line: Line) -> None:
    with Ami(line.ami_port) as ami:
        assert ami.ask(Action="Status")[0]["Response"] == "Success"
        assert ami.ask(Action="Hangup", Channel="PJSIP/none-1")[0]["Message"] == "No such channel"
        for action in ("Command", "Originate", "Reload", "ModuleLoad", "DBPut", "GetConfig", "UpdateConfig", "AGI"):
            answer = ami.ask(Action=action, Command="core stop now", Module="res_agi.so")[0]
            assert (answer["Response"], answer["Message"]) == ("Error", "Permission denied"), (action, answer)
