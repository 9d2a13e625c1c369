"""Limits of a peer's codes in a world's file: the model, and how it is written.

    peers:
      - {name: acme, role: originator, …, code_limits: [{code: 447, max_concurrent: 30, max_cps: 2}]}

Of a peer's codes that a number begins with, the longest counts. The list is the whole list.
"""

from typing import Annotated, Self

from psycopg import sql
from pydantic import Field, model_validator

from configuration.entities.codes import Code
from configuration.entities.parts import Part, Whole
from configuration.entities.tables import Tables


class CodeLimit(Part):
    """What a peer may carry at once, and per second, of the numbers that begin with a code; 0: no limit."""

    code: Code
    max_concurrent: Annotated[Whole, Field(ge=0, le=100_000)] = 0
    max_cps: Annotated[Whole, Field(ge=0, le=10_000)] = 0

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if not (self.max_concurrent or self.max_cps):
            raise ValueError(f"code {self.code!r}: max_concurrent or max_cps must be more than 0")
        return self


def twice(limits: tuple[CodeLimit, ...]) -> str:
    """A code that is there twice, or nothing."""
    codes = [limit.code for limit in limits]
    return next((code for code in codes if codes.count(code) > 1), "")


def put_code_limits(tables: Tables, path: str, peer_id: int, limits: tuple[CodeLimit, ...]) -> None:
    """Write what differs; codes that are not named any more have no limit any more."""
    rows = tables.connection.execute(
        "SELECT code, max_concurrent, max_cps FROM code_limits WHERE peer_id = %s", (peer_id,)
    ).fetchall()
    there = {code: (max_concurrent, max_cps) for code, max_concurrent, max_cps in rows}
    wanted = {limit.code: (limit.max_concurrent, limit.max_cps) for limit in limits}
    for code in sorted(there.keys() - wanted.keys()):
        tables.run(path, sql.SQL("DELETE FROM code_limits WHERE peer_id = %s AND code = %s"), (peer_id, code))
        tables.written += 1
    for code, values in wanted.items():
        if there.get(code) != values:
            statement = sql.SQL(
                "INSERT INTO code_limits (peer_id, code, max_concurrent, max_cps) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (peer_id, code) DO UPDATE SET max_concurrent = excluded.max_concurrent,"
                " max_cps = excluded.max_cps"
            )
            tables.run(f"{path}.code_limits {code!r}", statement, (peer_id, code, *values))
            tables.written += 1
