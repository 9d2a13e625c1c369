"""ClickHouse's HTTP interface over the engine inside this process.

http     a request is checked, read within bounds, answered; nothing of SQL is known here
engine   runs one statement on one handle of the engine; kills, limits
sessions handles that outlive a request: few, locked while used, forgotten when idle
logins   who asks, by which password; what each login takes of its quota
guard    has the engine read a statement, and says whether its login may run it
rules    pure: what is allowed, by the words and the syntax tree of a statement (tree)
sql      pure: where a statement's data begins, its format, what kind it is; quoting
wire     pure: compressed bodies in and out, errors as ClickHouse says them
"""
