"""What Streamco asks of a ClickHouse, through the client that it uses: true of the embedded one and of any other.

With STREAMCO_TEST_CLICKHOUSE_URL the same tests run against that server.
"""

import asyncio
import datetime as dt
import itertools
import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import clickhouse_connect
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from clickhouse_connect.driver.external import ExternalData
from pydantic import SecretStr

from runtime.clickhouse import connect
from runtime.connections import ClickHouse

pytestmark = pytest.mark.servers

_numbers = itertools.count(1)
_UTC = dt.UTC
_NOW = dt.datetime(2026, 7, 1, 12, 0, 0, 123000, tzinfo=_UTC)


@pytest.fixture
def settings(clickhouse_server: ClickHouse) -> Iterator[ClickHouse]:
    """A database of this test's own, empty."""
    name = f"streamco_test_{os.getpid()}_server_{next(_numbers)}"
    with connect(clickhouse_server, database="default") as maker:
        maker.command(f"CREATE DATABASE {name}")
        yield clickhouse_server.model_copy(update={"database": name})
        maker.command(f"DROP DATABASE {name} SYNC")


@pytest.fixture
def client(settings: ClickHouse) -> Iterator[Client]:
    with connect(settings) as client:
        yield client


def with_options(settings: ClickHouse, **options: Any) -> Client:
    host, _, port = settings.url.removeprefix("http://").rstrip("/").partition(":")
    return clickhouse_connect.get_client(
        host=host,
        port=int(port),
        username=settings.user,
        password=settings.password.get_secret_value(),
        database=settings.database,
        **options,
    )


COLUMNS = {
    "id": "UUID",
    "at": "DateTime64(3, 'UTC')",
    "at_tokyo": "DateTime64(3, 'Asia/Tokyo')",
    "vendor": "LowCardinality(String)",
    "amount": "Decimal(18, 6)",
    "cause": "UInt16",
    "text": "String",
    "fixed": "FixedString(4)",
    "codes": "Array(String)",
    "counts": "Map(String, UInt32)",
    "pdd": "Nullable(UInt32)",
    "side": "Enum8('in' = 1, 'out' = 2)",
    "answered": "Bool",
}


def row(number: int) -> list[Any]:
    text = ["plain", "o'clock \\ \t\n", "naïve ☎ 😀", "", "\x00 --; /* {x:String} %s"][number % 5]
    return [
        uuid.UUID(int=number),
        _NOW + dt.timedelta(milliseconds=number),
        _NOW.astimezone(dt.timezone(dt.timedelta(hours=9))),
        f"vendor {number % 3}",
        Decimal(number - 7) / 1_000_000,
        number % 65536,
        text,
        b"ab\x00\xff",
        [text, "+44"],
        {"a": number % 1000, text: 2},
        None if number % 2 else number % 1000,
        "out" if number % 2 else "in",
        number % 2 == 0,
    ]


def make(client: Client, engine: str = "MergeTree ORDER BY at") -> None:
    client.command(f"CREATE TABLE t ({', '.join(f'{n} {t}' for n, t in COLUMNS.items())}) ENGINE = {engine}")


