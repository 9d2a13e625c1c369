"""Writes docs/data-dictionary.md from the contracts themselves: `python docs/make_data_dictionary.py`.

It reads the sources of schemas/ (structures with their comments, topics, SQL tables), so that the dictionary cannot say
anything else than the code. A test compares the committed file with what this makes.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from schemas.refusals import REFUSAL_CAUSE, SIP_OF_CAUSE, Ending, Refusal, Verdict
from schemas.topics import TOPICS

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "data-dictionary.md"
STRUCTURES = (
    "event_base.py",
    "call_events.py",
    "node_events.py",
    "bill_events.py",
    "decision.py",
    "facts.py",
    "live.py",
    "quality.py",
)
HEAD = """# Data dictionary

Made from `schemas/` by `python docs/make_data_dictionary.py`: do not edit by hand. Times are UTC; `_at_ms` is unix
milliseconds; amounts in events are micros (10⁻⁶ of the currency), prices 10⁻⁸ per minute; at rest both are decimals.
What each figure means (ASR, NER, ACD, PDD, margin) stands in the analyst's guide.
"""


def cell(text: str) -> str:
    """Text that is safe in a table's cell."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def structures(path: Path) -> Iterator[str]:
    """One section for each structure of a Python file: docstring, then a row a field."""
    source = path.read_text()
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
        if not fields:
            continue
        base = ast.unparse(node.bases[0]) if node.bases else ""
        tag = next((ast.literal_eval(key.value) for key in node.keywords if key.arg == "tag"), "")
        yield f"\n### {node.name}" + (f" (`{tag}`)" if tag else "") + "\n"
        yield (ast.get_docstring(node) or "").strip() + "\n"
        if base in ("Event", "Closed", "Routed"):
            yield f"All fields of {base}, and:\n"
        yield "| field | type | |\n|---|---|---|"
        for field in fields:
            comment = lines[(field.end_lineno or field.lineno) - 1].partition("  # ")[2]
            yield f"| `{ast.unparse(field.target)}` | `{cell(ast.unparse(field.annotation))}` | {cell(comment)} |"


def tables(path: Path, comment: re.Pattern[str]) -> Iterator[str]:
    """One section for each CREATE TABLE of a SQL file, with the comment above it and a row a column."""
    text = path.read_text()
    for match in re.finditer(
        r"((?:^--[^\n]*\n)*)^CREATE TABLE (?:IF NOT EXISTS )?(\w+) \(\n(.*?)^\)", text, re.M | re.S
    ):
        above, name, body = match.groups()
        yield f"\n### {name}\n"
        yield re.sub(r"^-- ?", "", above, flags=re.M).strip() + "\n"
        yield "| column | definition | |\n|---|---|---|"
        for line in body.splitlines():
            column = re.match(r"    ([a-z]\w*)\s+(.*)", line)
            if column is None:
                continue
            noted = comment.search(line)
            definition = comment.sub("", column[2]).strip().rstrip(",")
            about = noted[1].replace("''", "'") if noted else ""
            yield f"| `{column[1]}` | `{cell(definition)}` | {cell(about)} |"
    for change in re.finditer(r"^ALTER TABLE (\w+)\n?((?:\s+ADD [^;]*?,?\n?)+);", text, re.M):
        added = re.findall(r"ADD COLUMN ([a-z]\w*)\s+(.*?)(?:,|$)[ \t]*(?:-- (.*))?$", change[2], re.M)
        if added:
            yield f"\n### {change[1]}, since {path.stem}\n"
            yield "| column | definition | |\n|---|---|---|"
            yield from (
                f"| `{name}` | `{cell(definition.strip())}` | {cell(about)} |" for name, definition, about in added
            )
    for table, column in re.findall(r"^ALTER TABLE (\w+) DROP COLUMN (\w+);", text, re.M):
        yield f"\nThe column `{table}.{column}` is gone since {path.stem}."
    for view in re.finditer(
        r"((?:^--[^\n]*\n)*)^CREATE OR REPLACE VIEW (\w+)", text if path.parent.name == "views" else "", re.M
    ):
        yield f"\n### {view[2]} (view)\n"
        yield re.sub(r"^-- ?", "", view[1], flags=re.M).strip() + "\n"


def sql_files(store: str) -> list[Path]:
    """Migrations, which make the tables, then views as they are now."""
    return [
        path for kind in ("migrations", "views") for path in sorted((ROOT / "schemas" / store / kind).glob("*.sql"))
    ]


def dictionary() -> str:
    """The whole text of the dictionary."""
    parts = [HEAD, "\n## Kafka topics\n", "| topic | holds | keyed by | framed | kept |\n|---|---|---|---|---|"]
    for topic in TOPICS:
        kept = "newest value of each key" if topic.compacted else "for ever"
        parts.append(
            f"| `{topic.name}` | {topic.holds} | {topic.keyed_by} | {'yes' if topic.framed else 'no'} | {kept} |"
        )
    parts.append("\n## Refusals\n\n| reason | Q.850 cause | SIP |\n|---|---|---|")
    for reason in Refusal:
        cause = REFUSAL_CAUSE[reason]
        parts.append(f"| {reason.value} | {cause} | {SIP_OF_CAUSE.get(cause, 503)} |")
    parts.append("\nWhy we ended a call that had routes: " + ", ".join(f"`{ending.value}`" for ending in Ending) + ".")
    parts.append("\nWhat becomes of a candidate in a decision: " + ", ".join(f"`{v.value}`" for v in Verdict) + ".\n")
    parts.append("\n## Events and values")
    for name in STRUCTURES:
        parts.extend(structures(ROOT / "schemas" / name))
    parts.append("\n## ClickHouse")
    for path in sql_files("clickhouse"):
        parts.extend(tables(path, re.compile(r"\s*COMMENT '((?:[^']|'')*)'")))
    parts.append("\n## PostgreSQL")
    for path in sql_files("postgres"):
        parts.extend(tables(path, re.compile(r"\s*-- (.*)$")))
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(dictionary())
