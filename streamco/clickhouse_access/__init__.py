"""Who may do what in ClickHouse.

rights     the one table: logins' kinds, their tables, functions, settings and quotas
functions  the engine's functions that were reviewed, and those that reach out of the database
grants     the SQL that gives a ClickHouse server the same rules as the embedded front keeps
register   the analysts' logins of a home: a file, passwords as hashes
"""
