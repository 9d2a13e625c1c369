"""`make faults`: every fault test, and at the end one line for each fault."""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest

# Beside the tests of this directory: those that stand with what they are about.
ELSEWHERE = (
    "tests/router/server/test_main.py::test_two_routers_never_admit_more_than_the_account_affords",
    "tests/asterisk/test_money.py::test_calls_are_cut_when_their_money_ends_and_billed_to_the_cut",
)
HEAD = ("fault", "kills", "legs", "duplicates", "audit")


def table(lines: list[dict[str, object]]) -> str:
    """The lines in columns."""
    rows = [HEAD, *([str(line[name]) for name in HEAD] for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def main(arguments: list[str]) -> int:
    """Run them; the exit code is pytest's."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "report"
        os.environ["STREAMCO_FAULTS_REPORT"] = str(path)
        # Two at a time, each with servers of its own: most of these tests wait for a session to run out.
        shared = ["--whole", "-n", "2", "--dist", "loadfile", "--durations=0", "--durations-min=5"]
        code = pytest.main([str(Path(__file__).parent), *ELSEWHERE, *shared, *arguments])
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    lines.sort(key=lambda line: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", line["fault"])])
    print("\n" + table(lines))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
