"""PostgreSQL's connections of the dashboards: bounded, used again, and good after whatever PostgreSQL did meanwhile."""

import threading
import time

import psycopg
import pytest
from pydantic import SecretStr

from runtime.connections import Postgres
from runtime.postgres_pool import Connections

PID = "SELECT pg_backend_pid()"


def pid(connections: Connections) -> int:
    with connections.lent() as connection:
        row = connection.execute(PID).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.servers
def test_one_connection_serves_what_comes_after_another(postgres: Postgres) -> None:
    connections = Connections(postgres)
    assert len({pid(connections) for _ in range(20)}) == 1
    with connections.lent() as one, connections.lent(autocommit=True) as two:
        assert one.info.backend_pid != two.info.backend_pid
    connections.close()
    with psycopg.connect(postgres.dsn.get_secret_value()) as own:
        deadline = time.monotonic() + 5
        while own.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()").fetchone() != (
            1,
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
            own.rollback()


@pytest.mark.servers
def test_at_the_bound_who_asks_waits_for_its_turn(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections(postgres, most=2)
    found: list[int] = []

    def ask() -> None:
        with connections.lent() as connection:
            connection.execute("SELECT pg_sleep(0.02)")
            found.append(connection.info.backend_pid)

    several = [threading.Thread(target=ask) for _ in range(12)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert (len(found), len(set(found))) == (12, 2)
    monkeypatch.setattr("runtime.postgres_pool.SECONDS", 0.1)
    with connections.lent(), connections.lent(), pytest.raises(psycopg.OperationalError, match="in use"):
        pid(connections)
    pid(connections)


@pytest.mark.servers
def test_what_postgresql_ended_is_not_lent_again(postgres: Postgres) -> None:
    """As when it was started again: nobody is told of it who asks after it."""
    connections = Connections(postgres)
    with connections.lent() as one, connections.lent() as two:
        ended = [one.info.backend_pid, two.info.backend_pid]
    with psycopg.connect(postgres.dsn.get_secret_value()) as own:
        for number in ended:
            own.execute("SELECT pg_terminate_backend(%s, 5000)", (number,))
    for _ in range(3):
        assert pid(connections) not in ended
    with pytest.raises(psycopg.Error), connections.lent() as last:  # while it is lent: its own error, and a new one
        last.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert pid(connections) != last.info.backend_pid if not last.closed else pid(connections)


@pytest.mark.servers
def test_a_transaction_is_whole_and_nothing_of_it_reaches_the_next(postgres: Postgres) -> None:
    connections = Connections(postgres, most=1)
    with connections.lent() as connection:
        connection.execute("CREATE TABLE kept (x int)")
    with pytest.raises(psycopg.Error), connections.lent() as connection:
        connection.execute("INSERT INTO kept VALUES (1); SELECT 1 / 0")
    with pytest.raises(psycopg.Error), connections.lent() as connection:
        connection.execute("nonsense")
    with connections.lent(read_only=True) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("INSERT INTO kept VALUES (2)")
    with connections.lent(autocommit=True) as connection:
        connection.execute("INSERT INTO kept VALUES (3)")
        with pytest.raises(psycopg.Error):
            connection.execute("nonsense")
    with connections.lent() as connection:
        assert connection.execute("SELECT x FROM kept").fetchall() == [(3,)]
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(10)")
    assert pid(connections)


def test_while_it_is_away_that_is_said_at_once() -> None:
    connections = Connections(Postgres(dsn=SecretStr("postgresql://nobody@127.0.0.1:9/none")), most=1)
    before = time.monotonic()
    for _ in range(5):
        with pytest.raises(psycopg.OperationalError), connections.lent():
            pytest.fail("lent")
    assert time.monotonic() - before < 2
