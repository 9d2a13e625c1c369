"""Logins of the embedded ClickHouse: an analyst reads the CDRs as any client does, within limits, and nothing else.

The fuzz is `python -m bench SQLFUZZ` in its short form: hostile requests, made of what the engine itself lists.
"""

import contextlib
import itertools
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData
from made_requests import Answer, ask, basic
from pydantic import SecretStr

from bench.sql_fuzz import Trap, attack, listed, new_analyst, trap
from dashboards.kit.queries import DIMENSIONS, HOUR, Queries
from runtime.clickhouse import connect
from runtime.connections import Postgres
from runtime.migrations import migrate_clickhouse
from streamco.clickhouse_access.functions import is_reaching, is_reviewed
from streamco.clickhouse_access.grants import create_user, drop_user, enable_user, grants
from streamco.clickhouse_access.register import Register
from streamco.clickhouse_access.rights import ANALYST, OWN_TABLES, READER, TABLES
from streamco.embedded.settings import ClickHouseServer

pytestmark = pytest.mark.servers

_names = itertools.count(1)
_WRITTEN = """
    INSERT INTO legs (start_time, call_start_time, end_time, call_id, leg, leg_id, side, vendor, answered)
    SELECT now64(3), now64(3), now64(3), 'call', number, toString(number), if(number = 0, 'receivable', 'payable'),
           'danube', true FROM numbers(3)
"""


class Seat(NamedTuple):
    """Where an analyst asks, by which login."""

    settings: ClickHouseServer
    login: str
    password: str

    def ask(
        self, sql: str, path: str = "/", data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One POST of a statement, or of `data`."""
        who = basic(self.login, self.password)
        return ask(self.settings, path, sql.encode() if data is None else data, who | (headers or {}), known=False)

    def get(self, sql: str) -> Answer:
        """One GET of a statement."""
        return ask(self.settings, f"/?query={quote(sql)}", None, basic(self.login, self.password), known=False)


@pytest.fixture(scope="module")
def owner(clickhouse_owner: ClickHouseServer, postgres_server: str) -> Iterator[ClickHouseServer]:
    """With the product's own database, migrated, and a table of nobody's business beside it."""
    ours = clickhouse_owner.connection.model_copy(update={"database": clickhouse_owner.database})
    migrate_clickhouse(Postgres(dsn=SecretStr(postgres_server)), ours)
    with connect(ours) as client:
        client.command("CREATE TABLE secret (call_id String) ENGINE = MergeTree ORDER BY call_id")
        client.command(_WRITTEN)
        yield clickhouse_owner
        client.command(f"DROP DATABASE {clickhouse_owner.database} SYNC")


@pytest.fixture(scope="module")
def hole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    with trap(tmp_path_factory.mktemp("trap")) as set_up:
        yield set_up


def new_seat(owner: ClickHouseServer) -> Seat:
    login = f"analyst{next(_names)}"
    return Seat(owner, login, Register(owner.directory).add(login, "now", frozenset()))


@pytest.fixture(scope="module")
def seat(owner: ClickHouseServer) -> Seat:
    """An analyst's, for every test that does not change the login."""
    return new_seat(owner)


def client_of(seat: Seat, **options: Any) -> Client:
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=seat.settings.port, username=seat.login, password=seat.password, **options
    )


def test_an_analyst_reads_by_the_usual_client_without_naming_a_database(seat: Seat) -> None:
    with client_of(seat) as client:
        assert client.command("SELECT currentDatabase()") == "streamco"
        assert client.query("SELECT vendor, count() FROM legs FINAL GROUP BY vendor").result_rows == [("danube", 3)]
        assert client.query("SELECT count() FROM streamco.judged_legs WHERE reached").first_row == (3,)
        counted = "SELECT count() FROM legs WHERE leg = {leg:UInt8} AND vendor IN {names:Array(String)}"
        assert client.query(counted, parameters={"leg": 1, "names": ["danube", "' OR 1 --"]}).first_row == (1,)
        by = "SELECT {column:Identifier} AS name, count() FROM {table:Identifier} GROUP BY name ORDER BY name"
        named = {"column": "side", "table": "legs"}
        assert client.query(by, parameters=named).result_rows == [("payable", 2), ("receivable", 1)]
        data = ExternalData(
            file_name="extra", data=b"1\tx\n2\ty\n", fmt="TSV", structure="leg UInt8, b Nullable(String)"
        )
        assert client.query("SELECT max(b) FROM extra JOIN legs USING leg", external_data=data).first_row == ("y",)
        assert client.query_df("SELECT leg FROM legs ORDER BY leg").leg.tolist() == [0, 1, 2]
        assert client.query_arrow("SELECT sum(leg) AS n FROM legs").to_pylist() == [{"n": 3}]
        with client.query_row_block_stream("SELECT number FROM numbers(100000)") as stream:
            assert sum(len(block) for block in stream) == 100_000


