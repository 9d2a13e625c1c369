"""The embedded ClickHouse and requests that are wrong, hostile or too large: refused as ClickHouse would."""

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from urllib.parse import quote

import lz4.frame
import psutil
import pytest
from made_requests import ask, basic
from pydantic import SecretStr

from streamco.embedded.clickhouse import clickhouse_server
from streamco.embedded.settings import ClickHouseServer
from streamco.embedded.temporary import TemporaryServers, free_port

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.servers

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[ClickHouseServer, psutil.Process]]:
    """One with narrow bounds, for all tests here."""
    with TemporaryServers() as servers:
        settings = ClickHouseServer(
            directory=servers.directory / "ch",
            port=free_port(),
            password=SecretStr("secret'%:ü"),
            memory_bytes=768 * MEGABYTE,
            max_body_bytes=MEGABYTE,
            max_sessions=3,
            session_seconds=1.5,
        )
        yield settings, psutil.Process(servers.start(clickhouse_server(settings)).pid)


@pytest.fixture
def front(running: tuple[ClickHouseServer, psutil.Process]) -> ClickHouseServer:
    return running[0]


@pytest.fixture
def table(front: ClickHouseServer) -> Iterator[str]:
    assert ask(front, data=b"CREATE OR REPLACE TABLE t (n UInt32) ENGINE = MergeTree ORDER BY n").status == 200
    yield "t"
    assert ask(front, data=b"SELECT 1").text == "1\n"


def count(front: ClickHouseServer) -> int:
    return int(ask(front, data=b"SELECT count() FROM t").text)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic /////w=="},
        {"Authorization": "Bearer abc"},
        {"X-ClickHouse-User": "streamco"},
        {"X-ClickHouse-User": "streamco", "X-ClickHouse-Key": "secret"},
        basic("streamco", ""),
        basic("streamco", "secret'%:u"),
        basic("default", "secret'%:ü"),
        basic("", "secret'%:ü"),
    ],
)
def test_who_does_not_show_user_and_password_is_refused(front: ClickHouseServer, headers: dict[str, str]) -> None:
    for path, data in (("/?query=SELECT+1", None), ("/", b"SELECT 1"), ("/?database=system", b"SELECT 1")):
        answer = ask(front, path, data, headers, known=False)
        assert (answer.status, answer.code) == (403, 516), path
        assert answer.text != "1\n"
        assert "secret" not in answer.text


def test_user_and_password_in_headers_in_basic_and_in_the_url(front: ClickHouseServer) -> None:
    secret = front.password.get_secret_value()
    assert ask(front, "/", b"SELECT 1", basic(front.user, secret), known=False).text == "1\n"
    url = f"/?user={front.user}&password={quote(secret)}"
    assert ask(front, url, b"SELECT 1", known=False).text == "1\n"
    assert ask(front, "/ping", known=False).text == "Ok.\n"


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE t",
        "INSERT INTO t VALUES (1)",
        'INSERT INTO t FORMAT JSONEachRow {"n": 1}',
        "CREATE TABLE other (n UInt8) ENGINE = Memory",
        "KILL QUERY WHERE 1",
        "SYSTEM SHUTDOWN",
    ],
)
@pytest.mark.parametrize("session", ["", "&session_id=reader", "&readonly=0"])
def test_a_get_changes_nothing(front: ClickHouseServer, table: str, sql: str, session: str) -> None:
    answer = ask(front, f"/?query={quote(sql)}{session}")
    assert (answer.status, answer.code) == (403, 164)
    assert count(front) == 0
    assert ask(front, f"/?query={quote('SELECT count() FROM t')}{session}").text == "0\n"


def test_a_body_above_the_bound_is_refused_as_sent(front: ClickHouseServer, table: str) -> None:
    answer = ask(front, "/", b"INSERT INTO t VALUES " + b"(1)," * MEGABYTE)
    assert (answer.status, answer.code) == (413, 307)
    assert count(front) == 0


