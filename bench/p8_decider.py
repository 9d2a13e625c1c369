"""The routing process of P8: it decides without pause beside the snapshots that come, and notes how long each took.

Standard input: settings as JSON on one line, then a line when to end. Standard output: `ready`, then `live MS` when a
decision used the price that is waited for. It ends by writing all times to the file that it is told.
"""

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import structlog
import uvloop
from pydantic import SecretStr

from router.core import Request, World, decide
from router.server.holder import SnapshotHolder
from router.settings import SnapshotSettings
from runtime.connections import Postgres
from runtime.parent import end_with_parent

_PAUSE_SECONDS = 0.005
_EVERY = 16  # decisions between two pauses


async def _decide(told: dict[str, Any]) -> None:
    settings = SnapshotSettings(
        postgres=Postgres(dsn=SecretStr(told["dsn"])), directory=Path(told["directory"]), debounce_seconds=0.05
    )
    holder = SnapshotHolder(settings)
    watch = asyncio.create_task(holder.run() if told["follows"] else asyncio.sleep(1e9))
    while holder.current is None:
        await holder.look()
        await asyncio.sleep(0.05)
    requests = [Request(told["endpoint"], told["address"], number, "12125550123") for number in told["numbers"]]
    waited = Request(told["endpoint"], told["address"], told["waited"], "12125550123")
    seconds = settings.expected_call_seconds
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    at: list[float] = []
    micros: list[float] = []
    refused: list[bool] = []
    live = False
    gc.collect()
    _say("ready")
    while not ended.done():
        for number in range(_EVERY):
            snapshot = holder.current
            request = requests[len(at) % len(requests)] if number else waited
            began = time.perf_counter_ns()
            decision = decide(World(snapshot), request, 0, expected_seconds=seconds)
            micros.append((time.perf_counter_ns() - began) / 1000)
            at.append(time.time())
            refused.append(not decision.routes and bool(number))
            if not live and not number and any(r.price.price_e8 == told["price_e8"] for r in decision.routes):
                live = True
                _say(f"live {time.time()}")
        await asyncio.sleep(_PAUSE_SECONDS)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    numpy.save(told["times"], numpy.array([at, micros, refused], dtype=numpy.float64))


def _say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    end_with_parent(os.getppid())
    # Standard output is for what is told.
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
    sys.setswitchinterval(0.0005)  # as the router
    uvloop.run(_decide(json.loads(sys.stdin.readline())))
