"""P4: the rating core in one process: messages of `calls` in, messages of `rated-legs` out, no server.

Beside it, in the same run: the same messages only read and written again without being rated, and the naive way: json,
a dict a leg, Decimal.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from bench.figures import percentile, say
from bench.line_world import CUSTOMERS, VENDORS, Parties, make_calls
from schemas.events import CallEnded, LegEnded, encode_event
from schemas.frame import pack_frames, partition_of, unpack_frame
from schemas.journal import decode_line
from streams.folds.rating import rate_message
from streams.folds.reading import Origin, read_message
from streams.output import rated_messages

PARTITIONS = 8
NOW_MS = 1_795_608_000_000


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench P4")
    parser.add_argument("--legs", type=int, default=200_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--naive-legs", type=int, default=20_000)
    options = parser.parse_args(arguments)
    say(f"making {options.legs} legs")
    frames, legs = _frames(options.legs)
    few, naive_legs = _frames(options.naive_legs)
    ours, bare = [], []
    for _ in range(options.turns):
        ours.append(legs / _seconds(lambda: _rate(frames, legs)))
        bare.append(legs / _seconds(lambda: _read_and_write(frames)))
        say(f"{ours[-1]:.0f} legs/s, only read and written {bare[-1]:.0f}")
    naive = naive_legs / _seconds(lambda: _naive(few, naive_legs))
    per_second = percentile(ours, 0.5)
    return {
        "legs": legs,
        "messages": len(frames),
        "legs_per_second": round(per_second),
        "bare_legs_per_second": round(percentile(bare, 0.5)),
        "of_bare": round(per_second / percentile(bare, 0.5), 2),
        "naive_legs_per_second": round(naive),
        "times_naive": round(per_second / naive, 1),
    }


def _frames(legs: int) -> tuple[list[bytes], int]:
    """Messages as the agent makes them of its batches, every event of the calls in them."""
    parties = Parties(list(range(2001, 2001 + CUSTOMERS)), list(range(3001, 3001 + VENDORS)))
    frames: list[bytes] = []
    made = 0
    callers = make_calls(parties)
    while made < legs:
        batch: dict[int, list[bytes]] = {}
        for caller in itertools.islice(callers, 400):
            call = caller.lines(NOW_MS + made)
            made += call.legs
            partition = partition_of(call.call_id, PARTITIONS)
            for line in call.text.splitlines(keepends=True):
                if (event := decode_line(line)) is not None:
                    batch.setdefault(partition, []).append(encode_event(event))
        frames += [frame for raws in batch.values() for frame in pack_frames(raws)]
    return frames, made


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _rate(frames: list[bytes], legs: int) -> None:
    rated = 0
    for offset, frame in enumerate(frames):
        came = rate_message(frame, Origin("calls", 0, offset), NOW_MS)
        rated_messages(came.legs, PARTITIONS)
        rated += len(came.legs)
    assert rated == legs


def _read_and_write(frames: list[bytes]) -> None:
    for offset, frame in enumerate(frames):
        read = read_message(frame, Origin("calls", 0, offset), NOW_MS)
        pack_frames([encode_event(one.event) for one in read.good if isinstance(one.event, LegEnded | CallEnded)])


def _naive(frames: list[bytes], legs: int) -> None:
    rated = 0
    for frame in frames:
        out = []
        for raw in unpack_frame(frame):
            event = json.loads(bytes(raw))
            if event["type"] not in ("leg_ended", "call_ended"):
                continue
            facts = event["facts"]
            amount = Decimal(0)
            seconds = 0
            if event["answered_at_ms"] is not None:
                seconds = -(-event["duration_ms"] // 1000)
                amount = (Decimal(facts["price_e8"]).scaleb(-8) * seconds / 60).quantize(
                    Decimal("0.000001"), rounding=ROUND_HALF_UP
                )
            out.append({"leg": event, "amount": str(amount), "billed_seconds": seconds})
            rated += 1
        json.dumps(out)
    assert rated == legs
