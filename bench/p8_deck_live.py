"""P8: a deck of a million prices, from its file to the routing process, and what the decisions beside it notice.

Two processes decide all the time: one follows the snapshots as a router does, the other keeps the first one. What slows
both is the machine (the loader, PostgreSQL and the builder share its processors); the difference is the snapshot's.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy
import psutil
import psycopg
from numpy.typing import NDArray
from pydantic import SecretStr

from bench.agi_world import VENDORS, make_agi_world
from bench.figures import percentile, say
from billing.prices import load as loader
from billing.prices.load import load_deck
from runtime.migrations import migrate_postgres
from streamco.embedded.postgres import postgres_server
from streamco.embedded.settings import PostgresServer
from streamco.embedded.temporary import TemporaryServers, free_port, password

_HERE: Final = Path(__file__).resolve().parent.parent
_WAITED: Final = ("2125551234", 123_456)  # a number under a code of its own, and its price in 10^-8
_VENDOR: Final = "vendor-7"
_LIVE_SECONDS: Final = 300.0


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures. Seconds of each phase, microseconds of decisions."""
    parser = argparse.ArgumentParser(prog="bench P8")
    parser.add_argument("--prices", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of undisturbed decisions")
    options = parser.parse_args(arguments)
    with TemporaryServers() as servers, contextlib.ExitStack() as stack:
        dsn = _postgres(servers)
        path = servers.directory / "deck.csv"
        codes = _write_deck(path, options.prices)
        told = {
            "dsn": dsn, "directory": str(servers.directory / "snapshot"), "endpoint": "c-customer-1",
            "address": "127.1.0.1:5060", "waited": _WAITED[0], "price_e8": _WAITED[1],
            "numbers": [f"{code}5551234"[:15] for code in codes[:: max(1, len(codes) // 2000)]],
        }  # fmt: skip
        follower = stack.enter_context(_Decider({**told, "follows": True}, servers.directory / "follows.npy"))
        still = stack.enter_context(_Decider({**told, "follows": False}, servers.directory / "still.npy"))
        say(f"{options.seconds} s of undisturbed decisions")
        time.sleep(options.seconds)
        staged: list[float] = []
        deciders = {follower.pid, still.pid}
        used = [_cpu_seconds(deciders)]
        began = time.time()
        with _noting(staged):
            result = load_deck(dsn, _VENDOR, path)
        committed = time.time()
        used.append(_cpu_seconds(deciders))
        say(f"{result.inserted} prices committed after {committed - began:.1f} s")
        live = follower.live()
        used.append(_cpu_seconds(deciders))
        say(f"live {live - committed:.1f} s later")
        time.sleep(2)
        times = {"follower": follower.end(), "still": still.end()}
    during = {name: _between(found, began, live + 1) for name, found in times.items()}
    return {
        "prices": result.inserted,
        "vendors": VENDORS,
        "file_read_and_checked_seconds": round(staged[0] - began, 2),
        "committed_seconds": round(committed - staged[0], 2),
        "live_after_commit_seconds": round(live - committed, 2),
        "file_to_live_seconds": round(live - began, 2),
        "cpu_seconds_to_commit": round(used[1] - used[0], 2),
        "cpu_seconds_to_live": round(used[2] - used[1], 2),
        "refused": int(sum(found[2].sum() for found in during.values())),
        "before": {name: _micros(_between(found, 0, began)) for name, found in times.items()},
        "meanwhile": {name: _micros(found) for name, found in during.items()},
    }


def _postgres(servers: TemporaryServers) -> str:
    say("starting PostgreSQL")
    settings = PostgresServer(
        directory=servers.directory / "postgres", port=free_port(), password=SecretStr(password())
    )
    servers.start(postgres_server(settings))
    migrate_postgres(settings.connection)
    dsn = settings.connection.dsn.get_secret_value()
    make_agi_world(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE prices")
    return dsn


def _write_deck(path: Path, prices: int) -> list[str]:
    """The file; the codes that are in it and in the world before it."""
    rng = numpy.random.default_rng(3)
    codes = numpy.setdiff1d(rng.integers(10**6, 10**8, prices + prices // 10), [])[: prices - 1000].tolist()
    cents = rng.integers(1_000, 99_999, prices)
    short = list(range(100, 999))
    rows = [f"{code},0.0{price:05d}" for code, price in zip(short + codes, cents.tolist(), strict=False)]
    path.write_text("\n".join(["code,price", *rows, f"{_WAITED[0][:9]},0.00{_WAITED[1]:06d}", ""]))
    return [str(code) for code in short]


def _cpu_seconds(but: set[int]) -> float:
    """What loader, PostgreSQL and builder have used of the processors: the time it takes without other work."""
    own = psutil.Process()
    total = 0.0
    for process in [own, *own.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.pid not in but:
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


@contextlib.contextmanager
def _noting(staged: list[float]) -> Iterator[None]:
    """Notes when the loader has read and checked its file."""
    replace = loader._replace

    def noted(*arguments: Any) -> tuple[int, int]:
        staged.append(time.time())
        return replace(*arguments)

    loader._replace = noted
    try:
        yield
    finally:
        loader._replace = replace


class _Decider:
    """A process that decides all the time. Use as a context manager."""

    def __init__(self, told: dict[str, Any], times: Path) -> None:
        self._times = times
        self._told = {**told, "times": str(times)}

    def __enter__(self) -> "_Decider":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.p8_decider"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_HERE,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._told) + "\n")
        self._process.stdin.flush()
        self._line()  # ready
        return self

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def live(self) -> float:
        """When a decision used the new price. Raises TimeoutError."""
        return float(self._line().split()[1])

    def end(self) -> NDArray[Any]:
        """Its decisions: when, how many microseconds, whether refused."""
        assert self._process.stdin is not None
        self._process.stdin.write("end\n")
        self._process.stdin.flush()
        self._process.wait(60)
        found: NDArray[Any] = numpy.load(self._times)
        return found

    def _line(self) -> str:
        lines: list[str] = []
        assert self._process.stdout is not None
        reader = threading.Thread(target=lambda: lines.append(self._process.stdout.readline()), daemon=True)
        reader.start()
        reader.join(_LIVE_SECONDS)
        if not lines or not lines[0]:
            raise TimeoutError("the routing process said nothing")
        return lines[0]


def _between(found: NDArray[Any], start: float, end: float) -> NDArray[Any]:
    return found[:, (found[0] >= start) & (found[0] < end)]


def _micros(found: NDArray[Any]) -> dict[str, Any]:
    micros = found[1].tolist()
    return {
        "decisions": len(micros),
        "p50_us": round(percentile(micros, 0.5), 1),
        "p99_us": round(percentile(micros, 0.99), 1),
        "p9999_us": round(percentile(micros, 0.9999), 1),
        "max_us": round(max(micros)),
        "above_1_ms": sum(one > 1000 for one in micros),
    }
