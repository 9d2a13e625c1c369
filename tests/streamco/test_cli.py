"""The command line: what goes wrong is said in a line or two, never by a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

STREAMCO = [sys.executable, "-m", "streamco.cli"]
ROOT = Path(__file__).resolve().parents[2]


def run(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STREAMCO, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "STREAMCO_HOME": str(home / "home"), **environment},
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_nothing_runs_in_an_empty_home(tmp_path: Path) -> None:
    shown = run(tmp_path, "status", "--json")
    assert (shown.returncode, json.loads(shown.stdout)) == (1, {"ok": False, "components": []})
    assert "nothing runs here" in run(tmp_path, "status").stdout
    assert run(tmp_path, "down").stdout == "nothing was running\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("seed",), "PostgreSQL does not answer"),
        (("load", "/nowhere.yaml"), "/nowhere.yaml: No such file or directory"),
        (("pay", "Nobody", "1.2345678", "--reason", "x"), "amount '1.2345678': must be a decimal"),
        (("pay", "Nobody", "1", "--reason", "x"), "PostgreSQL does not answer"),
        (("load-deck", "nobody", "/nowhere.csv"), "PostgreSQL does not answer"),
        (("load-pool", "fraud", "/nowhere.csv"), "PostgreSQL does not answer"),
        (("try-translation", "--peer", "acme", "123"), "connection"),
        (("audit",), "the stores cannot be read"),
        (("migrate",), "connection"),
        (("password", "admin"), "connection"),
        (("simulate", "--seconds", "1"), "STREAMCO_SIMULATED_NODES: must name the nodes to play"),
        (("logs", "nobody"), "must be one of"),
    ],
)
def test_errors_are_lines_for_people(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(tmp_path, *arguments, STREAMCO_POSTGRES_PORT="1999", STREAMCO_KAFKA_PORT="1998")
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_stops_every_command(tmp_path: Path) -> None:
    for command in ("up", "down", "status", "logs", "migrate", "seed", "audit", "demo"):
        done = run(tmp_path, command, STREAMCO_SIP_PORT="80")
        assert done.returncode == 1, command
        assert "STREAMCO_SIP_PORT '80'" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_negative_payment_is_an_amount_and_no_option(tmp_path: Path) -> None:
    done = run(tmp_path, "pay", "--reason", "refund", "--", "Nobody", "-5.00", STREAMCO_POSTGRES_PORT="1999")
    assert "PostgreSQL does not answer" in done.stderr
