"""Requests of somebody who may only read the CDRs, and wants a file, a connection or another table. Pure: by a seed.

They are made of what the engine itself lists (its table functions, functions, table engines), in every place where SQL
takes an expression, a table or a statement, written in every way that is the same to the engine.
"""

import gzip
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode

Random = random.Random


@dataclass(frozen=True)
class Targets:
    """`canary`: a file whose text must not come out. `folder`: where nothing may be made. `port`: of a listener."""

    canary: str
    folder: str
    port: int


@dataclass(frozen=True)
class Names:
    """What the engine lists."""

    table_functions: Sequence[str]
    functions: Sequence[str]
    reaching: Sequence[str]
    engines: Sequence[str]


@dataclass(frozen=True)
class Hostile:
    """One request: `path` with its arguments, the body, whether it is a GET; `sql` is the statement in it."""

    sql: str
    path: str
    body: bytes | None
    headers: dict[str, str] = field(default_factory=dict)


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _written(random: Random, name: str) -> str:
    """A name in another of its spellings."""
    return random.choice(
        (name, name, name, name.upper(), name.capitalize(), f"`{name}`", f'"{name}"', f"{name}/**/", f"/*;*/{name} ")
    )


def _arguments(random: Random, at: Targets) -> str:
    """Arguments that one function or another takes for a file, an address, a command or a table."""
    made = f"{at.folder}/made{random.randrange(10**9)}"
    host = f"127.0.0.1:{at.port}"
    return random.choice(
        (
            text(at.canary),
            f"{text(at.canary)}, 'LineAsString'",
            f"{text(at.canary)}, 'CSV', 'line String'",
            f"{text(at.canary)}, 'RawBLOB', 'line String'",
            f"{text(made)}, 'CSV', 'line String'",
            f"{text(f'http://{host}/x')}, 'CSV', 'line String'",
            f"{text(f'http://{host}/x')}",
            f"{text(f'http://{host}/b/k')}, 'u', 'p', 'CSV', 'line String'",
            f"{text(f'hdfs://{host}/x')}, 'CSV', 'line String'",
            f"{text(host)}, system, one",
            f"{text(host)}, system.one, 'u', 'p'",
            f"{text(host)}, 'd', 't', 'u', 'p'",
            f"{text(host)}, 'd', 'c', 'u', 'p', 'line String'",
            f"'127.0.0.1', {at.port}, 'd', 't', 'u', 'p'",
            f"{text(f'cat {at.canary}')}, 'LineAsString', 'line String'",
            f"'sh', {text(f'-c cat {at.canary}')}",
            f"{text(f'sqlite:{made}')}, 't'",
            f"{text(made)}, 't'",
            "'default', system, query_log",
            "default, system, processes",
            "'system', '.*'",
            "'.*', '.*'",
            "'dictionary'",
            f"'a String', {text(at.canary)}",
            f"CSV, 'a String DEFAULT file({text(at.canary)[1:-1]})', '1'",
            f"(SELECT * FROM file({text(at.canary)}, 'LineAsString'))",
            f"{text(at.canary)}, SETTINGS max_threads = 1",
            f"path = {text(at.canary)}, format = 'LineAsString'",
            f"127.0.0.1, {at.port}",
            "1",
            "",
        )
    )


def _table(random: Random, names: Names, at: Targets) -> str:
    """Something that stands where a table does."""
    kind = random.random()
    if kind < 0.45:
        return _working_table(random, at)
    if kind < 0.8:
        function = random.choice(names.table_functions if random.random() < 0.6 else _REACHING_TABLES)
        return f"{_written(random, function)}({_arguments(random, at)})"
    return random.choice(
        (
            "system.query_log", "system.processes", "system.users", "system.named_collections", "system.`processes`",
            "SYSTEM.processes", "information_schema.tables", "{t:Identifier}", "{d:Identifier}.{t:Identifier}",
            "default.secret", "streamco.secret", "secret", text(at.canary), f"`{at.canary}`", "audit_asked",
            "system.zookeeper WHERE path = '/'",
        )
    )  # fmt: skip


_REACHING_TABLES: Final = (
    "file",
    "url",
    "remote",
    "s3",
    "executable",
    "mysql",
    "postgresql",
    "sqlite",
    "merge",
    "input",
)


