"""CHAIN: everything on: simulated nodes → AGI router with holds → journal → agents → Kafka → all stores, auditor too.

The product is started as a user would (`streamco up`), seeded, and given traffic at a rising rate until it no longer
keeps up: until calls are not placed at the rate asked for, are refused for want of an answer, or the ledger lags.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.figures import say
from streamco import rooms
from streamco.embedded.temporary import free_port
from streamco.secret_store import with_secrets
from streamco.settings import read_settings

STEPS: Final = (50, 100, 150, 200, 300, 400, 500, 600, 800, 1_000)
LAG_SECONDS: Final = 5.0  # after the last call of a step its leg is to be in the ledger within so long
_UNANSWERED: Final = ("ROUTER UNAVAILABLE", "DATABASE UNAVAILABLE", "OVERLOAD")
_PORTS: Final = ("POSTGRES", "KAFKA", "KAFKA_CONTROLLER", "CLICKHOUSE", "ROUTER", "DASHBOARDS", "SIP")
_ROOT: Final = Path(__file__).resolve().parent.parent


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench CHAIN")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each rate")
    parser.add_argument("--most", type=int, default=STEPS[-1], help="calls a second that are tried at most")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chain-") as home:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STREAMCO_")},
            "STREAMCO_HOME": home,
            "STREAMCO_NODES": "sim1,sim2",
            "STREAMCO_SIMULATED_NODES": "sim1,sim2",
            "STREAMCO_AMI_PORT": str(_two_free_ports()),
            "STREAMCO_AUDIT_SECONDS": "10",
            **{f"STREAMCO_{name}_PORT": str(free_port()) for name in _PORTS},
        }
        _streamco(environment, "up")
        try:
            _streamco(environment, "seed", "--size", "small")
            steps = _climb(environment, options.seconds, options.most)
            audit = _streamco(environment, "audit", "--json", "--settle", "60", may_fail=True)
        finally:
            _streamco(environment, "down")
    kept = [step["calls_per_second"] for step in steps if step["kept_up"]]
    return {
        "chain_calls_per_second": max(kept, default=0),
        "steps": steps,
        "audit_ok": bool(json.loads(audit.splitlines()[-1])["ok"]),
    }


def _climb(environment: dict[str, str], seconds: float, most: int) -> list[dict[str, Any]]:
    settings = with_secrets(read_settings({**environment}))
    dsn = rooms.postgres(settings, "cli").dsn.get_secret_value()
    steps: list[dict[str, Any]] = []
    calls = 0
    for rate in STEPS:
        if rate > most:
            break
        said = _streamco(environment, "simulate", "--cps", str(rate), "--seconds", str(seconds), "--seed", str(rate))
        summary = next(json.loads(line) for line in reversed(said.splitlines()) if "simulator ended" in line)
        calls += summary["calls"]
        lag_seconds = _until_posted(dsn, calls)
        unanswered = sum(summary["refused"].get(reason, 0) for reason in _UNANSWERED)
        placed = summary["calls"] / seconds
        kept_up = placed >= 0.95 * rate and not unanswered and lag_seconds <= LAG_SECONDS
        steps.append(
            {
                "asked": rate,
                "calls_per_second": round(placed, 1),
                "legs_per_second": round((summary["calls"] + summary["legs"]) / seconds, 1),
                "refused": summary["refused"],
                "unanswered": unanswered,
                "ledger_lag_seconds": round(lag_seconds, 1),
                "kept_up": kept_up,
            }
        )
        say(str(steps[-1]))
        if not kept_up:
            break
    return steps


def _until_posted(dsn: str, calls: int) -> float:
    """Seconds until so many inbound legs are in the ledger."""
    began = time.monotonic()
    with psycopg.connect(dsn, autocommit=True) as connection:
        while time.monotonic() - began < 120:
            row = connection.execute("SELECT count(*) FROM ledger_entries WHERE reference LIKE '%/0'").fetchone()
            if row is not None and row[0] >= calls:
                break
            time.sleep(0.2)
    return time.monotonic() - began


def _two_free_ports() -> int:
    while True:
        port = free_port()
        if port + 1 <= 32_000:
            return port


def _streamco(environment: dict[str, str], *arguments: str, may_fail: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "streamco.cli", *arguments],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode and not may_fail:
        raise RuntimeError(f"streamco {' '.join(arguments)}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.stdout + done.stderr if arguments[0] == "simulate" else done.stdout
