"""The rules of statements on trees that are made by hand: whatever they do not name is refused."""

import pytest

from streamco.clickhouse_access.rights import ANALYST, READER, WRITER
from streamco.embedded.front.rules import (
    FORMATS,
    UPLOADED,
    Scope,
    Unsettled,
    check_settings,
    check_shown,
    check_structure,
    check_target,
    check_tree,
    check_words,
    named_by_parameters,
)
from streamco.embedded.front.tree import Node, read_tree
from streamco.embedded.front.wire import EngineError

SCOPE = Scope(ANALYST, "streamco", frozenset({"extra"}))


def select(table: Node | None = None, value: Node | None = None) -> Node:
    """SELECT value FROM table, as the engine shows it."""
    children = [Node("ExpressionList", "", (value or Node("Literal", "UInt64_1"),))]
    if table is not None:
        element = Node("TablesInSelectQueryElement", "", (Node("TableExpression", "", (table,)),))
        children.append(Node("TablesInSelectQuery", "", (element,)))
    listed = Node("ExpressionList", "", (Node("SelectQuery", "", tuple(children)),))
    return Node("SelectWithUnionQuery", "", (listed,))


def call(name: str, *arguments: Node) -> Node:
    return Node("Function", name, (Node("ExpressionList", "", arguments),))


@pytest.mark.parametrize("name", ["legs", "streamco.legs", "judged_legs", "system.one", "system.tables", "extra"])
def test_tables_that_are_listed_and_uploaded(name: str) -> None:
    assert check_tree(SCOPE, select(Node("TableIdentifier", name))) == Unsettled()


def test_a_name_that_is_not_listed_may_only_be_of_the_statement_itself() -> None:
    assert check_tree(SCOPE, select(Node("TableIdentifier", "c"))).strangers == {"c"}
    for name in ("d", "d.column"):
        tree = select(value=call("in", Node("Literal", "1"), Node("Identifier", name)))
        assert check_tree(SCOPE, tree).strangers == {"d"}


def test_the_writer_names_databases_that_are_there() -> None:
    writer = Scope(WRITER, "streamco")
    assert check_tree(writer, select(Node("TableIdentifier", "passwords.csv"))).databases == {"passwords"}
    for name in ("/etc/passwd", "default.a.b", "../x", "`"):
        with pytest.raises(EngineError, match="a table of the name"):
            check_tree(writer, select(Node("TableIdentifier", name)))
        with pytest.raises(EngineError, match="a table of the name"):
            check_tree(writer, Node("InsertQuery", "", (Node("Identifier", name),)))
    check_target("streamco.legs")
    check_target('`streamco`."legs"')
    for name in ('"x.csv"', "`/etc/passwd`", "`a`.`b.csv`"):
        with pytest.raises(EngineError, match="a table of the name"):
            check_target(name)


def test_names_of_parameters_are_read_from_the_engines_own_words() -> None:
    given = {"t": "legs", "c": "vendor", "x": "1"}
    assert named_by_parameters("SELECT {c:Identifier}, {x:UInt8} FROM {t:Identifier}", given) == (
        ("c", "vendor"),
        ("t", "legs"),
    )
    for bad in ("a\nFunction plus", "a\\", "a`b"):
        with pytest.raises(EngineError, match="parameter c"):
            named_by_parameters("SELECT {c:Identifier}", {"c": bad})


@pytest.mark.parametrize(
    "table",
    [
        Node("TableIdentifier", "system.query_log"),
        Node("TableIdentifier", "system.processes"),
        Node("TableIdentifier", "System.one"),
        Node("TableIdentifier", "INFORMATION_SCHEMA.tables"),
        Node("TableIdentifier", "default.legs"),
        Node("TableIdentifier", "streamco.audit_asked"),
        Node("TableIdentifier", ""),
        Node("TableIdentifier", "/etc/passwd"),
        call("file", Node("Literal", "'x'")),
        call("FILE", Node("Literal", "'x'")),
        call("plus", Node("Literal", "'x'")),
        call("merge"),
        call("view", select()),
    ],
)
def test_other_tables_and_table_functions_are_refused(table: Node) -> None:
    with pytest.raises(EngineError, match="ACCESS_DENIED"):
        check_tree(SCOPE, select(table))


