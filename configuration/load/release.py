"""Writes release tables into PostgreSQL: by name, the rules as the whole list."""

from psycopg import sql

from configuration.entities.release import ReleaseTable
from configuration.entities.tables import Tables


def put_release_table(tables: Tables, path: str, table: ReleaseTable) -> None:
    """The table and its rules; only what differs is written."""
    table_id = tables.put(path, "release_tables", {"name": table.name})
    if table_id is None:
        return
    rows = tables.connection.execute(
        "SELECT kind, code, action, caller_cause FROM release_rules WHERE release_table_id = %s", (table_id,)
    ).fetchall()
    there = {(kind, code): (action, caller_cause) for kind, code, action, caller_cause in rows}
    wanted = {rule.key: (rule.action, rule.caller_cause) for rule in table.rules}
    for kind, code in sorted(there.keys() - wanted.keys()):
        statement = sql.SQL("DELETE FROM release_rules WHERE release_table_id = %s AND kind = %s AND code = %s")
        tables.run(path, statement, (table_id, kind, code))
        tables.written += 1
    for index, rule in enumerate(table.rules):
        if there.get(rule.key) != wanted[rule.key]:
            statement = sql.SQL(
                "INSERT INTO release_rules (release_table_id, kind, code, action, caller_cause)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (release_table_id, kind, code)"
                " DO UPDATE SET action = excluded.action, caller_cause = excluded.caller_cause"
            )
            tables.run(f"{path}.rules[{index}]", statement, (table_id, *rule.key, rule.action, rule.caller_cause))
            tables.written += 1
