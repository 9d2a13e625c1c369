"""The servers of one machine, from packages alone: PostgreSQL, Kafka and ClickHouse's engine, each as its own process.

Each module makes a `Server` (see `streamco.embedded.server`) out of its frozen settings; the supervisor starts, watches
and stops it. Of the environment only PATH,
JAVA_HOME and XDG_CACHE_HOME are looked at.
"""