@pytest.mark.parametrize(
    "value",
    [
        call("globalNotIn", Node("Literal", "1"), Node("Identifier", "system.processes")),
        call("arrayMap", Node("Identifier", "file"), Node("Literal", "Array_['x']")),
        Node("Identifier", "system.users.name"),
        call("no_such_function"),
        call("file"),
        Node("ColumnsApplyTransformer", ""),
        Node("SomethingNew", ""),
        Node("Subquery", "", (select(call("url")),)),
    ],
)
def test_what_no_rule_names_is_refused_as_a_value(value: Node) -> None:
    with pytest.raises(EngineError, match="ACCESS_DENIED"):
        check_tree(SCOPE, select(value=value))


@pytest.mark.parametrize("kind", ["InsertQuery", "CreateQuery", "AlterQuery", "Set", "SystemQuery", "NewQuery"])
def test_only_what_reads_is_a_statement_of_who_may_read(kind: str) -> None:
    for rights in (READER, ANALYST):
        with pytest.raises(EngineError, match=f"a statement of the kind {kind}"):
            check_tree(Scope(rights, "streamco"), Node(kind, ""))


@pytest.mark.parametrize("kind", ["SystemQuery", "KillQueryQuery", "CreateFunctionQuery", "BackupQuery", "NewQuery"])
def test_the_writer_has_its_own_kinds_only(kind: str) -> None:
    with pytest.raises(EngineError, match=kind):
        check_tree(Scope(WRITER, "streamco"), Node(kind, ""))


def test_the_writer_makes_tables_of_our_engines_only() -> None:
    for engine, right in (("ReplacingMergeTree", True), ("File", False), ("URL", False), ("MySQL", False)):
        tree = Node("CreateQuery", "t", (Node("Storage", "", (call(engine),)),))
        if right:
            check_tree(Scope(WRITER, "streamco"), tree)
        else:
            with pytest.raises(EngineError, match=f"engine {engine}"):
                check_tree(Scope(WRITER, "streamco"), tree)


def test_an_outfile_is_seen_in_the_tree_too() -> None:
    tree = select()
    with pytest.raises(EngineError, match="OUTFILE"):
        check_tree(SCOPE, Node(tree.kind, "", (*tree.children, Node("Literal", "'/tmp/x'"))))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "INSERT INTO t FROM INFILE '/etc/passwd'",
        "SELECT * FROM `a\\nFunction plus`",
        'SELECT * FROM "a\\"b"',
        "SELECT * FROM t UUID 'a-b'",
        "CREATE TABLE t ON CLUSTER c",
        "SELECT 1 SETTINGS additional_table_filters = {'a':'b'}",
        "SELECT 1 SETTINGS",
    ],
)
def test_words_that_trees_do_not_show_are_refused(text: str) -> None:
    with pytest.raises(EngineError, match="ACCESS_DENIED"):
        check_words(ANALYST, text)


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("SELECT 'INTO OUTFILE', `into`, 1 AS outfile FROM legs", False),
        ("SELECT 1 SETTINGS max_threads = 1, join_use_nulls = 1 FORMAT CSV", True),
        ("SELECT (SELECT 1 SETTINGS max_threads = 1), 2", True),
        ("SELECT 1 SETTINGS session_timezone = 'Europe/Berlin'", True),
    ],
)
def test_what_words_may_be_there(text: str, sets: bool) -> None:
    assert check_words(ANALYST, text) is sets


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("format_schema", "/etc/passwd", 115),
        ("output_format_schema", "/srv/x", 115),
        ("dialect", "kusto", 115),
        ("nonsense", "1", 115),
        ("a b", "1", 115),
        ("max_execution_time", "0", 452),
        ("max_execution_time", "61", 452),
        ("max_execution_time", "-1", 452),
        ("max_execution_time", "1e9", 452),
        ("max_result_rows", "DEFAULT", 452),
        ("max_result_rows", "", 452),
        ("max_memory_usage", "99999999999999", 452),
        ("max_rows_to_read", "nan", 452),
        ("max_threads", "100000", 452),
    ],
)
def test_settings_that_widen_or_reach_out_are_refused(name: str, value: str, code: int) -> None:
    with pytest.raises(EngineError) as caught:
        check_settings(ANALYST, {"max_threads": "1", name: value})
    assert caught.value.code == code


