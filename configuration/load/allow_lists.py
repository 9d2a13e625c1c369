"""Which kinds of rules are allow-lists, and what a file's rules that allow are exceptions from.

    blocks: [{callee: 44}, {callee: 447, action: allow}]      the UK is closed, its mobiles are open; the rest passes
    allow_only: [callee]                                      nothing but the allowed prefixes passes
    blocks: [{callee: 49, action: allow}]

Until `allow_only` was there, any rule that allowed made its kind an allow-list. So a file that does not say
`allow_only` is never quietly wider than it was: what the database has stays; a rule that is an exception from nothing
is refused; and where there are exceptions that were an allow-list before, the load says so.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from psycopg import sql

from configuration.entities.numbers import Block
from configuration.entities.tables import Tables

_KINDS: Final = sql.SQL("SELECT kind FROM allow_lists WHERE peer_id IS NOT DISTINCT FROM %s")
_DELETE: Final = sql.SQL("DELETE FROM allow_lists WHERE peer_id IS NOT DISTINCT FROM %s AND kind = %s")
_INSERT: Final = sql.SQL("INSERT INTO allow_lists (peer_id, kind) VALUES (%s, %s)")
# What stops an originator's calls are its own rules and those of all calls; a terminator's are its own alone.
_DENIALS: Final = sql.SQL("""
    SELECT kind, coalesce(prefix, '') FROM blocks
    WHERE enabled AND action = 'deny' AND (peer_id IS NOT DISTINCT FROM %s
        OR peer_id IS NULL AND (SELECT role FROM peers WHERE peer_id = %s) = 'originator')
""")
Denial = tuple[str, str]  # (kind, prefix; empty for zones and pools)


def put_allow_only(tables: Tables, path: str, peer_id: int | None, wanted: Collection[str]) -> None:
    """Make these kinds the allow-lists of a peer, or (None) of all calls."""
    there = _there(tables, peer_id)
    for kind in sorted(there - set(wanted)):
        tables.run(path, _DELETE, (peer_id, kind))
    for kind in sorted(set(wanted) - there):
        tables.run(path, _INSERT, (peer_id, kind))
    tables.written += len(there ^ set(wanted))


def check_exceptions(tables: Tables, path: str, peer_id: int | None, blocks: Sequence[Block], *, changed: bool) -> None:
    """For a list of rules without `allow_only`, once it is written: errors and notes (see above) by field.

    `changed`: the list is not what the database had, so that its meaning is news.
    """
    kept = _there(tables, peer_id)
    denials: list[Denial] = tables.connection.execute(_DENIALS, (peer_id, peer_id)).fetchall()
    alone = exceptions_from_nothing(blocks, denials, kept)
    for index in alone:
        kind, value = blocks[index].kind, blocks[index].value
        tables.errors.append(
            f"{path}blocks[{index}].{kind} {value!r}: it is allowed, and no rule denies it. For an allow-list of this "
            f"kind set allow_only: [{kind}]; for an exception from rules to come, allow_only: []"
        )
    if changed and not alone:
        for kind in sorted({block.kind for block in blocks if block.enabled and block.action == "allow"} - kept):
            tables.notes.append(
                f"{path}blocks: rules of kind {kind} that allow are exceptions from those that deny, and what no rule "
                f"names passes (before, such rules were an allow-list). For an allow-list set allow_only: [{kind}]; "
                "allow_only: [] says that this is meant"
            )


def exceptions_from_nothing(
    blocks: Sequence[Block], denials: Iterable[Denial], allow_lists: Collection[str]
) -> list[int]:
    """The positions of enabled rules that allow what nothing denies: neither a rule of the same kind (of prefixes: one
    that they begin with) nor an allow-list. Pure."""
    denied = set(denials)
    kinds = {kind for kind, _ in denied}
    return [
        index
        for index, block in enumerate(blocks)
        if block.enabled
        and block.action == "allow"
        and block.kind not in allow_lists
        and (
            block.kind not in kinds
            or (
                block.prefix is not None
                and not any((block.kind, block.prefix[:length]) in denied for length in range(len(block.prefix) + 1))
            )
        )
    ]


def _there(tables: Tables, peer_id: int | None) -> set[str]:
    return {kind for (kind,) in tables.connection.execute(_KINDS, (peer_id,)).fetchall()}
