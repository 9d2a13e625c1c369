"""A fake Asterisk that only asks: whole FastAGI sessions, as fast as they are answered or at a given rate.

A process of its own (`python -m bench.agi_client`, orders as JSON lines on standard input), so that it takes no time
from the server that is measured.
"""

import asyncio
import itertools
import json
import re
import sys
import time
from collections import Counter
from typing import Any, Final

import uvloop

from bench.agi_fuzz import fuzz
from bench.agi_world import CUSTOMERS, SECRET
from schemas.agi_digest import node_key_text, read_node_key, script_with_digest

_NUMBERS: Final = itertools.count(1)
_OK: Final = b"200 result=0\n"
_EPOCH: Final = int(time.time())
_NODE: Final = "sim1"
_KEY: Final = read_node_key(node_key_text(SECRET, _NODE))


class Session(asyncio.Protocol):
    """One call: header out, every command answered, until the server closes."""

    def __init__(self, done: asyncio.Future[bytes]) -> None:
        self._done = done
        self._received = bytearray()
        self._answered = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(_header(next(_NUMBERS)))

    def data_received(self, data: bytes) -> None:
        self._received += data
        lines = self._received.count(b"\n")
        if self._transport is not None and lines > self._answered:
            self._transport.write(_OK * (lines - self._answered))
            self._answered = lines

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(bytes(self._received))


def _header(number: int) -> bytes:
    customer = number % CUSTOMERS + 1
    now = time.time()
    arguments = (
        f"{_NODE}-{_EPOCH}-{int(now)}.{number % 10**9}",
        f"c-customer-{customer}",
        f"127.1.0.{customer}%3A5060",
        f"{10 + number % 89}7700900{number % 1000:03d}",
        "12125550123",
        f"{now:.3f}",
    )
    script = script_with_digest(_KEY, "route", arguments[0], arguments[5])
    lines = ["agi_network: yes", f"agi_network_script: {script}", "agi_request: agi://127.0.0.1/route"]
    lines += ["agi_enhanced: 0.0"]
    lines += [f"agi_arg_{place}: {value}" for place, value in enumerate(arguments, start=1)]
    return ("\n".join(lines) + "\n\n").encode()


async def ask(port: int) -> tuple[float, bytes]:
    """One session: how long it took, in seconds, and what the server sent."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()
    began = time.perf_counter()
    await loop.create_connection(lambda: Session(done), "127.0.0.1", port)
    sent = await asyncio.wait_for(done, 10)
    return time.perf_counter() - began, sent


async def as_fast_as_answered(port: int, seconds: float, at_once: int) -> dict[str, Any]:
    """So many sessions open at any time."""
    until = time.perf_counter() + seconds
    times: list[float] = []
    allowed = 0

    async def one_after_the_other() -> None:
        nonlocal allowed
        while time.perf_counter() < until:
            took, sent = await ask(port)
            times.append(took)
            allowed += b"DECISION=ALLOW" in sent

    began = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return {"sessions": len(times), "seconds": time.perf_counter() - began, "allowed": allowed}


async def at_rate(port: int, seconds: float, rate: float) -> dict[str, Any]:
    """Sessions begun at a rate, whether those before are answered or not."""
    began = time.perf_counter()
    tasks = []
    for number in range(int(seconds * rate)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(port)))
    answers = await asyncio.gather(*tasks)
    allowed = sum(b"DECISION=ALLOW" in sent for _, sent in answers)
    return {"times": [took for took, _ in answers], "sessions": len(answers), "allowed": allowed}


async def beyond(port: int, seconds: float, rate: float) -> dict[str, Any]:
    """Sessions begun at a rate that is too much: the times of those allowed, and what became of all."""
    became: Counter[str] = Counter()
    times: list[float] = []

    async def one() -> None:
        try:
            took, sent = await ask(port)
        except (OSError, TimeoutError) as error:
            became[type(error).__name__] += 1
            return
        reason = re.search(rb"REASON=([A-Z ]*)", sent)
        became[reason[1].decode() or "ALLOW" if reason else "closed"] += 1
        if b"DECISION=ALLOW" in sent:
            times.append(took)

    began = time.perf_counter()
    tasks = []
    for number in range(int(seconds * rate)):
        if (wait := began + number / rate - time.perf_counter()) > 0 or number % 16 == 0:
            await asyncio.sleep(max(0.0, wait))
        tasks.append(asyncio.create_task(one()))
    offered_seconds = time.perf_counter() - began
    await asyncio.gather(*tasks)
    return {
        "offered_per_second": len(tasks) / offered_seconds,
        "allowed_per_second": len(times) / (time.perf_counter() - began),
        "times": times,
        "became": dict(became),
    }


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        name = order.pop("do")
        answer: dict[str, Any]
        if name == "one":
            answer = {"sent": (await ask(**order))[1].decode()}
        elif name == "fast":
            answer = await as_fast_as_answered(**order)
        elif name == "fuzz":
            answer = await fuzz(**order)
        elif name == "beyond":
            answer = await beyond(**order)
        else:
            answer = await at_rate(**order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(_serve())