def _working_table(random: Random, at: Targets) -> str:
    """One that an engine without a guard would read."""
    host = f"127.0.0.1:{at.port}"
    file, url = _written(random, "file"), _written(random, "url")
    return random.choice(
        (
            f"{file}({text(at.canary)}, 'LineAsString')",
            f"{file}({text(at.canary)}, 'CSV', 'line String')",
            f"{file}({text(at.canary)}, 'TSVRaw', 'line String', 'none')",
            f"{_written(random, 'view')}(SELECT * FROM file({text(at.canary)}, 'LineAsString'))",
            f"format(CSV, 'line String', file({text(at.canary)}))",
            f"default.`{at.canary}`",
            f"{url}({text(f'http://{host}/x')}, 'CSV', 'line String')",
            f"{_written(random, 'remote')}({text(host)}, system, one)",
            f"{_written(random, 's3')}({text(f'http://{host}/b/k')}, 'u', 'p', 'CSV', 'line String')",
            f"{_written(random, 'mysql')}({text(host)}, 'd', 't', 'u', 'p')",
            f"{_written(random, 'postgresql')}({text(host)}, 'd', 't', 'u', 'p')",
        )
    )


def _value(random: Random, names: Names, at: Targets) -> str:
    """Something that stands where a value does."""
    function = random.choice(names.reaching if random.random() < 0.7 else names.functions)
    call = f"{_written(random, function)}({_arguments(random, at)})"
    if random.random() < 0.5:
        call = f"{_written(random, 'file')}({text(at.canary)})"
    return random.choice(
        (
            call, call, f"toString({call})", f"arrayMap(x -> {call}, [1])", f"if(1, {call}, '')", f"({call}, 1).1",
            f"[{call}][1]", f"CAST({call}, 'String')", f"{call} OVER ()", f"any({call})", f"groupArray({call})",
            f"arrayMap({function}, [{text(at.canary)}])", f"1 IN ({call})", "1 IN (system.processes)",
            f"1 IN {_table(random, names, at)}", f"arrayReduce('{function}', [1])", f"{{f:String}} || {call}",
        )
    )  # fmt: skip


def _select(random: Random, names: Names, at: Targets, depth: int = 0) -> str:
    """A SELECT with it somewhere in it."""
    deeper = _select(random, names, at, depth + 1) if depth < 3 and random.random() < 0.4 else None
    table = f"({deeper})" if deeper else _table(random, names, at)
    value = f"({deeper})" if deeper else _value(random, names, at)
    alias = random.choice(("", "", " AS x", " AS `file`", " AS `a\\nFunction plus`"))
    return random.choice(
        (
            f"SELECT * FROM {table}{alias}",
            f"SELECT * FROM {table}{alias}",
            f"SELECT {value}{alias}",
            f"SELECT {value}{alias}",
            f"FROM {table} SELECT *",
            f"SELECT 1 FROM legs WHERE 1 IN (SELECT * FROM {table})",
            f"SELECT * FROM legs JOIN {table} AS o ON 1 = 1",
            f"SELECT * FROM numbers(1), {table}",
            f"WITH c AS (SELECT * FROM {table}) SELECT * FROM c",
            f"WITH (SELECT any(line) FROM {table}) AS c SELECT c",
            f"WITH {value} AS v SELECT v FROM numbers(2)",
            f"SELECT 1 UNION ALL SELECT * FROM {table}",
            f"(SELECT 1) INTERSECT (SELECT * FROM {table})",
            f"SELECT * APPLY({random.choice(names.reaching)}) FROM (SELECT {text(at.canary)} AS x)",
            f"SELECT * REPLACE({value} AS number) FROM numbers(1)",
            f"SELECT COLUMNS('n') APPLY(x -> {value}) FROM numbers(1)",
            f"SELECT count() FROM numbers(3) GROUP BY {value}",
            f"SELECT number FROM numbers(3) ORDER BY {value} LIMIT 1 BY {value}",
            f"SELECT number FROM numbers(3) WHERE {value} != '' HAVING {value} != ''",
            f"SELECT number FROM numbers(3) LIMIT (SELECT length({value}))",
            f"SELECT sum(number) OVER (ORDER BY {value}) FROM numbers(3)",
            f"SELECT number FROM numbers(3) QUALIFY {value} != ''",
            f"SELECT EXISTS(SELECT * FROM {table})",
            f"SELECT number FROM numbers(3) ORDER BY number WITH FILL TO {value}",
            f"SELECT * FROM view(SELECT * FROM {table})",
            f"SELECT * FROM loop({table})",
            f"SELECT * FROM (EXPLAIN SELECT * FROM {table})",
            f"SELECT * FROM viewExplain('EXPLAIN', '', (SELECT * FROM {table}))",
        )
    )


