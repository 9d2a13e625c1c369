"""The rules of a statement: its words and its syntax tree, against its login's rights. Pure.

Deny by default: a node of the tree, a function, a table, a setting that no rule names is refused.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from streamco.clickhouse_access.functions import is_reaching, is_reviewed
from streamco.clickhouse_access.rights import ENGINES, TABLE_FUNCTIONS, Rights
from streamco.embedded.front.sql import is_name, tokens
from streamco.embedded.front.tree import Node
from streamco.embedded.front.wire import EngineError

# Nodes that hold what is checked elsewhere, or nothing that could do harm.
_READING_NODES: Final = frozenset(
    {
        "SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery", "ExpressionList", "Function", "Identifier",
        "TableIdentifier", "Literal", "Asterisk", "QualifiedAsterisk", "ColumnsRegexpMatcher", "ColumnsListMatcher",
        "QualifiedColumnsRegexpMatcher", "QualifiedColumnsListMatcher", "ColumnsTransformerList",
        "ColumnsExceptTransformer", "ColumnsReplaceTransformer", "ColumnsReplaceTransformer::Replacement", "Subquery",
        "WithElement", "TablesInSelectQuery", "TablesInSelectQueryElement", "TableExpression", "TableJoin", "ArrayJoin",
        "OrderByElement", "InterpolateElement", "SampleRatio", "WindowListElement", "WindowDefinition", "Set",
        "QueryParameter", "Explain", "DescribeQuery", "DataType", "NameTypePair", "Collation", "ShowTables",
        "ExistsTableQuery", "ExistsViewQuery", "ExistsDatabaseQuery", "ShowCreateTableQuery", "ShowCreateViewQuery",
        "EnumDataType", "TupleDataType",
    }
)  # fmt: skip
_WRITING_NODES: Final = frozenset(
    {
        "InsertQuery", "CreateQuery", "AlterQuery", "AlterCommand", "DropQuery", "TruncateQuery", "DeleteQuery",
        "UpdateQuery", "OptimizeQuery", "UseQuery", "Columns", "ColumnDeclaration", "Index", "Constraint", "Storage",
        "Projection", "ProjectionSelectQuery", "Partition", "Partition_ID", "Assignment", "StorageOrderByElement",
        "TTLElement", "ViewTargets",
    }
)  # fmt: skip
# Of a table's columns: codecs, indexes.
_OF_COLUMNS: Final = frozenset(
    {"CODEC", "ZSTD", "LZ4", "NONE", "Delta", "DoubleDelta", "T64", "bloom_filter", "minmax", "set", "tokenbf_v1"}
)
_ALTERATIONS: Final = frozenset(
    {
        "ADD_COLUMN", "DROP_COLUMN", "MODIFY_COLUMN", "COMMENT_COLUMN", "RENAME_COLUMN", "ADD_INDEX", "DROP_INDEX",
        "MATERIALIZE_INDEX", "MATERIALIZE_COLUMN", "ADD_PROJECTION", "DROP_PROJECTION", "MATERIALIZE_PROJECTION",
        "DROP_PARTITION", "DELETE", "UPDATE", "MODIFY_TTL", "MODIFY_SETTING", "ADD_CONSTRAINT", "DROP_CONSTRAINT",
    }
)  # fmt: skip
_SET_FUNCTIONS: Final = frozenset({"in", "notin", "globalin", "globalnotin", "innullable", "nullin", "notnullin"})
_DATABASES_OF_THE_ENGINE: Final = frozenset({"system", "information_schema"})
FORMATS: Final = re.compile(
    r"(?:TabSeparated|TSV|CSV|JSON\w*|Pretty\w*|Native|RowBinary|Arrow|ArrowStream|Parquet|Markdown|XML|Vertical|Null|"
    r"TSKV|ORC)(?:Raw)?(?:WithNames)?(?:AndTypes)?"
)
UPLOADED: Final = re.compile(
    r"(?:TabSeparated|TSV|CSV|JSONEachRow|JSONCompactEachRow|Native|RowBinary|Arrow|ArrowStream|Parquet)"
    r"(?:Raw)?(?:WithNames)?(?:AndTypes)?"
)
_ASSIGNMENT: Final = re.compile(rb"\s*(?P<name>\w+) = (?P<value>'(?:[^'\\]|\\.)*'|-?[\w.]+)(?P<end>, |\)| |$)")
_NAME: Final = r"(?:`[^`\\]+`|\w+)"
_SHOWN: Final = re.compile(
    rf"(?:SHOW (?:FULL )?TABLES(?: FROM {_NAME})?|SHOW DATABASES)(?: (?:NOT )?I?LIKE '(?:[^'\\]|\\.)*')?(?: LIMIT \d+)?"
    rf"|EXISTS (?:TEMPORARY )?(?:TABLE|VIEW|DATABASE) (?:{_NAME}\.)?{_NAME}"
    rf"|SHOW CREATE (?:TABLE|VIEW) (?:(?P<database>{_NAME})\.)?(?P<table>{_NAME})"
)
_FORMATTED: Final = re.compile(r"(?P<rest>.*?)(?: FORMAT (?P<format>\w+))?", re.DOTALL)
_PART: Final = re.compile(r"[\w$ -]+")
_QUOTED: Final = re.compile(r"`[^`]*`?|\"[^\"]*\"?|[^.`\"]+")
_TABLE: Final = re.compile(r"[\w$ -]+(?:\.[\w$ -]+)?")
_READS: Final = frozenset({"SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery"})
# Statements with an answer: a literal right below one is the name of the file that it goes to.
_ANSWERS: Final = frozenset({"SelectWithUnionQuery", "Explain", "DescribeQuery", "ShowTables"})
_PARAMETER: Final = re.compile(r"\{(\w+):Identifier\}")
_TYPES: Final = frozenset(
    {
        "Columns", "ExpressionList", "ColumnDeclaration", "DataType", "EnumDataType", "TupleDataType", "NameTypePair",
        "Literal", "Identifier",
    }
)  # fmt: skip
_NUMBER: Final = re.compile(r"'?(?P<number>[0-9]{1,20}(?:\.[0-9]{1,6})?)'?")


def refused(why: str) -> EngineError:
    """The error of a statement that its login may not have run."""
    return EngineError(f"Code: 497. DB::Exception: {why[:300]}. (ACCESS_DENIED)")


@dataclass
class Unsettled:
    """What the tree alone does not decide, and the engine must be asked.

    `strangers`: names that must be neither tables of ours nor databases; then they are of the statement's own
    subqueries. `databases`: names that must be databases; else the engine could take the whole for a file.
    """

    strangers: set[str] = field(default_factory=set)
    databases: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Scope:
    """Whose statement it is: its login's rights, our database, and the names of the tables that came with it."""

    rights: Rights
    database: str
    uploaded: frozenset[str] = frozenset()


