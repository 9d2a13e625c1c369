"""`python -m bench ROW [--option value …]`: one row of the performance table, as one JSON line on standard output.

Each row is a module with `measure(arguments) -> dict`; its yardstick is measured in the same run, since the machine is
shared and noisy: a ratio says more than a figure. What goes on meanwhile is told on standard error.
"""

import importlib
import json
import logging
import sys
from typing import Final

import structlog

ROWS: Final = {
    "P1": "bench.p1_decision",
    "P2": "bench.p2_session",
    "P3": "bench.p3_setup",
    "P4": "bench.p4_rating",
    "P5": "bench.p5_stream",
    "P6": "bench.p6_freshness",
    "P8": "bench.p8_deck_live",
    "P10": "bench.p10_memory",
    "NUMBERS": "bench.numbers",
    "CHAIN": "bench.chain",
    "BACKLOG": "bench.backlog",
    "AUDIT": "bench.audit",
    "FUZZ": "bench.fuzz",
    "SQLFUZZ": "bench.sql_fuzz",
    "GUARD": "bench.sql_guard",
    "OVERLOAD": "bench.overload",
    "START": "bench.process_start",
}


def main(arguments: list[str]) -> int:
    """Measure a row; the exit code."""
    row = arguments[0].upper() if arguments else ""
    if row not in ROWS:
        sys.stderr.write(f"which row? one of {', '.join(ROWS)}\n")
        return 2
    # Standard output is for the one line.
    structlog.configure(
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    figures = importlib.import_module(ROWS[row]).measure(arguments[1:])
    sys.stdout.write(json.dumps({"id": row, **figures}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
