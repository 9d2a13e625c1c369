"""The benches of routing, small: they run, they say what they promise, and the naive way agrees with the router."""

import json
import subprocess
import sys
from pathlib import Path

from bench.p1_decision import measure as measure_decision
from bench.p10_memory import measure as measure_memory

ROOT = Path(__file__).parents[2]
SMALL = ["--prices", "20000", "--vendors", "20"]


def test_a_decision_is_measured_beside_the_naive_way_and_both_agree() -> None:
    figures = measure_decision([*SMALL, "--decisions", "600", "--naive-decisions", "400"])
    assert figures["answers_compared"] == 400
    assert figures["routes_per_decision"] > 2
    assert 15_000 < figures["prices"] <= 20_000
    assert 0 < figures["p50_us"] <= figures["p99_us"]
    assert figures["decisions_per_second"] > 0
    assert figures["naive_p50_us"] > 0


def test_memory_and_times_of_a_snapshot_are_measured() -> None:
    figures = measure_memory(SMALL)
    assert 10 < figures["bytes_per_price"] < 60
    assert min(figures[name] for name in ("build_seconds", "replace_seconds", "cold_start_seconds")) >= 0


def test_the_command_prints_one_line_of_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "P10", *SMALL],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["id"] == "P10"


def test_an_unknown_row_names_the_rows() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "P99"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "P1, P2" in done.stderr
