"""What the configuration says of look-ups: the services, codes of mobile networks, numbers that lead inward."""

from typing import Any, Final, Literal

import msgspec
import psycopg
from psycopg.rows import dict_row, tuple_row


class Lookup(msgspec.Struct, frozen=True, gc=False):
    """A service that is asked about a number before it is routed. `codes`: only numbers under these; none: all."""

    lookup_id: int
    name: str
    kind: Literal["lrn", "hlr"]
    url: str
    answer_field: str
    codes: tuple[str, ...]
    timeout_ms: int
    cache_seconds: int
    max_parallel: int
    when_failed: Literal["route", "refuse"]


class LookupRules(msgspec.Struct, frozen=True, gc=False):
    """All of them. `mobile_networks`: MCC and MNC to code; `dids`: a number or a block of them, to a terminator."""

    lookups: dict[int, Lookup] = {}
    mobile_networks: dict[str, str] = {}
    dids: dict[str, int] = {}

    def did(self, callee: str) -> int:
        """The terminator that a number leads to, by the longest code; 0: none."""
        if self.dids:
            for length in range(len(callee), LEAST_DID_DIGITS - 1, -1):
                if (peer_id := self.dids.get(callee[:length])) is not None:
                    return peer_id
        return 0


LEAST_DID_DIGITS: Final = 3
_LOOKUPS: Final = """
    SELECT lookup_id, name, kind, url, answer_field, codes, timeout_ms, cache_seconds, max_parallel, when_failed
    FROM lookups
"""
_MOBILE_NETWORKS: Final = "SELECT mccmnc, code FROM mobile_networks"
_DIDS: Final = "SELECT code, peer_id FROM dids"


def read_lookups(connection: psycopg.Connection[Any]) -> LookupRules:
    """The rules as they are in the connection's transaction."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = [Lookup(**row | {"codes": tuple(row["codes"])}) for row in cursor.execute(_LOOKUPS)]
    with connection.cursor(row_factory=tuple_row) as cursor:
        networks: dict[str, str] = dict(cursor.execute(_MOBILE_NETWORKS).fetchall())
        dids: dict[str, int] = dict(cursor.execute(_DIDS).fetchall())
    return LookupRules({one.lookup_id: one for one in found}, networks, dids)