def _statement(random: Random, names: Names, at: Targets) -> str:
    """A statement of any kind."""
    select = _select(random, names, at)
    table = _table(random, names, at)
    made = f"{at.folder}/made{random.randrange(10**9)}"
    engine = random.choice(names.engines)
    explain = random.choice(
        ("", "AST ", "SYNTAX ", "QUERY TREE ", "PLAN ", "PIPELINE ", "ESTIMATE ", "PLAN actions = 1 ")
    )
    return random.choice(
        (
            select, select, select, select,
            f"{select} INTO OUTFILE {text(made)}",
            f"{select} INTO OUTFILE {text(made)} FORMAT CSV",
            f"SELECT 1 INTO/**/OUTFILE {text(made)} TRUNCATE FORMAT CSV SETTINGS max_threads = 1",
            f"{select} FORMAT {random.choice(('Template', 'CapnProto', 'Protobuf', 'Null', 'Native'))}",
            f"{select} SETTINGS {random.choice(_SETTINGS).format(folder=at.folder, canary=at.canary, port=at.port)}",
            f"EXPLAIN {explain}{select}",
            f"EXPLAIN {explain}{select} INTO OUTFILE {text(made)}",
            f"EXPLAIN EXPLAIN {select}",
            f"EXPLAIN TABLE OVERRIDE {table} COLUMNS (a String)",
            f"DESCRIBE TABLE {table}",
            f"DESCRIBE ({select})",
            f"SHOW TABLES FROM system WHERE {_value(random, names, at)} != ''",
            f"SHOW CREATE TABLE {table}",
            "SHOW PROCESSLIST",
            f"INSERT INTO FUNCTION {table} SELECT 'x'",
            f"INSERT INTO TABLE FUNCTION {table} VALUES ('x')",
            f"INSERT INTO FUNCTION file({text(made)}, 'CSV', 'a String') VALUES ('x')",
            f"INSERT INTO legs (call_id) {select}",
            f"INSERT INTO legs (call_id) FROM INFILE {text(at.canary)} FORMAT LineAsString",
            f"INSERT INTO legs (call_id) VALUES ({_value(random, names, at)})",
            f"CREATE VIEW v{random.randrange(999)} AS {select}",
            f"CREATE TEMPORARY TABLE x{random.randrange(999)} AS {table}",
            f"CREATE TEMPORARY TABLE x (a String) ENGINE = {engine}({_arguments(random, at)})",
            f"CREATE TABLE x{random.randrange(999)} (a String) ENGINE = {engine}({_arguments(random, at)})",
            f"CREATE TABLE x ENGINE = MergeTree ORDER BY 1"
            f" SETTINGS disk = disk(type = local, path = {text(made)}) AS {select}",
            f"CREATE DATABASE d ENGINE = {random.choice(_DATABASES)}({_arguments(random, at)})",
            f"CREATE DICTIONARY d (a String) PRIMARY KEY a SOURCE(FILE(path {text(at.canary)} format 'CSV'))"
            " LAYOUT(FLAT())",
            f"CREATE FUNCTION f AS x -> {_value(random, names, at)}",
            f"ALTER TABLE legs UPDATE call_id = {_value(random, names, at)} WHERE 1",
            f"BACKUP TABLE legs TO File({text(made)})",
            f"RESTORE TABLE legs FROM File({text(at.canary)})",
            f"ATTACH TABLE a FROM {text(at.folder)} (x String) ENGINE = Log",
            f"SYSTEM {random.choice(('SHUTDOWN', 'FLUSH LOGS', 'RELOAD CONFIG', 'STOP MERGES'))}",
            f"SET {random.choice(_SETTINGS).format(folder=at.folder, canary=at.canary, port=at.port)}",
            "DROP TABLE legs", "TRUNCATE TABLE legs", "KILL QUERY WHERE 1", "USE system", "OPTIMIZE TABLE legs",
            "GRANT ALL ON *.* TO eve", f"EXECUTE AS streamco {select}",
            f"PARALLEL WITH {select}", f"{select} PARALLEL WITH {select}",
            f"SELECT 1; {select}", f"SELECT 1;\n--\n{select};", f"SELECT '\\';{select};--'", f"SELECT $a$;{select};$a$",
            f"SELECT 1 -- \r{select}", f"/* */{select}/* ; */", f"({select})", f"SELECT '{select}",
        )
    )  # fmt: skip


