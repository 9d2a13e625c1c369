"""What the ClickHouse front reads of a statement, against statements whose parts are known and another cutter."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.migrations import split_statements
from streamco.embedded.front.sql import (
    StatementError,
    identifier,
    is_name,
    literal,
    read_insert,
    read_statement,
    read_target,
    tokens,
)

GAP = st.sampled_from([" ", "\n", "\t ", " -- FORMAT x; select\n", "/* FORMAT CSV; */", " # ; \n"])
NAME = st.sampled_from(["t", "`FORMAT`", "db.t", '"a;b"', "`a``b`", "`x\\`y`", "values_1"])
COLUMNS = st.sampled_from(["", "(a)", "(a, `FORMAT`)", "(a,\n b)"])
DATA = st.binary(max_size=60)


@given(st.lists(GAP, min_size=5, max_size=5), NAME, COLUMNS, st.sampled_from(["Native", "CSV", "JSONEachRow"]), DATA)
def test_an_inserts_head_format_and_data_are_told_apart(
    gaps: list[str], name: str, columns: str, form: str, data: bytes
) -> None:
    head = f"{gaps[0]}insert{gaps[1]}INTO{gaps[2]}{name}{gaps[3]}{columns}{gaps[4]}"
    found = read_insert(f"{head}FORMAT {form}\n".encode() + data)
    assert found is not None
    assert (found.kind, found.head.decode(), found.format) == ("insert", head, form)
    assert f"{head}FORMAT {form}\n".encode()[: found.data_at] + data == f"{head}FORMAT {form}\n".encode() + data


@given(st.lists(GAP, min_size=3, max_size=3), NAME, COLUMNS, DATA)
def test_values_are_data_and_never_read_as_sql(gaps: list[str], name: str, columns: str, data: bytes) -> None:
    head = f"INSERT{gaps[0]}INTO{gaps[1]}{name} {columns}{gaps[2]}"
    found = read_insert(f"{head}values".encode() + b" (" + data)
    assert found is not None
    assert (found.kind, found.head.decode(), found.format) == ("insert", head, "Values")
    assert found.data_at == len(f"{head}values".encode())


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t SELECT 1 FORMAT CSV",
        "INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x FORMAT Native",
        "SELECT 'INSERT INTO t FORMAT CSV'",
        "INSERT INTO t",
        "",
    ],
)
def test_what_is_no_insert_with_data(sql: str) -> None:
    assert read_insert(sql.encode()) is None


PIECES = st.sampled_from(
    [
        "SELECT 1",
        "a",
        " ",
        "\n",
        "'x;y'",
        "'it''s'",
        "'\\\\'",
        "'\\';'",
        "-- c; d\n",
        "/* ; */",
        '"q;"',
        "`;`",
        ";",
        "(",
    ]
)


@given(st.lists(PIECES, min_size=1, max_size=8))
def test_several_statements_are_refused_as_another_cutter_finds_them(pieces: list[str]) -> None:
    sql = "SELECT 0" + "".join(pieces)
    statements = split_statements(sql)
    if len(statements) == 1:
        assert read_statement(sql.encode()).head == sql.encode()
    else:
        with pytest.raises(StatementError, match="Multi-statements"):
            read_statement(sql.encode())


@pytest.mark.parametrize(
    ("sql", "kind", "form"),
    [
        ("SELECT 1", "select", None),
        ("  -- x\n(SELECT 1) UNION ALL (SELECT 2) FORMAT CSV;", "select", "CSV"),
        ("with x as (select 1) select * from x format Native", "select", "Native"),
        ("SELECT 1 FORMAT JSON SETTINGS max_threads = 1", "select", "JSON"),
        ("SELECT format FROM t", "select", None),
        ("SELECT format('{}', 1)", "select", None),
        ("SELECT (SELECT 1 FORMAT x)", "select", None),
        ("SELECT 'a' -- FORMAT CSV", "select", None),
        ("SELECT 1 AS `FORMAT` FORMAT TSV", "select", "TSV"),
        ("DESCRIBE TABLE t", "show", None),
        ("KILL QUERY WHERE 1 ASYNC", "kill", None),
        ("INSERT INTO t VALUES (1)", "change", None),
        ("/* SELECT */ DROP TABLE t", "change", None),
        ("SET x = 1", "change", None),
    ],
)
def test_kind_and_format(sql: str, kind: str, form: str | None) -> None:
    found = read_statement(sql.encode())
    assert (found.kind, found.format) == (kind, form)


@pytest.mark.parametrize("sql", [b"", b" \n", b";", b"-- only this", b"'", b"SELECT 'a", b'SELECT "', b"SELECT `a"])
def test_nothing_and_an_open_quote_are_no_statement(sql: bytes) -> None:
    with pytest.raises(StatementError, match="SYNTAX_ERROR"):
        read_statement(sql)


@pytest.mark.parametrize(
    ("head", "target"),
    [
        ("INSERT INTO t", ("t", "")),
        ("insert into TABLE `a b`.`c` (`x`, y) ", ("`a b`.`c`", "`x`, y")),
        ('INSERT INTO db."t"(a)', ('db."t"', "a")),
        ("INSERT INTO FUNCTION file('x')", None),
        ("INSERT INTO t SETTINGS a = 1", None),
        ("INSERT INTO t (* EXCEPT (a))", None),
        ("INSERT INTO t (a) SELECT", None),
    ],
)
def test_the_table_and_columns_of_an_insert(head: str, target: tuple[str, str] | None) -> None:
    assert read_target(head) == target


@given(st.text(max_size=30))
def test_whatever_is_quoted_is_one_token(text: str) -> None:
    assert read_statement(f"SELECT {literal(text)}".encode(errors="surrogatepass")).kind == "select"
    assert read_statement(f"SELECT {identifier(text)}".encode(errors="surrogatepass")).kind == "select"


def test_names_are_plain_words() -> None:
    assert is_name("max_threads")
    assert not any(map(is_name, ["", "1a", "a b", "a=1", "a;", "ä", "a\n", "x" * 200]))


@pytest.mark.parametrize(
    "part",
    [
        b"\\'", b'\\"', b"\\`", b"/* ", b"$a%d$ ", b"$a%d", b"$", b"$$ ",
        b"-- ", b"# ", b"' ", b'" ', b"` ", b"'\"", b"`'", b"(", b"a",
        b"1", b" ", b"\\", b"/", b"'\\", b"$a$'", b"/*'",
    ],
)  # fmt: skip
def test_what_does_not_end_is_read_in_one_pass(part: bytes) -> None:
    pieces = (part.replace(b"%d", b"%d" % number) for number in range(120_000 // len(part)))
    sql = b"INSERT " + b"".join(pieces)[:120_000]
    begun = time.process_time()
    assert sum(len(token[0]) for token in tokens(sql)) <= len(sql)
    assert (
        time.process_time() - begun < 1.0
    )  # in several a longer one takes minutes, and stops whoever else asks meanwhile


@pytest.mark.parametrize("sql", ["SELECT 'a", "SELECT 1 /* a", 'SELECT "a', "SELECT `a", "SELECT $a$ b", "INSERT 'a"])
def test_what_does_not_end_is_no_statement(sql: str) -> None:
    assert read_insert(sql.encode()) is None
    with pytest.raises(StatementError, match="a quote or comment does not end"):
        read_statement(sql.encode())


def test_a_dollar_may_be_in_a_name() -> None:
    assert [token[0] for token in tokens(b"a$b$c $x$;$x$ d$")] == [b"a$b$c", b"$x$;$x$", b"d$"]