@pytest.mark.parametrize(
    "sql",
    [
        "WITH c AS (SELECT leg FROM legs) SELECT count() FROM c JOIN legs AS l ON l.leg = c.leg",
        "WITH 2 AS two, (SELECT max(leg) FROM legs) AS top SELECT two + top",
        "SELECT l.leg, row_number() OVER (PARTITION BY l.side ORDER BY l.leg) FROM legs AS l FINAL",
        "SELECT sumIf(leg, answered), quantilesTimingIf(0.5, 0.9)(duration_ms, answered), uniqExact(call_id) FROM legs",
        "SELECT arrayMap(x -> x * 2, groupArray(leg)) FROM legs WHERE (side, leg) IN (SELECT side, leg FROM legs)",
        "SELECT * EXCEPT (code) REPLACE (leg + 1 AS leg) FROM legs ORDER BY leg LIMIT 1 BY side",
        "SELECT COLUMNS('^leg') FROM legs ARRAY JOIN [1, 2] AS n UNION ALL SELECT 1, '', 1",
        "SELECT toStartOfHour(start_time) AS h, count() FROM legs GROUP BY h WITH ROLLUP SETTINGS max_threads = 1",
        "SELECT JSONExtract(decision, 'candidates', 'vendors', 'Array(String)') FROM decisions FORMAT JSONEachRow",
        "-- a comment; with a semicolon\nSELECT 'INTO OUTFILE; file()' FROM legs -- and another",
        "EXPLAIN indexes = 1 SELECT count() FROM legs", "EXPLAIN SYNTAX SELECT 1", "DESCRIBE TABLE legs",
        "SHOW TABLES", "SHOW DATABASES", "SHOW CREATE TABLE legs", "EXISTS TABLE legs",
        "SELECT name, type, comment FROM system.columns WHERE table = 'legs'",
        "SELECT name, value FROM system.settings WHERE changed", "SELECT 1 IN system.one",
        "SELECT * FROM numbers(2)", "SELECT * FROM numbers_mt(2)", "SELECT * FROM generate_series(1, 2)",
        "SELECT * FROM generateSeries(1, 2)", "SELECT zero FROM system.zeros LIMIT 2",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT sum(n) FROM t",
    ],
)  # fmt: skip
def test_what_analysts_write_is_answered(seat: Seat, sql: str) -> None:
    for answer in (seat.ask(sql), seat.get(sql)):
        assert (answer.status, answer.code) == (200, 0), answer.text


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('{canary}', 'LineAsString')", "SELECT file('{canary}')", "SELECT FILE ( '{canary}' )",
        "SELECT * FROM default.`{canary}`", "SELECT * FROM `{canary}`", "SELECT arrayMap(file, ['{canary}'])",
        "SELECT * APPLY(file) FROM (SELECT '{canary}')", "SELECT 1 INTO OUTFILE '{folder}/made'",
        "EXPLAIN SELECT 1 INTO OUTFILE '{folder}/made'",
        "SELECT * FROM url('http://127.0.0.1:{port}/', 'CSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1:{port}', system.one)", "SELECT * FROM view(SELECT file('{canary}'))",
        "INSERT INTO FUNCTION file('{folder}/made', 'CSV', 'a String') SELECT 'x'",
        "INSERT INTO FUNCTION file('{folder}/made', 'CSV', 'a String') VALUES ('x')",
        "INSERT INTO legs (call_id) VALUES ('x')", "INSERT INTO legs (call_id) SELECT file('{canary}')",
        "CREATE TABLE x (a String) ENGINE = File(CSV, '{canary}')", "CREATE VIEW v AS SELECT file('{canary}')",
        "CREATE TEMPORARY TABLE x AS SELECT 1", "SET max_threads = 1", "USE system", "SYSTEM SHUTDOWN",
        "DROP TABLE legs",
        "KILL QUERY WHERE 1", "SELECT * FROM system.processes", "SELECT * FROM system.query_log", "SHOW PROCESSLIST",
        "SELECT * FROM merge('.*', '.*')", "SELECT * FROM secret", "SELECT 1 IN (secret)", "SELECT * FROM audit_asked",
        "WITH secret AS (SELECT 1) SELECT * FROM secret", "SELECT hostName()", "SELECT dictGet('d', 'a', 1)",
        "SELECT * FROM legs WHERE 1 IN (SELECT 1 FROM cluster('default', system.processes))",
        "SELECT 1 SETTINGS max_execution_time = 0", "SELECT (SELECT 1 SETTINGS max_result_rows = 0)",
        "SELECT 1 SETTINGS dialect = 'kusto'", "SELECT 1; SELECT 2", "SELECT 1 FORMAT Template",
        "SHOW TABLES WHERE file('{canary}') != ''", "SHOW CREATE TABLE secret", "EXECUTE AS streamco SELECT 1",
        "SELECT formatRow('Protobuf', 1)", "SELECT * FROM numbers(1) PARALLEL WITH SELECT 1",
    ],
)  # fmt: skip
def test_what_reaches_out_or_changes_is_refused(seat: Seat, hole: Trap, sql: str) -> None:
    at = hole.targets
    sql = sql.format(canary=at.canary, folder=at.folder, port=at.port)
    for answer in (seat.ask(sql), seat.get(sql), seat.ask(sql, "/?session_id=mine")):
        assert answer.code in (497, 164, 115, 452, 62, 73), (sql, answer.text)
        assert hole.text not in answer.text
    assert hole.files() == []
    assert hole.connections == 0


