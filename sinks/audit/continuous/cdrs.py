"""The CDRs' side: are these legs there, as rated; and what an hour's CDRs come to, so that a surplus shows as well."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from schemas.money import decimal_from_micros
from sinks.audit.continuous.fold import Sums, Waiting

MOST_WRONG: Final = 10_000  # named by one run; the others are the next one's
# A leg begins within its call's hunt: no hunt of MAX_LEGS attempts lasts so long.
LONGEST_HUNT: Final = timedelta(hours=3)
_TABLE: Final = "audit_asked"
_WRONG: Final = f"""
    SELECT asked.leg_id, cdrs.leg_id = '', cdrs.revision, cdrs.amount
    FROM {_TABLE} AS asked
    LEFT JOIN (
        SELECT leg_id, max(legs.revision) AS revision, argMax(legs.amount, legs.revision) AS amount
        FROM legs
        WHERE start_time >= {{first:DateTime64(3, 'UTC')}} AND start_time <= {{last:DateTime64(3, 'UTC')}}
          AND toStartOfHour(start_time) IN (
              SELECT DISTINCT toStartOfHour(start_time) FROM {_TABLE} WHERE run = {{run:UInt64}}
          )
          AND leg_id IN (SELECT leg_id FROM {_TABLE} WHERE run = {{run:UInt64}})
        GROUP BY leg_id
    ) AS cdrs ON cdrs.leg_id = asked.leg_id
    WHERE asked.run = {{run:UInt64}}
      AND (cdrs.leg_id = '' OR cdrs.revision < asked.revision
           OR (cdrs.revision = asked.revision AND cdrs.amount <> asked.amount))
    LIMIT {MOST_WRONG}
"""  # noqa: S608 - made of constants; values are bound
_HOUR: Final = """
    SELECT node, count(), sum(reinterpretAsInt64(reverse(substring(MD5(leg_id), 1, 8)))),
           toInt64(toDecimal128(sum(amount), 6) * 1000000)
    FROM legs FINAL
    WHERE start_time >= {hour:DateTime64(3, 'UTC')} AND start_time < {hunted:DateTime64(3, 'UTC')}
      AND call_start_time >= {hour:DateTime64(3, 'UTC')} AND call_start_time < {end:DateTime64(3, 'UTC')}
    GROUP BY node
"""
_LEGS: Final = """
    SELECT leg_id, toInt64(toDecimal128(sum(amount), 6) * 1000000), count()
    FROM legs FINAL
    WHERE start_time >= {hour:DateTime64(3, 'UTC')} AND start_time < {hunted:DateTime64(3, 'UTC')}
      AND call_start_time >= {hour:DateTime64(3, 'UTC')} AND call_start_time < {end:DateTime64(3, 'UTC')}
      AND node = {node:String}
    GROUP BY leg_id
"""


def wrong_cdrs(client: Client, run: int, asked: Sequence[Waiting]) -> dict[str, str]:
    """Those of the legs that are not among the CDRs as they were rated, and what is there instead."""
    if not asked:
        return {}
    client.command(f"TRUNCATE TABLE {_TABLE}")
    rows = [
        [run, leg.leg_id, _moment(leg.started_at_ms), leg.revision, decimal_from_micros(leg.rated_micros or 0)]
        for leg in asked
    ]
    client.insert(_TABLE, rows, column_names=["run", "leg_id", "start_time", "revision", "amount"])
    times = [leg.started_at_ms for leg in asked]
    parameters = {"run": run, "first": time_text(_moment(min(times))), "last": time_text(_moment(max(times)))}
    wrong = {
        leg_id: "none" if missing else f"revision {revision}, amount {amount}"
        for leg_id, missing, revision, amount in client.query(_WRONG, parameters=parameters).result_rows
    }
    client.command(f"TRUNCATE TABLE {_TABLE}")
    return wrong


def hour_sums(client: Client, hour_ms: int) -> dict[str, Sums]:
    """By node, the CDRs of the calls that began in that hour."""
    rows = client.query(_HOUR, parameters=_of_hour(hour_ms)).result_rows
    return {node: Sums(legs, leg_hash, micros) for node, legs, leg_hash, micros in rows}


def hour_legs(client: Client, hour_ms: int, node: str) -> dict[str, tuple[int, int]]:
    """The CDRs of a node's calls that began in that hour: micros by leg, and how many CDRs it has."""
    rows = client.query(_LEGS, parameters={"node": node, **_of_hour(hour_ms)}).result_rows
    return {leg_id: (micros, times) for leg_id, micros, times in rows}


def _of_hour(hour_ms: int) -> dict[str, str]:
    hour = _moment(hour_ms)
    return {
        "hour": time_text(hour),
        "end": time_text(hour + timedelta(hours=1)),
        "hunted": time_text(hour + timedelta(hours=1) + LONGEST_HUNT),
    }


def _moment(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def time_text(moment: datetime) -> str:
    """A DateTime64(3) as a parameter, with milliseconds: the client would send whole seconds."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
