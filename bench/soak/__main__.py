"""The run, and its one line of JSON on standard output; what goes on meanwhile is told on standard error.

Exit code 0 only if every answered leg on the wire is one answered CDR and the other way round, on both sides (but for
answers that a CANCEL crossed: matching.py), no leg is billed by other seconds than the wire's, nothing is a dead
letter, nothing is held, and the audit is equal.
"""

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from bench.figures import say
from bench.soak import queues
from bench.soak.calls import CALLERS, TIMED, Call, code_of, kind_of, make_calls
from bench.soak.capture import Capture, why_not
from bench.soak.matching import SIDES, ClosedLeg, Matched, billed_otherwise, figures, match
from bench.soak.players import CutOff, Players
from bench.soak.product import MAX_CALL_SECONDS, Product, endpoints_cut_off
from bench.soak.queues import SHOW, manager_queue
from bench.soak.wire import Message, WireLeg, legs_of, max_up
from configuration.asterisk.fetch import Installation, installation
from streamco.embedded.settings import user_cache_directory

TIMED_MS: Final = (29_800, 30_200)
SLACK_MS: Final = 150  # a talk as near as this to a whole second may be billed by either side of it
_SHOWN: Final = 40
_WORST: Final = 8
_READY_SECONDS: Final = 60.0
_LAST_SECONDS: Final = MAX_CALL_SECONDS + 15.0
_AUDIT_SECONDS: Final = 90
_POLL_SECONDS: Final = 1.0