def named_by_parameters(text: str, parameters: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The names that parameters of a statement stand for. `text` is the engine's own. Raises EngineError."""
    named = {name: parameters[name] for name in _PARAMETER.findall(text) if name in parameters}
    for name, value in named.items():
        if not value.isprintable() or "\\" in value or "`" in value:
            raise refused(f"the parameter {name}: a control character, a quote or a backslash in a name")
    return tuple(sorted(named.items()))


def check_settings(rights: Rights, settings: Mapping[str, str]) -> None:
    """Raise EngineError when the login may not change one of these, or not to this value."""
    for name, value in settings.items():
        if not is_name(name) or name not in rights.settings:
            raise EngineError(
                f"Code: 115. DB::Exception: setting {name[:80]!r} is unknown, or may not be changed here. "
                "(UNKNOWN_SETTING)"
            )
        most = rights.caps.get(name)
        if most is not None:
            found = _NUMBER.fullmatch(value)
            if found is None or not 0 < float(found["number"]) <= most:
                raise EngineError(
                    f"Code: 452. DB::Exception: setting {name} {value[:40]!r}: must be above 0, {most} at most. "
                    "(SETTING_CONSTRAINT_VIOLATION)"
                )


def check_words(rights: Rights, text: str) -> bool:
    """Raise EngineError for what the tree does not show. `text` is the engine's own. Has it settings of its own?"""
    found = list(tokens(text.encode()))
    words = [(token["word"] or token[0]).upper() for token in found]
    sets = False
    for at, token in enumerate(found):
        following = words[at + 1] if at + 1 < len(words) else b""
        if token["quoted"] is not None and token[0][:1] in b'`"$' and (b"\\" in token[0] or b"\n" in token[0]):
            raise refused("a name with a control character, a quote or a backslash in it")
        if (words[at], following) in {(b"INTO", b"OUTFILE"), (b"FROM", b"INFILE"), (b"ON", b"CLUSTER")}:
            raise refused(f"{words[at].decode()} {following.decode()}")
        if words[at] == b"UUID" and following[:1] == b"'":
            raise refused("a table by its UUID")
        if token["word"] in (b"SETTINGS", b"SETTING") or (at == 0 and words[at] == b"SET"):
            sets = True
            check_settings(rights, _assignments(text.encode(), token.end()))
    return sets


def _assignments(text: bytes, at: int) -> dict[str, str]:
    """The settings that are listed from here on. Raises EngineError when they cannot be read."""
    named: dict[str, str] = {}
    while True:
        found = _ASSIGNMENT.match(text, at)
        if found is None:
            raise refused("SETTINGS that cannot be read here")
        named[found["name"].decode()] = found["value"].decode()
        at = found.end()
        if found["end"] != b", ":
            return named


def check_tree(scope: Scope, root: Node) -> Unsettled:
    """Raise EngineError for what a login may not do; the names that are still to be looked up."""
    rights = scope.rights
    if root.kind not in rights.statements:
        raise refused(f"a statement of the kind {root.kind}")
    known = _READING_NODES if rights.read_only else _READING_NODES | _WRITING_NODES
    unsettled = Unsettled()
    for parent, node in _pairs(root):
        if node.kind not in known:
            raise refused(f"{node.kind} in a statement")
        if node.kind == "Function":
            _check_function(rights, parent, node)
        elif node.kind == "TableIdentifier":
            _check_named(scope, node.name, unsettled)
        elif node.kind == "AlterCommand" and node.name.split(" ")[0] not in _ALTERATIONS:
            raise refused(f"ALTER TABLE … {node.name.replace('_', ' ')}")
        elif node.kind == "Literal" and parent is not None and parent.kind in _ANSWERS:
            raise refused("INTO OUTFILE")
        elif node.kind == "Identifier":
            _check_identifier(scope, root, parent, node, unsettled)
        if node.kind == "Function" and node.name.lower() in _SET_FUNCTIONS:
            _check_sets(scope, node, unsettled)
    return unsettled


def _pairs(root: Node) -> Iterator[tuple[Node | None, Node]]:
    yield None, root
    for node in root.walk():
        for child in node.children:
            yield node, child


def _check_function(rights: Rights, parent: Node | None, node: Node) -> None:
    name = node.name.lower()
    kind = "" if parent is None else parent.kind
    if kind in ("TableExpression", "InsertQuery", "CreateQuery", "Explain", "DescribeQuery"):
        if name not in TABLE_FUNCTIONS or kind != "TableExpression":
            raise refused(f"the table function {node.name}")
    elif kind == "Storage":
        if node.name not in ENGINES and not is_reviewed(name):
            raise refused(f"the engine {node.name}")
    elif not (is_reviewed(name) or name in rights.functions or (not rights.read_only and node.name in _OF_COLUMNS)):
        raise refused(f"the function {node.name}")


def _check_named(scope: Scope, name: str, unsettled: Unsettled) -> None:
    """A table by its name. The engine takes other names in its own database for files."""
    if not _TABLE.fullmatch(name):
        raise refused(f"a table of the name {name[:64]}")
    database, dot, table = name.rpartition(".")
    tables = scope.rights.tables
    if database.lower() in _DATABASES_OF_THE_ENGINE:
        if database != "system" or table not in scope.rights.system_tables:
            raise refused(f"the table {name}")
    elif tables is not None:
        if dot and (database != scope.database or table not in tables):
            raise refused(f"the table {name}")
        if not dot and name not in tables and name not in scope.uploaded:
            unsettled.strangers.add(name)
    elif dot:
        unsettled.databases.add(database)


def check_target(name: str) -> None:
    """Raise EngineError for a table to insert into, as it is written, whose name is more than letters."""
    if any(not _PART.fullmatch(part.strip('`"')) for part in _QUOTED.findall(name)):
        raise refused(f"a table of the name {name[:64]}")


def _check_identifier(scope: Scope, root: Node, parent: Node | None, node: Node, unsettled: Unsettled) -> None:
    """A column; its table and database may stand before it. A function may be given to another by its name alone."""
    database, dot, rest = node.name.partition(".")
    if dot and database.lower() in _DATABASES_OF_THE_ENGINE:
        _check_named(scope, f"{database}.{rest.partition('.')[0]}", unsettled)
    if is_reaching(node.name) and node.name.lower() not in scope.rights.functions:
        raise refused(f"the function {node.name}")
    if parent is root and root.kind not in _READS and not _TABLE.fullmatch(node.name):
        raise refused(f"a table of the name {node.name[:64]}")


def _check_sets(scope: Scope, node: Node, unsettled: Unsettled) -> None:
    """`x IN name` reads the table of this name, if it is none of a column."""
    arguments = node.children[0].children if node.children else ()
    if len(arguments) != 2 or arguments[1].kind != "Identifier":
        return
    name = arguments[1].name
    ours = {scope.database, *_DATABASES_OF_THE_ENGINE}
    if "." in name and scope.rights.tables is not None and name.split(".")[0].lower() not in ours:
        # A column, after the name that its table has in this statement; it must be no table of another database.
        unsettled.strangers.add(name.split(".")[0])
    else:
        _check_named(scope, name, unsettled)


def check_shown(scope: Scope, root: Node, text: str) -> None:
    """SHOW and EXISTS do not say in their trees what they ask for. Raises EngineError. `text` is the engine's own."""
    formatted = _FORMATTED.fullmatch(text) if root.kind.startswith(("Show", "Exists")) else None
    if formatted is not None:
        found = _SHOWN.fullmatch(formatted["rest"])
        if found is None:
            raise refused(f"a statement of the kind {root.kind}")
        if found["table"] is not None:
            database, table = (found["database"] or scope.database).strip("`"), found["table"].strip("`")
            if database != scope.database or table not in (scope.rights.tables or ()):
                raise refused(f"the table {database}.{table}")


def check_structure(root: Node) -> None:
    """Raise EngineError when the structure of an uploaded table says more than names and types."""
    columns = [node for node in root.children if node.kind == "Columns"]
    others = [node for node in root.children if node.kind not in ("Columns", "Identifier")]
    nodes = [node for one in columns for node in one.walk()]
    plain = all(node.kind in _TYPES for node in nodes)
    if root.kind != "CreateQuery" or len(columns) != 1 or others or not plain:
        raise refused("the structure of an uploaded table: must be names and types only")


def shows_settings(root: Node) -> bool:
    """Does it read which settings there are, and which may be changed? Clients do, and go by it."""
    return any((node.kind, node.name) == ("TableIdentifier", "system.settings") for node in root.walk())


def has_settings(root: Node) -> bool:
    """Are there settings anywhere but among the options of an EXPLAIN?"""
    return any(node.kind == "Set" and (parent is None or parent.kind != "Explain") for parent, node in _pairs(root))
