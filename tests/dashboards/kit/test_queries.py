"""The SQL of the pages on the real engine, against the same figures counted one by one in Python."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from made_traffic import CUSTOMERS, DESTINATIONS, VENDORS, MadeCall, Try, insert, make_call, make_traffic
from pydantic import SecretStr

from dashboards.kit.figures import Sums, by_name, read_sums
from dashboards.kit.queries import Queries, SourceAwayError
from runtime.connections import ClickHouse
from schemas.events import CallEnded, RatedLeg
from streams.folds.quality import figures_of

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def _queries(settings: ClickHouse) -> Queries:
    return Queries(settings, lambda: NOW)


def _judged(leg: RatedLeg, kind: str) -> dict[str, int]:
    figures = figures_of(leg.ended)
    return {kind: 1, f"{kind}_judged": figures.effective_of, f"{kind}_reached": figures.effective}


def _name(leg: RatedLeg, dimension: str) -> str:
    facts = leg.ended.facts
    assert facts is not None
    if dimension == "customer":
        return CUSTOMERS[facts.customer_company_id]
    if dimension == "destination":
        return DESTINATIONS[facts.destination_id][0]
    vendor = leg.ended.last_facts if isinstance(leg.ended, CallEnded) else facts
    return VENDORS[vendor.vendor_company_id] if vendor else ""


def _counted(legs: Iterable[RatedLeg]) -> Sums:
    """The figures of these legs, one leg after the other."""
    sums = Sums()
    for leg in legs:
        ended, values = leg.ended, dict[str, Any]()
        if isinstance(ended, CallEnded):
            if ended.reason:
                values["refused"] = 1
            else:
                values |= _judged(leg, "calls")
            kind = "calls"
            values["revenue_micros"] = {leg.currency: leg.amount_micros} if leg.amount_micros else {}
        else:
            values |= _judged(leg, "legs")
            kind = "legs"
            values["cost_micros"] = {leg.currency: leg.amount_micros} if leg.amount_micros else {}
        values[f"{kind}_answered"] = int(ended.answered_at_ms is not None)
        values[f"{kind}_talk_ms"] = ended.duration_ms
        values[f"{kind}_with_pdd"] = int(ended.pdd_ms is not None)
        values[f"{kind}_pdd_ms"] = ended.pdd_ms or 0
        sums += Sums(**values)
    return sums


def _within(calls: Iterable[MadeCall], from_ms: int, until_ms: int) -> list[RatedLeg]:
    return [leg for call in calls for leg in call.legs if from_ms <= leg.ended.ended_at_ms < until_ms]


def test_figures_by_dimension_equal_those_counted_one_by_one(clickhouse: ClickHouse) -> None:
    calls = [
        *make_traffic(1, NOW_MS - 20 * MINUTE_MS, NOW_MS + MINUTE_MS, 400),
        *make_traffic(2, NOW_MS - HOUR_MS - 20 * MINUTE_MS, NOW_MS - HOUR_MS + MINUTE_MS, 300),
        *make_traffic(3, NOW_MS - 10 * MINUTE_MS, NOW_MS, 40, currency="EUR"),
    ]
    insert(clickhouse, calls)
    insert(clickhouse, calls[:50])  # a repeat counts nothing twice
    now = _within(calls, NOW_MS - 15 * MINUTE_MS, NOW_MS)
    before = _within(calls, NOW_MS - HOUR_MS - 15 * MINUTE_MS, NOW_MS - HOUR_MS)
    assert _counted(now).calls > 100
    assert _counted(before).legs > 100
    for dimension in ("vendor", "customer", "destination"):
        found = by_name(_queries(clickhouse).by_dimension(dimension, timedelta(minutes=15)))
        names = {_name(leg, dimension) for leg in [*now, *before]}
        assert found.keys() == names
        for name in names:
            assert found[name] == (
                _counted(leg for leg in now if _name(leg, dimension) == name),
                _counted(leg for leg in before if _name(leg, dimension) == name),
            )


def test_no_ratio_is_above_a_hundred(clickhouse: ClickHouse) -> None:
    cancelled = [make_call(n, NOW_MS - 30_000, [Try(11, "CANCEL", 16, None, pdd_ms=None)]) for n in range(1, 4)]
    insert(clickhouse, [*cancelled, make_call(9, NOW_MS - 30_000, [Try(11, talk_ms=5_000)])])
    now, _ = by_name(_queries(clickhouse).by_dimension("vendor", timedelta(minutes=5)))["Danube Carrier"]
    assert (now.figure("legs").judged, now.figure("legs").reached) == (1, 1)
    assert now.figure("calls").ner_percent == 100.0


def test_minutes_equal_those_counted_one_by_one(clickhouse: ClickHouse) -> None:
    calls = make_traffic(4, NOW_MS - 30 * MINUTE_MS, NOW_MS, 200)
    insert(clickhouse, calls)
    queries = _queries(clickhouse)
    found: dict[int, Sums] = {}
    for row in queries.minutes("by_minute"):
        found[row["minute"]] = found.get(row["minute"], Sums()) + read_sums(row)
    for minute, sums in found.items():
        counted = _counted(_within(calls, minute * 1000, (minute + 60) * 1000))
        assert (sums.calls, sums.calls_answered, sums.calls_judged) == (
            counted.calls,
            counted.calls_answered,
            counted.calls_judged,
        )
        assert (sums.calls_reached, sums.calls_talk_ms) == (counted.calls_reached, counted.calls_talk_ms)
        assert (sums.revenue_micros, sums.cost_micros) == (counted.revenue_micros, counted.cost_micros)
    assert sum(sums.calls for sums in found.values()) == _counted(_within(calls, 0, NOW_MS)).calls

    attempts = {row["minute"]: row["attempts"] for row in queries.minutes("attempts_by_minute")}
    wanted: dict[int, int] = {}
    for call in calls:
        minute = call.decision.routed_at_ms // MINUTE_MS * 60
        wanted[minute] = wanted.get(minute, 0) + 1
    assert attempts == wanted

    concurrent = {row["minute"]: row["concurrent"] for row in queries.minutes("concurrent_by_minute")}
    for minute, count in concurrent.items():
        at_ms = minute * 1000
        up = [call for call in calls if not call.decision.reason
              and call.legs[0].ended.started_at_ms <= at_ms < call.legs[0].ended.ended_at_ms + 1000]  # fmt: skip
        assert abs(count - len(up)) <= sum(abs(call.legs[0].ended.ended_at_ms - at_ms) <= 1000 for call in up)


def test_attempts_of_the_last_moments(clickhouse: ClickHouse) -> None:
    calls = [make_call(n, NOW_MS - n * 1000, [Try(11)]) for n in range(1, 101)]
    before = [make_call(n, NOW_MS - HOUR_MS - n * 1000, [Try(11)]) for n in range(201, 205)]
    before += [make_call(n, NOW_MS - HOUR_MS - n * 100, [Try(11)]) for n in range(301, 308)]
    insert(clickhouse, [*calls, *before])
    assert _queries(clickhouse).attempts(timedelta(seconds=60)) == (60, 7)


def test_one_call_is_found_with_its_decision_and_no_other(clickhouse: ClickHouse) -> None:
    call = make_call(7, NOW_MS - HOUR_MS, [Try(12, "CONGESTION", 34, 503), Try(11, talk_ms=61_000)])
    insert(clickhouse, [call, make_call(8, NOW_MS - HOUR_MS, [Try(13, talk_ms=1_000)])])
    queries = _queries(clickhouse)
    legs = queries.call_legs(call.call_id)
    assert [(leg["leg"], leg["vendor"], leg["sip_code"]) for leg in legs] == [
        (0, "Danube Carrier", 0),
        (1, "Estuary Tel", 503),
        (2, "Danube Carrier", 200),
    ]
    assert [leg["amount_micros"] for leg in legs] == [leg.amount_micros for leg in call.legs]
    assert legs[0]["duration_ms"] == 61_000
    decision = queries.call_decision(call.call_id)
    assert decision is not None
    assert call.call_id in decision
    assert queries.call_legs("sim1-1795000000-1795000000.9") == []
    assert queries.call_decision("sim1-1795000000-1795000000.9") is None


@pytest.mark.parametrize("call_id", ["", "x", "' OR 1 = 1 --", "sim1-1795000000-1795000000.9' OR '1'='1"])
def test_what_is_no_call_is_not_asked_for(clickhouse: ClickHouse, call_id: str) -> None:
    assert _queries(clickhouse).call_legs(call_id) == ()
    assert _queries(clickhouse).call_decision(call_id) is None


def test_an_unknown_dimension_is_refused(clickhouse: ClickHouse) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        _queries(clickhouse).by_dimension("caller; DROP TABLE legs", timedelta(minutes=5))


def test_a_server_that_is_away_is_said() -> None:
    away = Queries(ClickHouse(url="http://127.0.0.1:1", password=SecretStr("")), lambda: NOW)
    with pytest.raises(SourceAwayError, match="ClickHouse does not answer"):
        away.attempts(timedelta(seconds=60))