def main(arguments: list[str]) -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--cps", type=float, default=40.0, help="calls a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds of calls whose names contain this")
    parser.add_argument("--keep", action="store_true", help="leave the home even where all is well")
    options = parser.parse_args(arguments)
    structlog.configure(
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    if (reason := why_not()) is not None:
        sys.stderr.write(f"error: {reason}\n")
        return 2
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    found: dict[str, Any] = {"ok": False}
    try:
        calls = make_calls(options.calls, options.seed, TIMED_MS, max(4, options.calls // 50))
        calls = [call for call in calls if options.only in call.kind.name]
        found = soak(home, calls, options.cps) | {"seed": options.seed}
    finally:
        if found["ok"] and not options.keep:
            shutil.rmtree(home)
        else:
            say(f"what was left: {home}")
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["ok"] else 1


def soak(home: Path, calls: Sequence[Call], per_second: float) -> dict[str, Any]:
    """The figures of these calls."""
    programs = installation(user_cache_directory(), say)
    product = Product(home)
    playground = home / "sipp"
    playground.mkdir()
    with Capture(product.node[1]) as capture, Players(programs, playground, product.node) as players:
        for name, address in product.vendors.items():
            players.vendor(name, address)
        try:
            product.start()
            seen = _Seen(capture, product)
            _until(seen.are_vendors_known, _READY_SECONDS, "PJSIP to know every vendor")
            _warm_up(players, product, seen)
            load_before = os.getloadavg()[0]
            _place(players, product, calls, per_second)
            load = max(load_before, os.getloadavg()[0])
            _until(seen.is_over, _LAST_SECONDS, "the last calls to end", may_fail=True)
            return {
                "id": "SOAK", "calls": len(calls), "asked_calls_per_second": per_second,
                **_queues(product, programs, len(calls)),
                **_judge(product, seen, capture), "load_average": round(load, 1),
            }  # fmt: skip
        finally:
            product.stop()


class _Seen:
    """What the capture has seen so far."""

    def __init__(self, capture: Capture, product: Product) -> None:
        self._capture = capture
        self._product = product

    def legs(self) -> list[WireLeg]:
        """All legs."""
        return list(legs_of(self._capture.messages(), self._product.node).values())

    def are_vendors_known(self) -> bool:
        """Whether each has answered an OPTIONS."""
        messages = self._capture.messages()
        answered = {message.source for message in messages if (message.method, message.status) == ("OPTIONS", 200)}
        return set(self._product.vendors.values()) <= answered

    def is_over(self) -> bool:
        """Whether no leg is up, and no customer's being set up."""
        return all(
            leg.ended_us is not None if leg.answered_us is not None else leg.final or leg.side == "vendor"
            for leg in self.legs()
        )


def _until(what: Callable[[], bool], seconds: float, text: str, *, may_fail: bool = False) -> None:
    say(f"waiting for {text}")
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            say(f"waited {seconds:.0f} s for {text}")
            if may_fail:
                return
            raise RuntimeError(f"waited {seconds:.0f} s for {text}")
        time.sleep(_POLL_SECONDS)


def _warm_up(players: Players, product: Product, seen: _Seen) -> None:
    """Calls, one at a time, until one is answered: the routers know the world then."""
    call = Call(f"{code_of(TIMED)}999999", TIMED, 200)
    deadline = time.monotonic() + _READY_SECONDS
    while not any(leg.side == "customer" and leg.answered_us is not None for leg in seen.legs()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no call is answered: {seen.legs()[-3:]}")
        players.callers("talks", [call], 10, product.callers["talks"]).wait()


def _place(players: Players, product: Product, calls: Sequence[Call], per_second: float) -> None:
    """All calls, dealt to the callers' processes; returns when each has ended."""
    say(f"{len(calls)} calls, {per_second:g} a second")
    address, user, secret = product.ami
    with CutOff(address, user, secret, endpoints_cut_off()) as cut_off:
        placing = []
        for name in CALLERS:
            theirs = [call for call in calls if call.kind.caller == name]
            if theirs:
                rate = per_second * len(theirs) / len(calls)
                placing.append(players.callers(name, theirs, rate, product.callers[name]))
        while any(process.poll() is None for process in placing):
            time.sleep(_POLL_SECONDS)
            players.check()
        say(f"all callers have ended; {cut_off.hung_up} channels were hung up by us")


def _queues(product: Product, programs: Installation, calls: int) -> dict[str, Any]:
    """What went through Asterisk's queues; while one is above its mark Asterisk takes no new calls."""
    shown = product.console(programs, SHOW)
    return {"manager_messages_per_call": round(manager_queue(shown).processed / calls, 1), **queues.figures(shown)}


def _judge(product: Product, seen: _Seen, capture: Capture) -> dict[str, Any]:
    report = product.audit(_AUDIT_SECONDS)
    letters = product.dead_letters()
    holds = product.holds()
    wire, closed = seen.legs(), product.closed_legs()
    capture.close()
    _write_down(product.home, capture.messages(), closed)
    sides = [match(side, wire, closed) for side in SIDES]
    otherwise = [pair for side in sides for pair in billed_otherwise(side.pairs, SLACK_MS)]
    timed = [pair for side in sides for pair in side.pairs if kind_of(pair.wire.number) is TIMED]
    invited = [leg for leg in wire if leg.side == "customer"]
    ours = {leg.sip_call_id for leg in closed}
    for side in sides:
        _show(side)
    for pair in otherwise[:_SHOWN]:
        say(f"billed otherwise: {pair}")
    found = {
        **figures(sides),
        "billed_otherwise": len(otherwise),
        "timed_legs_billed_seconds": dict(sorted(Counter(pair.closed.billed_seconds for pair in timed).items())),
        "invites_of_customers": len(invited),
        "finals": dict(sorted(Counter(leg.final for leg in invited).items())),
        "finals_without_cdr": dict(sorted(Counter(leg.final for leg in invited if leg.call_id not in ours).items())),
        "calls_per_second": _per_second(invited),
        "max_calls_up": max_up(wire),
        "dead_letters": len(letters),
        "holds_left": holds,
        "audit_ok": report["ok"],
        "audit_differences": report["differences"][:5],
        "packets": len(capture.packets),
        "packets_dropped": capture.dropped,
    }
    found["ok"] = bool(
        all(side.ok for side in sides) and not otherwise and not letters and not holds and report["ok"]
        and not capture.dropped
    )  # fmt: skip
    return found


def _write_down(home: Path, messages: Sequence[Message], closed: Sequence[ClosedLeg]) -> None:
    """For whoever looks into a home that was left."""
    (home / "messages.json").write_text("".join(json.dumps(message) + "\n" for message in messages))
    (home / "closed_legs.json").write_text("".join(json.dumps(leg) + "\n" for leg in closed))


def _per_second(invited: Sequence[WireLeg]) -> float:
    """Of the middle half of the calls, by the wire."""
    at = sorted(leg.invited_us for leg in invited)
    first, last = len(at) // 4, len(at) * 3 // 4
    return round((last - first) / max(1e-6, (at[last] - at[first]) / 1e6), 1) if last > first else 0.0


def _show(side: Matched) -> None:
    """What does not match, by kind, on standard error."""
    say(f"{side.side}: {side.wire} answered on the wire, {side.closed} CDRs, {len(side.pairs)} matched")
    for leg in side.only_wire[:_SHOWN]:
        say(f"only on the wire: {kind_of(leg.number).name}: {leg}")
    for leg in side.crossed[:_SHOWN]:
        say(f"crossed by a CANCEL: {kind_of(leg.number).name}: {leg.talk_ms} ms on the wire, {leg.call_id}")
    for closed in side.only_closed[:_SHOWN]:
        say(f"only in CDRs: {closed}")
    for call_id in side.repeated[:_SHOWN]:
        say(f"more than one CDR: {call_id}")
    ended = [(abs(pair.difference_ms), pair) for pair in side.pairs if pair.difference_ms is not None]
    for _, pair in sorted(ended, key=lambda one: one[0])[-_WORST:]:
        say(f"difference {pair.difference_ms:.0f} ms: {kind_of(pair.wire.number).name}: {pair}")
    unended = [pair for pair in side.pairs if pair.difference_ms is None]
    for pair in unended[:_WORST]:
        say(f"no BYE: {kind_of(pair.wire.number).name}, {pair.closed}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
