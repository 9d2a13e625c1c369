"""Which calls: a kind of caller, and the vendors that are hunted for it; drawn by a seed. Pure.

A call's number names its kind, so that the product routes it to just these vendors: 4477, two digits of the kind, six
of the call, and a last digit by which `vendor_answers` plays early media or hangs up. Calls are dealt to SIPp's
processes by their caller's scenario.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from bench.soak import scenarios
from simulator.sipp import scenarios as common

CODE: Final = "4477"
_PLACES: Final = 6

VENDORS: Final[Mapping[str, Callable[[], str]]] = {
    "normal": common.vendor_answers,
    "at-once": scenarios.vendor_answers_without_ringing,
    "bye-behind-200": lambda: common.vendor_hangs_up_at_once(waits_for_ack=False),
    "bye-behind-ack": common.vendor_hangs_up_at_once,
    "bye-after-30": lambda: common.vendor_hangs_up_at_once(30),
    "bye-after-150": lambda: common.vendor_hangs_up_at_once(150),
    "bye-after-500": lambda: common.vendor_hangs_up_at_once(500),
    "no-sdp": common.vendor_answers_without_media,
    "out-of-order": lambda: common.vendor_refuses(503, "Service Unavailable", 34),
    "not-found": lambda: common.vendor_refuses(404, "Not Found", 1),
    "busy": lambda: common.vendor_refuses(486, "Busy Here", 17),
    "rings-and-refuses": lambda: scenarios.vendor_rings_and_refuses("502 Bad Gateway", 700),
    "plays-and-refuses": lambda: common.vendor_plays_and_refuses(500, "Server Internal Error", 400),
    "silent": common.vendor_is_silent,
    "crossing": lambda: common.vendor_answers_after(250, "180 Ringing"),
    "answers-the-cancel": scenarios.vendor_answers_the_cancel,
    "cut-off": common.vendor_answers,  # its channels are hung up by us
}
"""Scenario by vendor."""

CALLERS: Final[Mapping[str, Callable[[], str]]] = {
    "talks": scenarios.talks,
    "listens": scenarios.listens,
    "repeats": scenarios.repeats_everything,
    "cancels": scenarios.cancels,
    "never-acks": scenarios.never_acks,
    "never-hangs-up": scenarios.never_hangs_up,
    "other-codecs": scenarios.offers_other_codecs,
    "cut-off": scenarios.listens,  # its channels are hung up by us
}
"""Scenario by caller. Each is a process of SIPp with an address of its own."""


class Kind(NamedTuple):
    """`share`: how many of a hundred calls. `ms`: of the caller's field 2, from and to."""

    name: str
    share: int
    caller: str
    vendors: tuple[str, ...]
    ms: tuple[int, int] = (0, 0)


KINDS: Final = (
    Kind("talks", 19, "talks", ("normal",), (500, 3_000)),
    Kind("talks for some milliseconds", 10, "talks", ("normal",), (0, 500)),
    Kind("answered without ringing", 6, "talks", ("at-once",), (0, 1_500)),
    Kind("hunted", 8, "talks", ("out-of-order", "normal"), (200, 2_000)),
    Kind("hunted far", 4, "talks", ("not-found", "rings-and-refuses", "normal"), (200, 1_000)),
    Kind("vendor hangs up behind its 200", 6, "listens", ("bye-behind-200",)),
    Kind("vendor hangs up behind the ACK", 4, "listens", ("bye-behind-ack",)),
    Kind("vendor hangs up after 30 ms", 3, "listens", ("bye-after-30",)),
    Kind("vendor hangs up after 500 ms", 3, "listens", ("bye-after-500",)),
    Kind("both hang up", 6, "talks", ("bye-after-150",), (80, 220)),
    Kind("hunted, and the vendor hangs up", 3, "listens", ("out-of-order", "bye-behind-200")),
    Kind("200 without SDP", 3, "listens", ("no-sdp",)),
    Kind("busy", 3, "talks", ("busy",)),
    Kind("all fail", 2, "talks", ("plays-and-refuses", "out-of-order")),
    Kind("silent, then answered", 2, "talks", ("silent", "normal"), (200, 1_000)),
    Kind("cancelled around the answer", 6, "cancels", ("crossing",), (180, 340)),
    Kind("answered while it is cancelled", 2, "cancels", ("answers-the-cancel",), (60, 250)),
    Kind("everything twice", 4, "repeats", ("normal",), (100, 1_500)),
    Kind("no ACK", 2, "never-acks", ("normal",), (300, 2_500)),
    Kind("lost BYE", 1, "never-hangs-up", ("normal",)),
    Kind("other codecs", 1, "other-codecs", ("normal",)),
    Kind("hung up by us", 2, "cut-off", ("cut-off",)),
)
"""What is called, and how often."""
TIMED: Final = Kind("talks for a time near whole seconds", 0, "talks", ("normal",))


class Call(NamedTuple):
    """One call to be placed."""

    number: str
    kind: Kind
    ms: int


def code_of(kind: Kind) -> str:
    """The code that the vendors of a kind sell."""
    return f"{CODE}{(*KINDS, TIMED).index(kind):02d}"


def kind_of(number: str) -> Kind:
    """The kind of call that a number was dialled for."""
    return (*KINDS, TIMED)[int(number[len(CODE) : len(CODE) + 2])]


def make_calls(count: int, seed: int, timed_ms: Sequence[int] = (), timed: int = 0) -> list[Call]:
    """So many calls in the order in which they are placed; `timed` of them last as long as `timed_ms` say, in turns.

    Each kind comes by its share, at least once; the timed ones come in the first half, so that others are up with them.
    """
    rng = random.Random(seed)
    drawn = count - timed
    kinds = [kind for kind in KINDS for _ in range(max(1, round(drawn * kind.share / 100)))]
    rng.shuffle(kinds)
    kinds = kinds[:drawn] + rng.choices(KINDS, [kind.share for kind in KINDS], k=max(0, drawn - len(kinds)))
    calls = [(kind, rng.randint(*kind.ms)) for kind in kinds]
    for at in range(timed):
        calls.insert(rng.randrange(max(1, count // 2)), (TIMED, timed_ms[at % len(timed_ms)]))
    return [
        Call(f"{code_of(kind)}{at:0{_PLACES}d}{0 if kind is TIMED else at % 10}", kind, ms)
        for at, (kind, ms) in enumerate(calls)
    ]
