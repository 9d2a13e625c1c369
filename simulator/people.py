"""The people of a call, pure and seeded: number dialled, caller id and patience, what the called party does."""

import math
import random
from typing import Final

from simulator.plans import CalleePlan

_ODD_CALLERS: Final = ("anonymous", "", "Restricted", "unknown", "o'neil|x=1,y", '"A" <1>', "+", "asterisk")
_TALK_SIGMA: Final = 1.1  # of the lognormal: most calls are short, a few very long
_LONGEST_TALK_MS: Final = 14_400_000
_OUTCOMES: Final = (("answer", 66), ("no answer", 14), ("busy", 9), ("declined", 3), ("no such number", 4), ("off", 4))


def draw_number(rng: random.Random, code: str) -> str:
    """A whole number, 11 to 15 digits, that begins with a code."""
    length = min(15, max(len(code) + 3, rng.choice((11, 11, 12, 12, 12, 13))))
    return code + "".join(rng.choices("0123456789", k=length - len(code)))


def draw_caller(rng: random.Random, home_code: str) -> str:
    """A caller's number as the INVITE says it, mostly of the originator's home; now and then something odd."""
    if rng.random() < 0.04:
        return rng.choice(_ODD_CALLERS)
    return rng.choice(("", "", "+")) + draw_number(rng, home_code[:4])


def draw_patience_ms(rng: random.Random) -> int:
    """How long a caller waits for an answer."""
    if rng.random() < 0.04:
        return rng.randint(100, 5_000)
    return int(min(180_000, max(6_000, rng.lognormvariate(math.log(28_000), 0.45))))


def draw_callee_plan(rng: random.Random, talk_seconds: float) -> CalleePlan:
    """What the called party does when a vendor reaches it; `talk_seconds` is the mean of an answered call."""
    outcome = rng.choices([name for name, _ in _OUTCOMES], [weight for _, weight in _OUTCOMES])[0]
    if outcome == "answer":
        rings = rng.random() < 0.97
        wait_ms = int(min(45_000, max(300, rng.lognormvariate(math.log(5_000), 0.6)))) if rings else 0
        mean = math.log(talk_seconds) - _TALK_SIGMA**2 / 2
        talk_ms = int(min(_LONGEST_TALK_MS, max(200, rng.lognormvariate(mean, _TALK_SIGMA) * 1_000)))
        return CalleePlan(True, rings, wait_ms, 200, talk_ms, "caller" if rng.random() < 0.55 else "callee")
    if outcome == "no answer":
        return CalleePlan(False, True, rng.randint(45_000, 90_000), 480, 0, "callee")
    if outcome == "busy":
        return CalleePlan(False, False, rng.randint(0, 400), 486, 0, "callee")
    if outcome == "declined":
        return CalleePlan(False, True, rng.randint(1_500, 9_000), 603, 0, "callee")
    if outcome == "no such number":
        return CalleePlan(False, False, rng.randint(0, 300), 404, 0, "callee")
    return CalleePlan(False, False, rng.randint(500, 3_500), 480, 0, "callee")