@pytest.mark.parametrize(
    "settings",
    [
        "max_execution_time=0", "max_execution_time=61", "max_result_rows=0", "max_memory_usage=0", "readonly=0",
        "max_rows_to_read=99999999999999", "dialect=kusto", "format_schema=x", "output_format_schema=/x",
        "database=system",
        "database=default", "default_format=Template", "session_id=a&session_check=1", "no_such_setting=1",
        "max_bytes_ratio_before_external_sort=0.1", "result_overflow_mode=break", "log_queries=1",
    ],
)  # fmt: skip
def test_arguments_that_widen_are_refused(seat: Seat, settings: str) -> None:
    answer = seat.ask("SELECT 1", f"/?{settings}")
    assert answer.code in (115, 452, 164, 497, 73, 372), answer.text


def test_a_statement_longer_than_the_engine_reads_is_refused_unread(seat: Seat) -> None:
    answer = seat.ask("SELECT " + "1," * 20_000_000 + "1")
    assert (answer.status, answer.code) == (413, 307)
    answer = seat.ask("SELECT " + "1," * 200_000 + "1")
    assert (answer.status, answer.code) == (400, 62)
    long = "SELECT 1 -- " + "'" * 250_000
    assert seat.ask(long).text == "1\n"


def test_an_error_shows_what_was_asked_and_nothing_of_ours(seat: Seat) -> None:
    answer = seat.ask("SELECT leg FROM FROM legs")
    assert answer.code == 62
    assert answer.text.startswith("Code: 62. DB::Exception: Syntax error: failed at position ")
    assert "format" not in answer.text
    assert answer.text.endswith(". (SYNTAX_ERROR)\n")


def test_limits_are_in_force_for_every_answer(seat: Seat) -> None:
    assert ANALYST.limits is not None
    asked = "SELECT getSetting('max_execution_time'), getSetting('max_result_rows'), getSetting('readonly')"
    assert seat.ask(asked).text == f"{ANALYST.limits.query_seconds}\t{ANALYST.limits.result_rows}\t1\n"
    rows = f"SELECT number FROM numbers({ANALYST.limits.result_rows + 70_000})"
    for path in ("/", "/?wait_end_of_query=1"):
        answer = seat.ask(f"{rows} FORMAT TSV", path)
        assert "TOO_MANY_ROWS_OR_BYTES" in answer.text, answer.text[-300:]
    assert seat.ask(f"SELECT count() FROM ({rows})").text == f"{ANALYST.limits.result_rows + 70_000}\n"
    assert seat.ask(f"SELECT sum(number) FROM numbers({ANALYST.limits.read_rows + 1})").code == 158
    assert seat.ask("SELECT length(groupArray(number)) FROM numbers(200000000)").code == 241
    slow = "SELECT count() FROM numbers(1000000000) WHERE sipHash64(sipHash64(number)) = 1"
    assert seat.ask(slow, "/?max_execution_time=0.2").code == 159
    assert seat.ask("SELECT 1", "/?max_execution_time=5&max_result_rows=10&readonly=1&max_threads=1").text == "1\n"