def test_every_type_comes_back_as_it_went_in_by_rows_and_by_columns(client: Client) -> None:
    make(client)
    rows = [row(number) for number in range(40)]
    names = list(COLUMNS)
    assert client.insert("t", rows[:20], column_names=names).written_rows == 20
    by_column = [list(column) for column in zip(*rows[20:], strict=True)]
    client.insert("t", by_column, column_names=names, column_oriented=True)
    found = client.query(
        "SELECT * FROM t ORDER BY at", query_formats={"FixedString": "bytes"}, tz_mode="aware"
    ).result_rows
    assert [list(one) for one in found] == rows


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", False])
def test_inserts_and_results_of_many_blocks_are_whole_whatever_the_compression(
    settings: ClickHouse, client: Client, compression: str | bool
) -> None:
    """A client sends every block as a compressed frame of its own: whoever reads one frame loses the rest silently."""
    count = 100_000
    rows = [[n, f"{n} " * 20] for n in range(count)]  # wide enough for several blocks
    client.command("CREATE TABLE n (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    with with_options(settings, compress=compression) as compressed:
        compressed.insert("n", rows, column_names=["n", "s"])
        counted = client.query("SELECT count(), uniqExact(n), sum(n), countIf(repeat(n || ' ', 20) = s) FROM n")
        assert counted.result_rows == [(count, count, count * (count - 1) // 2, count)]
        assert [list(row) for row in compressed.query("SELECT n, s FROM n ORDER BY n").result_rows] == rows


def test_parameters_are_bound_and_never_read_as_sql(client: Client) -> None:
    make(client)
    client.insert("t", [row(number) for number in range(10)], column_names=list(COLUMNS))
    for text in ("o'clock \\ \t\n", "naïve ☎ 😀", "", "' OR 1 = 1 --", "{x:String}"):
        counted = client.command(
            "SELECT count() FROM t WHERE text = {text:String} AND has({all:Array(String)}, text)",
            parameters={"text": text, "all": [text, "'x"]},
        )
        assert counted == sum(one[6] == text for one in map(row, range(10))), text
    since = client.command("SELECT count() FROM t WHERE at >= {at:DateTime64(3)}", parameters={"at": row(4)[1]})
    assert since == 6


def test_settings_hold_for_their_query_only(client: Client) -> None:
    asked = "SELECT getSetting('max_threads'), getSetting('max_execution_time')"
    before = client.query(asked).first_row
    assert client.query(asked, settings={"max_threads": 1, "max_execution_time": 7}).first_row == (1, 7)
    assert client.query(asked).first_row == before


def test_an_insert_that_is_repeated_with_its_token_counts_once(client: Client) -> None:
    make(client, "MergeTree ORDER BY at SETTINGS non_replicated_deduplication_window = 100")
    for token in ("calls-0-17", "calls-0-17", "calls-0-18"):
        client.insert("t", [row(1)], column_names=list(COLUMNS), settings={"insert_deduplication_token": token})
    assert client.command("SELECT count() FROM t") == 2


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE"),
        ("SELECT * FROM nowhere.t", 81, "UNKNOWN_DATABASE"),
        ("SELCT 1", 62, "SYNTAX_ERROR"),
        ("SELECT nothing", 47, "UNKNOWN_IDENTIFIER"),
        (
            "SELECT count() FROM numbers(1e13) WHERE sipHash64(number) = 1 SETTINGS max_execution_time = 1",
            159,
            "TIMEOUT",
        ),
        ("SELECT length(groupArray(number)) FROM numbers(1e9) SETTINGS max_memory_usage = 50000000", 241, "MEMORY_LIM"),
    ],
)
def test_errors_carry_the_code_and_the_name(client: Client, sql: str, code: int, name: str) -> None:
    with pytest.raises(DatabaseError, match=rf"(?s)\b{code}\b.*{name}"):
        client.query(sql)
    assert client.command("SELECT 1") == 1


def test_an_error_after_the_first_rows_is_raised_and_not_taken_for_the_end(client: Client) -> None:
    sql = "SELECT throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 1000"
    with pytest.raises(ClickHouseError):
        client.query(sql)
    with pytest.raises(ClickHouseError), client.query_row_block_stream(sql) as stream:
        sum(len(block) for block in stream)
    assert client.command("SELECT 1") == 1


def test_a_stream_left_early_leaves_the_client_usable(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(50000000)") as stream:
        assert next(iter(stream))[0] == (0,)
    assert client.command("SELECT 1") == 1


def test_a_result_without_rows(client: Client) -> None:
    make(client)
    assert list(client.query("SELECT id, text FROM t").result_rows) == []
    assert client.query_df("SELECT id, text FROM t").empty


def test_data_frames_and_arrow_both_ways(client: Client) -> None:
    client.command("CREATE TABLE f (at DateTime64(3, 'UTC'), v String, n Decimal(18, 6)) ENGINE = MergeTree ORDER BY v")
    client.insert_df("f", pd.DataFrame({"at": [_NOW], "v": ["frame"], "n": [Decimal("1.5")]}))
    table = pa.table({"at": pa.array([_NOW], pa.timestamp("ms", tz="UTC")), "v": ["arrow"]})
    client.insert_arrow("f", table.append_column("n", pa.array([Decimal("2.500000")], pa.decimal128(18, 6))))
    client.raw_insert("f", ["v", "n"], b'{"v":"json","n":"3"}\n', fmt="JSONEachRow")
    frame = client.query_df("SELECT v, n FROM f ORDER BY v")
    assert frame.to_dict("list") == {
        "v": ["arrow", "frame", "json"],
        "n": [Decimal("2.5"), Decimal("1.5"), Decimal("3")],
    }
    assert client.query_arrow("SELECT sum(n) AS n FROM f").to_pylist() == [{"n": Decimal("7.000000")}]
    lines = client.raw_query("SELECT v FROM f ORDER BY v", fmt="JSONEachRow").decode().splitlines()
    assert [json.loads(line)["v"] for line in lines] == ["arrow", "frame", "json"]


def test_external_data_is_a_table_of_its_query_only(client: Client) -> None:
    data = ExternalData(file_name="extra", data=b"1\tx\n2\ty\n", fmt="TSV", structure="a UInt32, b String")
    assert client.query("SELECT sum(a), max(b) FROM extra", external_data=data).first_row == (3, "y")
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM extra")


def test_inserts_in_sql_and_their_counts(client: Client) -> None:
    client.command("CREATE TABLE v (n UInt32, s String) ENGINE = MergeTree ORDER BY n")
    client.command("INSERT INTO v VALUES (1, 'a;b'), (2, ' FORMAT Native ')")
    client.command("INSERT INTO v (n, s) SELECT number + 3, 'it''s' FROM numbers(5)")
    client.command('INSERT INTO v FORMAT JSONEachRow {"n": 8, "s": "FORMAT"}')
    found = client.query("SELECT n, s FROM v ORDER BY n").result_rows
    assert found == [(1, "a;b"), (2, " FORMAT Native "), *((n, "it's") for n in range(3, 8)), (8, "FORMAT")]
    with pytest.raises(DatabaseError, match="SYNTAX_ERROR"):
        client.command("SELECT 1; DROP TABLE v")
    assert client.command("SELECT count() FROM v") == 8


def test_a_session_keeps_its_tables_and_settings_and_others_see_nothing(settings: ClickHouse, client: Client) -> None:
    with with_options(settings, session_id=f"s{uuid.uuid4().hex}") as session:
        session.command("CREATE TEMPORARY TABLE own (n UInt8)")
        session.command("INSERT INTO own VALUES (1), (2)")
        session.command("SET max_threads = 3")
        asked = "SELECT count(), any(getSetting('max_threads')) FROM own"
        assert session.query(asked, settings={"max_threads": 1}).first_row == (2, 1)
        assert session.query(asked).first_row == (2, 3)
        assert session.command("SELECT currentDatabase()") == settings.database
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM own")


def test_an_insert_that_the_table_refuses_is_an_error_and_leaves_nothing(client: Client) -> None:
    client.command(
        "CREATE TABLE p (day Date, n Int32, CONSTRAINT positive CHECK n > 0) ENGINE = MergeTree PARTITION BY day"
        " ORDER BY n"
    )
    days = [_NOW.date() + dt.timedelta(number) for number in range(101)]
    refused = {
        "TOO_MANY_PARTS": [[day, 1] for day in days],
        "VIOLATED_CONSTRAINT": [[days[0], 1], [days[0], -1]],
    }
    for name, rows in refused.items():
        with pytest.raises(DatabaseError, match=name):
            client.insert("p", rows, column_names=["day", "n"])
        assert client.command("SELECT count() FROM p") == 0
    assert client.insert("p", [[day, 1] for day in days[:100]], column_names=["day", "n"]).written_rows == 100
    assert client.command("SELECT count() FROM p") == 100


def test_many_clients_at_once_each_get_their_own_answer(settings: ClickHouse) -> None:
    def ask(number: int) -> list[Any]:
        with connect(settings) as own:
            asked = range(number * 100, number * 100 + 15)
            return [own.command(f"SELECT {n} + sleepEachRow(0.001)") == n for n in asked]

    with ThreadPoolExecutor(8) as pool:
        assert all(itertools.chain.from_iterable(pool.map(ask, range(8))))


def test_one_client_is_shared_between_threads(client: Client) -> None:
    client.command("CREATE TABLE m (n UInt32) ENGINE = MergeTree ORDER BY n")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: client.insert("m", [[n]], column_names=["n"]), range(60)))
    assert client.query("SELECT count(), uniqExact(n) FROM m").first_row == (60, 60)


