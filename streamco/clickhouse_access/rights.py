"""The rights of each kind of ClickHouse login: the embedded front's checks and a server's grants are made from this.

Three kinds. WRITER is the login of our own processes that write (streams, auditor, migrations). READER is that of our
own processes that only read (dashboards, `streamco audit`, `streamco why`). ANALYST is a person. What a kind does not
name it may not do: a table, a function, a setting that is not listed is refused.
"""

from dataclasses import dataclass, replace
from typing import Final

# What is read of our database by people and pages. A test holds these and OWN_TABLES against what the migrations make.
TABLES: Final = frozenset({"legs", "judged_legs", "decisions"})
OWN_TABLES: Final = frozenset({"audit_asked", "streamco_migrations", "streamco_definitions"})  # the writer's alone
# Describe the database or hold constants: neither secrets nor what others do.
SYSTEM_TABLES: Final = frozenset(
    {
        "one", "numbers", "numbers_mt", "zeros", "zeros_mt", "databases", "tables", "columns", "functions", "formats",
        "settings", "data_type_families", "time_zones",
    }
)  # fmt: skip
# Count; they read nothing. (`zeros` the engine itself refuses to who only reads.)
# Those that take a structure or a format as text could be given an expression in it.
TABLE_FUNCTIONS: Final = frozenset({"numbers", "numbers_mt", "generateseries", "generate_series"})
# Of a table that we make.
ENGINES: Final = frozenset({"MergeTree", "ReplacingMergeTree", "AggregatingMergeTree", "SummingMergeTree", "Memory"})
# Settings that shape an answer or bound a query. None names a file, an address or another parser.
_READING: Final = frozenset(
    {
        "cast_string_to_dynamic_use_inference",
        "max_threads", "max_block_size", "extremes", "final", "join_use_nulls", "group_by_use_nulls",
        "transform_null_in", "union_default_mode", "prefer_column_name_to_alias", "count_distinct_implementation",
        "session_timezone", "optimize_read_in_order", "optimize_move_to_prewhere", "use_skip_indexes",
        "date_time_input_format", "date_time_output_format", "http_write_exception_in_output_format",
        "format_csv_delimiter",
        "output_format_csv_crlf_end_of_line", "output_format_tsv_crlf_end_of_line",
        "output_format_json_quote_64bit_integers", "output_format_json_quote_decimals",
        "output_format_json_quote_denormals", "output_format_json_named_tuples_as_objects",
        "output_format_json_array_of_rows", "output_format_arrow_string_as_string",
        "output_format_arrow_compression_method", "output_format_arrow_low_cardinality_as_dictionary",
        "output_format_parquet_string_as_string", "output_format_parquet_compression_method",
        "output_format_pretty_max_rows", "output_format_pretty_color", "output_format_pretty_row_numbers",
        "output_format_decimal_trailing_zeros", "output_format_write_statistics",
        "input_format_null_as_default", "input_format_skip_unknown_fields", "input_format_csv_empty_as_default",
    }
)  # fmt: skip
_LIMITING: Final = frozenset(
    {
        "max_execution_time", "max_memory_usage", "max_rows_to_read", "max_result_rows", "max_result_bytes",
        "max_bytes_to_read",
    }
)  # fmt: skip
_CAPS: Final = {"max_threads": 64, "max_block_size": 1_048_576}
_WRITING: Final = frozenset(
    {
        "insert_deduplication_token", "deduplicate_blocks_in_dependent_materialized_views", "insert_deduplicate",
        "max_partitions_per_insert_block", "mutations_sync", "async_insert", "wait_for_async_insert",
        # of tables
        "non_replicated_deduplication_window", "index_granularity", "ttl_only_drop_parts", "merge_with_ttl_timeout",
        "max_bytes_to_merge_at_max_space_in_pool", "max_bytes_to_merge_at_min_space_in_pool",
        "parts_to_delay_insert", "parts_to_throw_insert",
    }
)  # fmt: skip

