"""P3: what our line adds to the set-up of a call on the real Asterisk, and how many calls a second it takes.

The product runs as a user starts it; SIPp calls through it, and through an extension of the same Asterisk that does
nothing but Dial the same vendor, who answers at once. In turns; set-up is INVITE to 200 of the caller's leg, as packets
on loopback show it. The rate rises until a thousandth of the calls fails.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.figures import percentile, say
from bench.soak import queues
from bench.soak.calls import KINDS, Call, code_of
from bench.soak.capture import Capture, why_not
from bench.soak.players import Players
from bench.soak.product import Product
from bench.soak.wire import WireLeg, legs_of
from configuration.asterisk.fetch import Installation, installation
from streamco.embedded.settings import user_cache_directory

STEPS: Final = (10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200)
MAX_FAILED: Final = 0.001
_VENDOR: Final = "at-once"
_TALK_MS: Final = 200
_PLAIN: Final = "000"  # before a number: the extension that only dials
_KINDS: Final = ("ours", "plain")
_READY_SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 4.0


class Step(NamedTuple):
    """Calls placed at one rate."""

    placed: int
    per_second: float
    failed: int
    setup_ms: list[float]

    def kept_up(self, asked: float) -> bool:
        """Whether it is as fast as asked, and hardly any has failed."""
        return self.failed <= MAX_FAILED * self.placed and self.per_second >= 0.95 * asked


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench P3")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rate", type=float, default=10.0, help="calls a second while set-up is measured")
    parser.add_argument("--calls", type=int, default=100, help="of each turn")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each rate")
    parser.add_argument("--most", type=float, default=STEPS[-1], help="calls a second that are tried at most")
    options = parser.parse_args(arguments)
    if (reason := why_not()) is not None:
        raise RuntimeError(reason)
    programs = installation(user_cache_directory(), say)
    with tempfile.TemporaryDirectory(prefix="p3-") as home:
        product = Product(Path(home))
        playground = product.home / "sipp"
        playground.mkdir()
        with Capture(product.node[1]) as capture, Players(programs, playground, product.node) as players:
            players.vendor(_VENDOR, product.vendors[_VENDOR])
            try:
                product.start()
                line = _Line(product, players, capture)
                _make_plain(programs, product)
                line.warm_up()
                setups = _set_up(line, options)
                highest = _climb(line, options)
                shown = product.console(programs, queues.SHOW)
            finally:
                product.stop()
    found = {f"{kind}_{name}_ms": round(percentile(setups[kind], share), 2)
             for kind in _KINDS for name, share in (("p50", 0.5), ("p99", 0.99))}  # fmt: skip
    return {
        "added_p50_ms": round(found["ours_p50_ms"] - found["plain_p50_ms"], 2),
        "calls_per_second": highest["ours"],
        "plain_calls_per_second": highest["plain"],
        "calls": {kind: len(setups[kind]) for kind in _KINDS},
        **queues.figures(shown),
        **found,
    }


class _Line:
    """Places calls of both kinds, each from an address of its own."""

    def __init__(self, product: Product, players: Players, capture: Capture) -> None:
        self._product = product
        self._players = players
        self._capture = capture
        self._at = 0
        self._code = code_of(next(kind for kind in KINDS if kind.vendors == (_VENDOR,)))

    def place(self, kind: str, count: int, per_second: float) -> Step:
        """So many calls of a kind at a rate, and what became of them."""
        calls = [self._call(kind) for _ in range(count)]
        began_us = time.time_ns() // 1_000
        self._players.callers("talks", calls, per_second, self._product.callers["talks"]).wait()
        numbers = {call.number for call in calls}
        legs = [leg for leg in self._legs() if leg.number in numbers and leg.invited_us >= began_us]
        times = sorted(leg.invited_us for leg in legs)
        setup_ms = [(leg.answered_us - leg.invited_us) / 1000 for leg in legs if leg.answered_us is not None]
        return Step(
            placed=count,
            per_second=(len(times) - 1) / max(1e-6, (times[-1] - times[0]) / 1e6) if len(times) > 1 else 0.0,
            failed=count - len(setup_ms),
            setup_ms=setup_ms,
        )

    def warm_up(self) -> None:
        """Until one call of each kind is answered."""
        for kind in _KINDS:
            deadline = time.monotonic() + _READY_SECONDS
            while self.place(kind, 1, 1.0).failed:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"no call {kind} is answered")

    def _call(self, kind: str) -> Call:
        self._at += 1
        number = f"{self._code}{self._at:06d}"
        return Call(f"{_PLAIN}{number}" if kind == "plain" else number, KINDS[0], _TALK_MS)

    def _legs(self) -> list[WireLeg]:
        return [leg for leg in legs_of(self._capture.messages(), self._product.node).values() if leg.side == "customer"]


def _make_plain(programs: Installation, product: Product) -> None:
    """An extension beside ours that dials and does nothing else. CALLEE keeps the context's `h` from placing a call."""
    dial = f"Dial(PJSIP/${{EXTEN:{len(_PLAIN)}}}@v-seller-{_VENDOR})"
    for priority, application in ((1, "Set(CALLEE=plain)"), (2, dial)):
        name, _, data = application.removesuffix(")").partition("(")
        command = f"dialplan add extension _{_PLAIN}X.,{priority},{name},{data} into from-customers"
        say(f"{command}: {product.console(programs, command).strip()}")


def _set_up(line: _Line, options: argparse.Namespace) -> dict[str, list[float]]:
    """Set-up times of both kinds, in turns; the first turn warms up."""
    found: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    for turn in range(options.turns + 1):
        for kind in _KINDS:
            step = line.place(kind, options.calls, options.rate)
            p50_ms = percentile(step.setup_ms, 0.5) if step.setup_ms else float("nan")
            say(f"{kind}: p50 {p50_ms:.1f} ms, {step.failed} of {step.placed} failed")
            if turn:
                found[kind] += step.setup_ms
    return found


def _climb(line: _Line, options: argparse.Namespace) -> dict[str, float]:
    """The highest rate of each kind that was kept up."""
    highest = dict.fromkeys(_KINDS, 0.0)
    climbing = list(_KINDS)
    for rate in STEPS:
        for kind in [kind for kind in climbing if rate <= options.most]:
            step = line.place(kind, round(rate * options.seconds), rate)
            say(f"{kind} at {rate}: {step.per_second:.1f} a second, {step.failed} of {step.placed} failed")
            if step.kept_up(rate):
                highest[kind] = round(step.per_second, 1)
            else:
                climbing.remove(kind)
            time.sleep(_SETTLE_SECONDS)
    return highest


__all__ = ["Step", "measure"]