def test_a_login_has_so_many_queries_at_once(seat: Seat) -> None:
    assert ANALYST.limits is not None
    slow = "SELECT count() FROM numbers(1900000000) WHERE sipHash64(sipHash64(number)) = 1"
    assert seat.ask("SELECT 1").text == "1\n"
    with ThreadPoolExecutor(ANALYST.limits.concurrent_queries + 1) as pool:
        asked = [pool.submit(seat.ask, slow, "/?max_execution_time=3&max_threads=1") for _ in range(5)]
        answers = sorted((one.result() for one in asked), key=lambda one: one.code)
    assert [one.code for one in answers] == [159, 159, 159, 159, 202]
    assert answers[-1].status == 503
    assert f"{seat.login}: 4 queries run already" in answers[-1].text
    assert seat.ask("SELECT 1").text == "1\n"


def test_an_upload_says_names_and_types_only(seat: Seat, hole: Trap) -> None:
    def upload(structure: str, form: str = "TSV", data: str = "x") -> Answer:
        content = f'--x\r\nContent-Disposition: form-data; name="e"; filename="f"\r\n\r\n{data}\n\r\n--x--\r\n'
        path = f"/?query=SELECT+*+FROM+e&e_structure={quote(structure)}&e_format={form}"
        return seat.ask("", path, content.encode(), {"Content-Type": "multipart/form-data; boundary=x"})

    assert upload("a String").text == "x\n"
    assert upload("a Enum8('x' = 1, 'it''s' = 2), b Array(Nullable(Decimal(18, 6)))", data="x\t[1.5]").code == 0
    canary = hole.targets.canary
    for structure in (
        f"a String DEFAULT file('{canary}')",
        f"a String) AS SELECT file('{canary}') --",
        f"a String) ENGINE = File(CSV, '{canary}') --",
        "a String) AS secret --",
        "a String CODEC(ZSTD)",
        "`a\\n` String",
    ):
        answer = upload(structure)
        assert answer.code in (497, 62), (structure, answer.text)
    for form, data in (("Values", f"(file('{canary}'))"), ("Template", "x"), ("Protobuf", "x")):
        answer = upload("a String", form, data)
        assert answer.code == 73
        assert hole.text not in answer.text


def test_a_disabled_login_a_wrong_password_and_nobody_look_the_same(owner: ClickHouseServer) -> None:
    seat = new_seat(owner)
    register = Register(seat.settings.directory)
    assert seat.ask("SELECT 1").text == "1\n"
    said = {seat._replace(password="wrong").ask("SELECT 1").text.replace(seat.login, "X")}
    said.add(seat._replace(login="nobody").ask("SELECT 1").text.replace("nobody", "X"))
    register.enable(seat.login, enabled=False)
    said.add(seat.ask("SELECT 1").text.replace(seat.login, "X"))
    assert len(said) == 1
    assert "AUTHENTICATION_FAILED" in said.pop()
    register.enable(seat.login, enabled=True)
    assert seat.ask("SELECT 1").text == "1\n"
    renewed = register.renew(seat.login)
    assert seat.ask("SELECT 1").code == 516
    assert seat._replace(password=renewed).ask("SELECT 1").text == "1\n"


def test_the_writers_login_neither_reads_nor_writes_files(owner: ClickHouseServer, hole: Trap) -> None:
    at = hole.targets
    for sql in (
        f"SELECT * FROM file('{at.canary}', 'LineAsString')",
        f"SELECT file('{at.canary}')",
        f"SELECT * FROM `{at.canary}`",
        "SELECT * FROM `analysts.json`",
        f"INSERT INTO FUNCTION file('{at.folder}/made', 'CSV', 'a String') SELECT 'x'",
        f"INSERT INTO streamco.secret VALUES (file('{at.canary}'))",
        f"SELECT 1 INTO OUTFILE '{at.folder}/made'",
        f"CREATE TABLE x (a String) ENGINE = File(CSV, '{at.canary}')",
        f"CREATE VIEW v AS SELECT * FROM file('{at.canary}')",
        f"CREATE DICTIONARY d (a String) PRIMARY KEY a SOURCE(FILE(path '{at.canary}' format 'CSV')) LAYOUT(FLAT())",
        f"BACKUP TABLE secret TO File('{at.folder}/made')",
        f"SELECT * FROM url('http://127.0.0.1:{at.port}/', 'CSV', 'a String')",
        "SYSTEM STOP MERGES",
    ):
        answer = ask(owner, data=sql.encode())
        assert answer.code not in (0, 60), (sql, answer.text)
        assert hole.text not in answer.text
    assert hole.files() == []
    assert hole.connections == 0
    assert ask(owner, data=b"SELECT count() FROM streamco.secret").text == "0\n"