@pytest.mark.parametrize("encoding", ["zstd", "lz4"])
def test_a_small_body_that_unpacks_to_a_gigabyte_is_refused_and_takes_no_memory(
    running: tuple[ClickHouseServer, psutil.Process], table: str, encoding: str
) -> None:
    front, process = running
    zeros = bytes(16 * MEGABYTE)
    frame = zstd.compress(zeros) if encoding == "zstd" else lz4.frame.compress(zeros)
    body = frame * min(64, MEGABYTE // len(frame) - 1)
    before = process.memory_info().rss
    answer = ask(front, "/?query=INSERT+INTO+t+FORMAT+RowBinary", body, {"Content-Encoding": encoding})
    assert (answer.status, answer.code) == (413, 307)
    assert process.memory_info().rss - before < 100 * MEGABYTE
    assert count(front) == 0


@pytest.mark.parametrize("encoding", ["lz4", "zstd"])
def test_frames_follow_each_other_and_a_broken_one_inserts_nothing(
    front: ClickHouseServer, table: str, encoding: str
) -> None:
    compress = zstd.compress if encoding == "zstd" else lz4.frame.compress
    frames = [compress(struct.pack("<100I", *range(at, at + 100))) for at in range(0, 1000, 100)]
    url, headers = "/?query=INSERT+INTO+t+FORMAT+RowBinary", {"Content-Encoding": encoding}
    for broken in (b"".join(frames)[:-3], b"".join(frames) + b"more", b"nonsense"):
        answer = ask(front, url, broken, headers)
        assert (answer.status, answer.code) == (400, 354), broken[:10]
        assert count(front) == 0
    assert ask(front, url, b"".join(frames), headers).status == 200
    assert ask(front, data=b"SELECT count(), uniqExact(n), max(n) FROM t").text == "1000\t1000\t999\n"


def test_an_unknown_encoding_and_data_of_another_form_are_errors(front: ClickHouseServer, table: str) -> None:
    url = "/?query=INSERT+INTO+t+FORMAT+RowBinary"
    assert ask(front, url, b"1234", {"Content-Encoding": "br"}).code == 1
    assert ask(front, url, b"12345").code != 0  # one row and a quarter
    assert ask(front, "/?query=INSERT+INTO+t+FORMAT+Nonsense", b"1").code == 73
    assert ask(front, "/", b"INSERT INTO t SETTINGS max_threads = 1 FORMAT RowBinary\n1234").code == 48
    assert count(front) == 0


def test_a_query_cannot_take_more_memory_than_there_is_even_if_it_says_so(front: ClickHouseServer) -> None:
    greedy = b"SELECT length(groupArray(number)) FROM numbers(1000000000)"
    for url in ("/", "/?max_memory_usage=0"):
        answer = ask(front, url, greedy)
        assert answer.code == 241, answer.text
        assert ask(front, data=b"SELECT 1").text == "1\n"


def test_time_and_memory_are_bounded_without_asking(front: ClickHouseServer) -> None:
    answer = ask(front, data=b"SELECT getSetting('max_execution_time'), getSetting('max_memory_usage')")
    assert answer.text == f"300\t{384 * MEGABYTE}\n"


def test_settings_are_the_engines_own_and_their_names_no_sql(front: ClickHouseServer) -> None:
    assert ask(front, "/?max_threads=1", b"SELECT getSetting('max_threads')").text == "1\n"
    for name in ("nonsense", "max_threads%3D1%2Creadonly", "a%20b", "%27"):
        assert ask(front, f"/?{name}=1", b"SELECT 1").code == 115, name
    value = quote("1', readonly = 1 --")
    assert ask(front, f"/?max_threads={value}", b"SELECT 1").code != 0
    log = quote("x' , '")
    assert ask(front, f"/?log_comment={log}", b"SELECT 1").text == "1\n"


def test_a_database_and_a_table_of_external_data_cannot_smuggle_sql(front: ClickHouseServer, table: str) -> None:
    assert ask(front, f"/?database={quote('default`; DROP TABLE default.t; --')}", b"SELECT 1").code == 81
    content = b'--x\r\nContent-Disposition: form-data; name="a b"; filename="f"\r\n\r\n1\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert ask(front, "/?query=SELECT+1&a%20b_structure=n+Int8", content, kind).code == 36
    assert ask(front, "/?query=SELECT+1", b"garbage", kind).status == 400
    assert count(front) == 0


def test_sessions_are_bounded_in_number_and_forgotten_when_idle(front: ClickHouseServer) -> None:
    seen = [ask(front, f"/?session_id=s{number}", b"SELECT 1").code for number in range(5)]
    assert seen.count(202) >= 2
    assert 0 in seen
    held = "/?session_id=s0&session_timeout=3600"
    while ask(front, held, b"CREATE TEMPORARY TABLE IF NOT EXISTS own (n UInt8)").code == 202:
        continue  # the earlier ones become idle within 1.5 s
    assert ask(front, held, b"EXISTS TEMPORARY TABLE own").text == "1\n"
    assert ask(front, "/?session_id=other&session_check=1", b"SELECT 1").code == 372
    assert ask(front, data=b"SELECT sleep(2)").text == "0\n"
    assert ask(front, held, b"EXISTS TEMPORARY TABLE own").text == "0\n"
    assert ask(front, "/?session_id=s0&session_timeout=soon", b"SELECT 1").code == 36


def test_a_session_serves_one_request_at_a_time(front: ClickHouseServer) -> None:
    body = b"SELECT sleepEachRow(0.5) FROM numbers(4) SETTINGS max_block_size = 1"
    who = basic(front.user, front.password.get_secret_value())["Authorization"]
    head = f"POST /?session_id=one HTTP/1.1\r\nHost: x\r\nAuthorization: {who}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        connection.recv(1)  # it runs
        answer = ask(front, "/?session_id=one", b"SELECT 1")
        assert (answer.status, answer.code) == (423, 373)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\xfe" * 100,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n",
        b"GET /?query=%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"A" * 200_000,
    ],
)
def test_garbage_on_the_port_ends_its_own_connection_only(front: ClickHouseServer, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(garbage)
            with contextlib.suppress(OSError):  # the front may have closed it already: ENOTCONN
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(4096):
                answer += part
    assert b" 200 " not in answer[:20]
    assert ask(front, data=b"SELECT 1").text == "1\n"


@pytest.mark.parametrize(
    "sql", [b"SELECT '\xff\xfe'", b"SELECT 1; SELECT 2", b"SELECT (", b"'", b"", b" ;", b"\xf0\x28"]
)
def test_what_is_no_statement_is_an_error(front: ClickHouseServer, sql: bytes) -> None:
    answer = ask(front, data=sql)
    assert answer.status >= 400
    assert answer.code != 0
    assert answer.text.startswith(f"Code: {answer.code}. DB::Exception: ")


def test_an_error_has_its_code_in_a_header_and_the_query_its_id(front: ClickHouseServer) -> None:
    answer = ask(front, "/?query_id=mine", b"SELECT * FROM nowhere")
    assert (answer.status, answer.code) == (404, 60)
    assert answer.text.startswith("Code: 60. DB::Exception: ")
    assert answer.text.rstrip().endswith("(UNKNOWN_TABLE)")
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine"
    answer = ask(front, "/?query_id=mine", b"SELECT 1 AS x FORMAT JSONEachRow")
    assert (answer.text, answer.headers["X-ClickHouse-Format"]) == ('{"x":1}\n', "JSONEachRow")
    assert (answer.headers["X-ClickHouse-Query-Id"], answer.headers["X-ClickHouse-Timezone"]) == ("mine", "UTC")