_DATABASES: Final = ("Filesystem", "MySQL", "SQLite", "S3")
_SETTINGS: Final = (
    "readonly = 0", "readonly = 2", "max_execution_time = 0", "max_result_rows = 0", "max_memory_usage = 0",
    "format_schema = '{canary}'", "output_format_schema = '{folder}/schema'", "dialect = 'kusto'", "allow_ddl = 1",
    "format_template_row = '{canary}'", "allow_experimental_analyzer = 0", "implicit_select = 1",
    "table_function_remote_max_addresses = 9", "max_execution_time = DEFAULT", "max_result_rows = '1e9'",
    "additional_table_filters = {{'legs': 'file(''{canary}'') = 1'}}", "log_queries = 1", "send_logs_level = 'trace'",
    "http_response_headers = {{'a': 'b'}}", "workload = 'x'", "max_threads = 1, readonly = 0",
    "input_format_values_interpret_expressions = 1", "user_files_path = '/'", "parallel_replicas_mode = 'x'",
)  # fmt: skip


def _upload(random: Random, names: Names, at: Targets) -> tuple[dict[str, str], bytes, dict[str, str]]:
    """An external table that says more than it should: arguments, body, headers."""
    structure = random.choice(
        (
            f"a String DEFAULT {_value(random, names, at)}",
            f"a String MATERIALIZED file({text(at.canary)})",
            f"a String) ENGINE = File(CSV, {text(at.canary)}) --",
            f"a String) AS {_select(random, names, at)} --",
            f"a String) AS {_table(random, names, at)} --",
            "a String",
        )
    )
    form = random.choice(("TSV", "Values", "Template", "LineAsString", "Protobuf", "MySQLDump"))
    data = f"(file({text(at.canary)}))" if form == "Values" else "x\n"
    body = f'--B\r\nContent-Disposition: form-data; name="extra"; filename="f"\r\n\r\n{data}\r\n--B--\r\n'.encode()
    return (
        {"extra_structure": structure, "extra_format": form},
        body,
        {"Content-Type": "multipart/form-data; boundary=B"},
    )


def hostile(seed: int, names: Names, at: Targets) -> Hostile:
    """The request of this seed."""
    chance = random.Random(seed)
    sql = _statement(chance, names, at)
    arguments: dict[str, str] = {"param_t": "processes", "param_d": "system", "param_f": "x"}
    if chance.random() < 0.15:
        name, _, value = chance.choice(_SETTINGS).partition(" = ")
        arguments[name] = value.format(folder=at.folder, canary=at.canary, port=at.port).strip("'")
    if chance.random() < 0.1:
        arguments["database"] = chance.choice(("system", "default", "streamco", "nowhere"))
    if chance.random() < 0.1:
        arguments["session_id"] = f"s{chance.randrange(4)}"
    if chance.random() < 0.1:
        arguments["default_format"] = chance.choice(("Template", "Native", "CSV", "Protobuf"))
    way = chance.random()
    if way < 0.2:
        return Hostile(sql, f"/?{urlencode(arguments | {'query': sql}, quote_via=quote)}", None)
    if way < 0.3:
        more, body, headers = _upload(chance, names, at)
        query = sql if chance.random() < 0.5 else "SELECT * FROM extra"
        return Hostile(query, f"/?{urlencode(arguments | more | {'query': query}, quote_via=quote)}", body, headers)
    body, headers = sql.encode(), {}
    if chance.random() < 0.1:
        body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
    return Hostile(sql, f"/?{urlencode(arguments, quote_via=quote)}", body, headers)