def test_settings_that_narrow_are_taken() -> None:
    check_settings(ANALYST, {"max_execution_time": "0.5", "max_result_rows": "'10'", "join_use_nulls": "1"})
    check_settings(READER, {"max_execution_time": "600"})
    check_settings(WRITER, {"insert_deduplication_token": "x", "max_memory_usage": "0"})


@pytest.mark.parametrize(
    ("kind", "text", "right"),
    [
        ("ShowTables", "SHOW TABLES", True),
        ("ShowTables", "SHOW TABLES FROM streamco LIKE 'l%' LIMIT 3 FORMAT CSV", True),
        ("ShowTables", "SHOW TABLES WHERE file('x') = ''", False),
        ("ShowTables", "SHOW TABLES FROM system WHERE 1 IN system.users", False),
        ("ShowTables", "SHOW DICTIONARIES", False),
        ("ExistsTableQuery", "EXISTS TABLE system.query_log", True),
        ("ShowCreateTableQuery", "SHOW CREATE TABLE streamco.legs", True),
        ("ShowCreateTableQuery", "SHOW CREATE TABLE legs", True),
        ("ShowCreateTableQuery", "SHOW CREATE TABLE secret", False),
        ("ShowCreateTableQuery", "SHOW CREATE TABLE system.users", False),
        ("SelectWithUnionQuery", "anything", True),
    ],
)
def test_what_is_shown_is_read_by_its_words(kind: str, text: str, right: bool) -> None:
    if right:
        check_shown(SCOPE, Node(kind, ""), text)
    else:
        with pytest.raises(EngineError, match="ACCESS_DENIED"):
            check_shown(SCOPE, Node(kind, ""), text)


def created(*columns: str, more: str = "") -> Node:
    lines = "\n".join(f"   {line}" for line in columns)
    count = 2 if not more else 3
    return read_tree(
        f"CreateQuery  uploaded (children {count})\n Identifier uploaded\n Columns definition (children 1)\n"
        f"  ExpressionList (children {sum(not line.startswith(' ') for line in columns)})\n{lines}{more}"
    )


def test_an_uploaded_table_has_names_and_types_only() -> None:
    check_structure(created("ColumnDeclaration a (children 1)", " DataType String"))
    bad = [
        created("ColumnDeclaration a (children 2)", " DataType String", " Function file"),
        created("ColumnDeclaration a (children 1)", " DataType String", more="\n Storage definition"),
        created("ColumnDeclaration a (children 1)", " DataType String", more="\n SelectWithUnionQuery"),
        created("ColumnDeclaration a (children 1)", " DataType String", more="\n Function file"),
        Node("SelectWithUnionQuery", ""),
    ]
    for tree in bad:
        with pytest.raises(EngineError, match="names and types only"):
            check_structure(tree)


def test_formats_that_read_or_write_files_are_none_of_these() -> None:
    for name in ("Template", "TemplateIgnoreSpaces", "CapnProto", "Protobuf", "Values", "MySQLDump", "Regexp", "SQL"):
        assert not UPLOADED.fullmatch(name)
    for name in ("Template", "CapnProto", "Protobuf", "ProtobufSingle", "MySQLWire"):
        assert not FORMATS.fullmatch(name)
    for name in ("Native", "TSVWithNamesAndTypes", "JSONEachRow", "Arrow", "ArrowStream", "CSV", "PrettyCompact"):
        assert FORMATS.fullmatch(name)