async def test_the_asynchronous_client(settings: ClickHouse) -> None:
    host, _, port = settings.url.removeprefix("http://").rstrip("/").partition(":")
    secret = settings.password.get_secret_value()
    async with await clickhouse_connect.get_async_client(
        host=host, port=int(port), username=settings.user, password=secret
    ) as client:
        answers = await asyncio.gather(*(client.query(f"SELECT {n}") for n in range(5)))
    assert [answer.result_rows for answer in answers] == [[(n,)] for n in range(5)]


def test_a_wrong_password_and_an_unknown_user_are_refused(clickhouse_server: ClickHouse) -> None:
    for wrong in ({"password": SecretStr("something else")}, {"user": "nobody_we_know"}):
        with pytest.raises(DatabaseError, match=r"516|AUTHENTICATION_FAILED"):
            connect(clickhouse_server.model_copy(update=wrong), database="default")


def test_replacing_rows_are_read_once_and_partitions_can_be_dropped(client: Client) -> None:
    client.command(
        "CREATE TABLE r (day Date, id String, revision UInt16, n Int64)"
        " ENGINE = ReplacingMergeTree(revision) PARTITION BY day ORDER BY id"
    )
    names = ["day", "id", "revision", "n"]
    for revision, n in ((0, 10), (2, 30), (1, 20)):
        client.insert("r", [[_NOW.date(), "leg", revision, n]], column_names=names)
    client.insert("r", [[_NOW.date() + dt.timedelta(1), "next", 0, 1]], column_names=names)
    assert client.query("SELECT id, revision, n FROM r FINAL ORDER BY id").result_rows == [
        ("leg", 2, 30),
        ("next", 0, 1),
    ]
    client.command("ALTER TABLE r DROP PARTITION {day:Date}", parameters={"day": _NOW.date()})
    assert client.query("SELECT id FROM r FINAL").result_rows == [("next",)]