def test_the_dashboards_questions_are_answered_to_their_own_login(owner: ClickHouseServer) -> None:
    queries = Queries(owner.reading)
    for dimension in DIMENSIONS:
        queries.by_dimension(dimension, HOUR)
    queries.attempts(HOUR)
    for name in ("attempts_by_minute", "concurrent_by_minute", "by_minute"):
        queries.minutes(name)
    assert not queries.call_legs("ast1-1-1700000000.1")
    assert queries.call_decision("ast1-1-1700000000.1") is None
    assert not queries.calls_by_sip_call_id("x")
    with connect(owner.reading) as client, pytest.raises(DatabaseError, match="READONLY"):
        client.insert("legs", [["x"]], column_names=["call_id"])


def test_every_function_of_the_engine_is_reviewed_or_refused_by_name(owner: ClickHouseServer) -> None:
    """A new version of the engine brings new ones. Until they are reviewed they are refused, and this fails."""
    with connect(owner.reading) as client:
        names = [row[0] for row in client.query("SELECT name FROM system.functions").result_rows]
    assert [name for name in names if not is_reviewed(name) and not is_reaching(name)] == []
    assert [name for name in names if is_reviewed(name) and is_reaching(name)] == []


def test_the_tables_that_the_migrations_make_are_all_in_the_list(owner: ClickHouseServer) -> None:
    with connect(owner.reading) as client:
        made = {
            row[0] for row in client.query("SELECT name FROM system.tables WHERE database = 'streamco'").result_rows
        }
        known = client.query("SELECT name FROM system.settings").result_rows
    assert made - {"secret"} == TABLES | OWN_TABLES
    changeable = ANALYST.settings | READER.settings | {name for name, _ in ANALYST.fixed}
    assert changeable <= {row[0] for row in known}


def test_the_sql_for_a_server_is_sql(owner: ClickHouseServer) -> None:
    """The engine here has no users: but it parses what a server would run, and names the settings that it knows."""
    statements = [
        *grants("streamco"),
        *create_user("ada.o", "password", "00ff", ANALYST),
        enable_user("ada.o", enabled=False),
        enable_user("ada.o", enabled=True),
        drop_user("ada.o"),
    ]
    with connect(owner.reading) as client:
        for statement in statements:
            shown = client.command("SELECT formatQuerySingleLine({sql:String})", parameters={"sql": statement})
            assert shown, statement
    text = "\n".join(statements)
    assert "password" not in text.replace("sha256_password", "")
    assert not re.search(r"\b(FILE|URL|S3|REMOTE|SOURCES|ACCESS MANAGEMENT|ALL)\b|\*\.\*", text)


def test_fuzz_nothing_comes_out_nothing_connects_nothing_is_made(
    owner: ClickHouseServer, hole: Trap, whole: bool
) -> None:
    with connect(owner.connection, database="default") as client:
        names = listed(lambda sql: [str(row[0]) for row in client.query(sql).result_rows])
    assert len(names.table_functions) > 50
    assert {"file", "hostName", "dictGet"} <= set(names.reaching)
    for first in range(0, 40_000 if whole else 400, 4_000):
        with new_analyst(owner, f"fuzz{next(_names)}") as asker:
            seen = attack(asker, hole, names, range(first, first + (4_000 if whole else 400)))
        assert seen["refused"] > seen.total() / 2
        assert seen["answered"] > 0
        assert seen["broken"] == 0


def test_nothing_of_an_analysts_password_is_written(seat: Seat) -> None:
    with contextlib.suppress(DatabaseError), client_of(seat._replace(password="wrong password")) as client:
        client.command("SELECT 1")
    written = [path for path in Path(seat.settings.directory).iterdir() if path.is_file()]
    assert written
    for path in written:
        assert seat.password not in path.read_text(errors="replace")
        assert path.stat().st_mode & 0o077 == 0 or path.name == "owner.lock"
