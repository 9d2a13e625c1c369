"""The models of PostgreSQL and ClickHouse do what the real ones do: the same random steps, the same rows after each."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from made_traffic import NAMES

from runtime.clickhouse import connect
from runtime.connections import ClickHouse
from schemas.events import CallEnded, RatedLeg
from sinks.cdrs import drop_replaced_estimates, write_legs
from tests.simulation import clickhouse as model_clickhouse
from tests.simulation.clock import Host
from tests.simulation.contract import Model, Real, Steps, fill, rows_of_model, rows_of_real

pytestmark = pytest.mark.servers


def _with_vendor(leg: RatedLeg) -> RatedLeg:
    """An estimate of a call knows of another last vendor than the true end."""
    if not isinstance(leg.ended, CallEnded) or leg.ended.facts is None:
        return leg
    facts = msgspec.structs.replace(leg.ended.facts, side="p", vendor_peer_id=11 + leg.ended.estimated)
    return msgspec.structs.replace(leg, ended=msgspec.structs.replace(leg.ended, last_facts=facts))


@pytest.fixture
def real(postgres_dsn: str) -> Iterator[Real]:
    loop = asyncio.new_event_loop()
    side = Real(postgres_dsn, loop)
    yield side
    side.close()
    loop.close()


def test_the_model_of_postgresql_does_what_postgresql_does(real: Real) -> None:
    made = Model()
    fill(real, made)
    seen: set[str] = set()
    for seed in range(30):
        steps = Steps(seed)
        for number in range(40):
            kind, step = steps.make()
            seen.add(kind)
            answers = [step(side) for side in (real, made)]
            assert answers[0] == answers[1], f"program {seed}, step {number}: {kind}"
            assert rows_of_model(made) == rows_of_real(real), f"program {seed}, step {number}: {kind}"
    rows = made.database.tables
    assert len(seen) == 12
    assert {entry.kind for entry in rows.entries.values()} == {"leg", "correction", "payment"}
    assert {why for _, _, why in rows.swept.values()} == {"expired", "no end in the journal"}


def test_the_model_of_clickhouse_does_what_clickhouse_does(clickhouse: ClickHouse) -> None:
    made = model_clickhouse.ClickHouse(Host())
    steps = Steps(1)
    with connect(clickhouse) as client:
        for _ in range(40):
            legs = [_with_vendor(steps.leg()) for _ in range(steps.dice.randint(1, 9))]
            write_legs(client, legs, NAMES)
            write_legs(made, legs, NAMES)  # type: ignore[arg-type]
            if steps.dice.random() < 0.7:
                assert drop_replaced_estimates(client, legs) == drop_replaced_estimates(made, legs)  # type: ignore[arg-type]
            rows = client.query(
                "SELECT leg_id, revision, side, account_id, toInt64(toDecimal128(amount, 6) * 1000000), estimated"
                " FROM legs FINAL"
            ).result_rows
            found = sorted((row.leg_id, row.revision, row.side, row.account_id, row.amount_micros, row.estimated)
                           for row in made.rows.values())  # fmt: skip
            assert sorted(tuple(row) for row in rows) == found
    assert made.dropped > 0
    assert made.repeats > 0