# What a statement is, by the root of its syntax tree.
_READS: Final = frozenset(
    {
        "SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery", "Explain", "DescribeQuery", "ShowTables",
        "ExistsTableQuery", "ExistsViewQuery", "ExistsDatabaseQuery", "ShowCreateTableQuery", "ShowCreateViewQuery",
    }
)  # fmt: skip
_CHANGES: Final = frozenset(
    {
        "InsertQuery", "CreateQuery", "AlterQuery", "DropQuery", "TruncateQuery", "DeleteQuery", "UpdateQuery",
        "OptimizeQuery", "Set", "UseQuery",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What one login may take. Of a query: seconds, bytes, rows. `hour_*`: of all its queries begun within an hour."""

    query_seconds: int
    memory_bytes: int
    read_rows: int
    result_rows: int
    concurrent_queries: int
    hour_queries: int
    hour_seconds: int
    answer_seconds: int  # for a client to fetch an answer that it is given in pieces

    def settings(self) -> dict[str, int]:
        """The engine's settings of a query. Each is a maximum: a client may ask for less, never for more."""
        return {
            "max_execution_time": self.query_seconds,
            "max_memory_usage": self.memory_bytes,
            "max_rows_to_read": self.read_rows,
            "max_result_rows": self.result_rows,
        }


@dataclass(frozen=True)
class Rights:
    """What a kind of login may do.

    `role`: its name on a server. `privileges`: of our database, in the words of GRANT; on every table of `tables`, or
    on the whole database where that is None. `statements`: roots of syntax trees. `limits` None: the engine's alone.
    """

    role: str
    privileges: tuple[str, ...]
    statements: frozenset[str]
    tables: frozenset[str] | None
    system_tables: frozenset[str]
    settings: frozenset[str]
    functions: frozenset[str] = frozenset()  # beside the reviewed ones
    limits: Limits | None = None
    fixed: tuple[tuple[str, str], ...] = ()  # settings that nobody changes

    @property
    def maxima(self) -> dict[str, int]:
        """The largest value of each setting that is a limit."""
        return {} if self.limits is None else self.limits.settings()

    @property
    def caps(self) -> dict[str, int]:
        """The largest value that a client may give a setting, where there is one."""
        return {**_CAPS, **self.maxima} if self.read_only else {}

    def within(self, memory_bytes: int) -> "Rights":
        """The same, with queries of so much memory at most."""
        if self.limits is None:
            return self
        return replace(self, limits=replace(self.limits, memory_bytes=min(memory_bytes, self.limits.memory_bytes)))

    @property
    def read_only(self) -> bool:
        """Does it only read?"""
        return not self.statements & _CHANGES


ANALYST: Final = Rights(
    role="streamco_analyst",
    privileges=("SELECT",),
    statements=_READS,
    tables=TABLES,
    system_tables=SYSTEM_TABLES,
    settings=_READING | _LIMITING,
    limits=Limits(
        query_seconds=60,
        memory_bytes=1 << 30,
        read_rows=2_000_000_000,
        result_rows=1_000_000,
        concurrent_queries=4,
        hour_queries=5_000,
        hour_seconds=3_600,
        answer_seconds=600,
    ),
    # What does not fit into memory fails; it is not written to files. What passes a limit is an error, not a part.
    fixed=(
        ("max_bytes_ratio_before_external_group_by", "0"),
        ("max_bytes_ratio_before_external_sort", "0"),
        ("read_overflow_mode", "throw"),
        ("result_overflow_mode", "throw"),
        ("timeout_overflow_mode", "throw"),
    ),
)
READER: Final = Rights(
    role="streamco_reader",
    privileges=("SELECT",),
    statements=_READS,
    tables=TABLES,
    system_tables=SYSTEM_TABLES,
    settings=_READING | _LIMITING,
)
WRITER: Final = Rights(
    role="streamco_writer",
    privileges=(
        "SELECT", "INSERT", "ALTER", "CREATE DATABASE", "CREATE TABLE", "CREATE VIEW", "DROP TABLE", "DROP VIEW",
        "TRUNCATE", "OPTIMIZE",
    ),
    statements=_READS | _CHANGES,
    tables=None,
    system_tables=SYSTEM_TABLES | {"parts", "processes", "table_functions", "table_engines"},
    settings=_READING | _LIMITING | _WRITING,
    functions=frozenset({"sleep", "sleepeachrow"}),
)  # fmt: skip
KINDS: Final = (WRITER, READER, ANALYST)
