"""The calls that are placed through the real Asterisk: every kind of ending, all at once, by name.

`place` returns what SIPp saw and what the journal says of each; tests look at them, and the contract test places the
same ones in the simulator.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ami import Ami
from real_line import CALLER, ONE_AT_A_TIME, PENNILESS, PREFIX, RICH, SHORT_CALLS, STRANGER, Line
from sip_call import Call, Placed

from schemas.refusals import CUT_CAUSE
from simulator.sipp import scenarios
from simulator.sipp.scenarios import EARLY_MEDIA_ENDING, VENDOR_ENDS_ENDING

TALK_MS: Final = 1_400
CANCEL_AFTER_MS: Final = 700  # from the first ringing
_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Wanted:
    """A call: what is dialled, from where, by which scenario of SIPp."""

    callee: str
    scenario: str
    host: str = RICH


@dataclass(frozen=True)
class Seen:
    """A call from both ends: SIPp's and the journal's."""

    placed: Placed
    call: Call

    @property
    def finals(self) -> list[int]:
        """The final SIP codes that the caller heard, in order: to whatever it had sent."""
        return [int(line[8:11]) for line in self.placed.received if line.startswith("SIP/2.0 ") and line[8] != "1"]

    @property
    def code(self) -> int:
        """The first of them."""
        return self.finals[0]

    @property
    def progress(self) -> list[int]:
        """The provisional codes after 100, in order."""
        codes = [int(line[8:11]) for line in self.placed.received if line.startswith("SIP/2.0 1")]
        return [code for code in codes if code != 100]


def _talks() -> str:
    return scenarios.caller_talks(CALLER, TALK_MS)


def _refused(code: int) -> str:
    return scenarios.caller_refused(CALLER, code)


CALLS: Final[dict[str, Wanted]] = {
    "answered": Wanted("999210000010", _talks()),
    "second vendor": Wanted("999220000010", _talks()),
    "busy": Wanted("999230000010", _refused(486)),
    "unreachable": Wanted("999240000010", _refused(503)),
    "unreachable, then answered": Wanted("999250000010", _talks()),
    "all fail": Wanted("999260000010", _refused(503)),
    "cancelled": Wanted("999270000010", scenarios.caller_gives_up(CALLER, CANCEL_AFTER_MS)),
    "never answered": Wanted("999270000020", _refused(480)),
    "no route": Wanted("999290000010", _refused(404)),
    "not billable": Wanted("999300000010", _refused(503)),
    "no balance": Wanted("999210000010", _refused(403), PENNILESS),
    "one at a time": Wanted("999210000010", scenarios.caller_talks(CALLER, TALK_MS + 1_000), ONE_AT_A_TIME),
    "limit": Wanted("999210000010", _refused(503), ONE_AT_A_TIME),
    "cut": Wanted("999210000010", scenarios.caller_listens(CALLER), SHORT_CALLS),
    "asks for a transfer": Wanted("999210000040", scenarios.caller_refers(CALLER, TALK_MS)),
    "hung up": Wanted("999210000020", scenarios.caller_listens(CALLER)),
    "money ends": Wanted("999210000030", scenarios.caller_listens(CALLER)),
    "vendor hangs up": Wanted(f"99921000001{VENDOR_ENDS_ENDING}", scenarios.caller_listens(CALLER)),
    "early media": Wanted(f"99921000001{EARLY_MEDIA_ENDING}", _talks()),
    "stranger": Wanted("999210000010", _refused(403), STRANGER),
    "international prefix": Wanted("00999210000010", _talks()),
    "tech prefix": Wanted(f"{PREFIX}999210000010", _talks()),
    "too short": Wanted("99", _refused(484)),
    "too many hops": Wanted("999210000010", _refused(483).replace("Max-Forwards: 70", "Max-Forwards: 0", 1)),
}
HUNG_UP: Final = {"hung up": 16, "money ends": CUT_CAUSE}  # by the manager, with this cause
# What must never become a dial string, a journal field or a line end, whoever dials it.
HOSTILE_NUMBERS: Final = (
    "999210000&PJSIP/999210000@v-sipp-vendor-2",
    "999210000@v-sipp-vendor-2,60,g",
    "99921${SHELL(touch /tmp/x)}",
    '99921")|facts=1;r;x|last=',
    "99921)}${CALL_ID}",
    "h",
    "s",
    "%00%2F",
    "ａ９９９２１",
)
# What no line of an AGI session can carry, and what the CDR keeps of it. Surrogates are bytes that are no UTF-8.
UNCARRIED_NUMBERS: Final[dict[str, str]] = {
    text: text
    for text in (
        "99921\r\nX-Evil: 1",
        "99921\nagi_arg_4: 999210000010",
        "99921\n\n200 result=0",
        "99921\nagi_network_script: ping",
        "999210000010\n",
        "999210000010\r",
        "99921\t0000010",
        "\x1b999210000010\x7f",
        "99921\x85\u2028",
    )
} | {
    "99921\udcff\udcc3": "99921\ufffd\ufffd",
    "999210000010\0": "999210000010…",
    "999210000010\0" + "\t" * 300: "999210000010…",
    "\x00999210000010": "s…",
    "9" * 200: "9" * 79 + "…",
    "999210000010;" + "x" * 80 + "\n": "999210000010;" + "x" * 66 + "…",
}
HOSTILE_CALLERS: Final[dict[str, str]] = {
    text: text
    for text in (
        '1"|src=callee|facts=',
        "1,2)}${EPOCH}",
        "a\\,b&c",
        "<sip:x>\"'`id`",
        "12125550123\n",
        "1\r\n\r\nEvent: Hangup\r\nAccountCode: ast1-1-1.1\r\n\r\n",
        "\t12125550123\x07",
    )
} | {"12\udcff\udc80": "12\ufffd\ufffd", "%00": "%00", "12125550123\x004": "12125550123…", "1" * 100: "1" * 79 + "…"}
# Caller and number together are a whole AGI header, with its end, in which another customer calls another number.
FORGED_CALLER: Final = "1\nagi_arg_1: a-1795609861-1795609861.1\nagi_arg_2: c\nagi_arg_3: 127.0.0.12"
FORGED_NUMBER: Final = "1\nagi_arg_4: 999210000010\nagi_arg_5: 1\nagi_arg_6: 1795609861\n\n"
_AFTER: Final = {"limit": "one at a time"}  # placed when that one has been answered


def escaped(text: str) -> str:
    """A text as it stands in a SIP URI."""
    return "".join(f"%{byte:02X}" for byte in text.encode(errors="surrogateescape"))


def place(line: Line) -> dict[str, Seen]:
    """Place all of them; returns when each has ended and is in the journal."""
    placed: dict[str, Placed] = {}
    for number, text in enumerate(HOSTILE_NUMBERS):
        placed[f"hostile number {number}"] = line.call(f"hostile-{number}", escaped(text), _refused(484))
    for number, text in enumerate(UNCARRIED_NUMBERS):
        placed[f"uncarried number {number}"] = line.call(f"uncarried-{number}", escaped(text), _refused(484))
    prefixed = line.call("uncarried-prefixed", escaped(f"{PREFIX}\n"), _refused(484))
    forged = scenarios.caller_refused(escaped(FORGED_CALLER), 484)
    placed |= {"uncarried, prefixed": prefixed, "forged": line.call("forged", escaped(FORGED_NUMBER), forged)}
    for number, text in enumerate(HOSTILE_CALLERS):
        scenario = scenarios.caller_talks(escaped(text), 200)
        placed[f"hostile caller {number}"] = line.call(f"caller-{number}", "999210000010", scenario)
    for one in placed.values():
        one.wait()  # what follows is timed, and SIPp's starts take the processor
    # Last are those that the manager hangs up: they talk for as long as it takes to place what comes after them.
    for name, wanted in CALLS.items():
        if name in _AFTER:
            until(lambda other=_AFTER[name]: "SIP/2.0 200 OK" in placed[other].received, f"{_AFTER[name]} is answered")  # type: ignore[misc]
        placed[name] = line.call(_file(name), wanted.callee, wanted.scenario, wanted.host)
    for name in HUNG_UP:
        until(lambda name=name: "SIP/2.0 200 OK" in placed[name].received, f"{name} is answered")  # type: ignore[misc]
    time.sleep(TALK_MS / 1000)
    with Ami(line.ami_port) as ami:
        for name, cause in HUNG_UP.items():
            (channel,) = ami.channels(CALLS[name].callee)
            (answer,) = ami.ask(Action="Hangup", Channel=channel, Cause=str(cause))
            assert answer["Response"] == "Success", answer
    for one in placed.values():
        one.wait()
    calls = line.calls_of([one.address for one in placed.values()])
    return {name: Seen(one, calls[one.address]) for name, one in placed.items()}


def place_with_a_dead_router(line: Line) -> dict[str, Seen]:
    """A call that was answered before the router was killed, and one that came after. The router is up again then."""
    lasting = line.call("lasting", "999210000030", _talks())
    until(lambda: "SIP/2.0 200 OK" in lasting.received, "a call is answered")
    hunting = line.call("hunting", "999270000030", scenarios.caller_gives_up(CALLER, 1_500))
    until(lambda: "SIP/2.0 183 Session Progress" in hunting.received, "a call rings")
    line.kill_router()
    dead = line.call("dead", "999210000030", _refused(503))
    placed = {"lasting": lasting, "ringing": hunting, "router dead": dead}
    for one in placed.values():
        one.wait()
    line.start_router()
    line.await_router()
    calls = line.calls_of([one.address for one in placed.values()])
    return {name: Seen(one, calls[one.address]) for name, one in placed.items()}


def until(what: Callable[[], bool], text: str) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + _SECONDS
    while not what():
        assert time.monotonic() < deadline, f"waited for: {text}"
        time.sleep(0.05)


def _file(name: str) -> str:
    return name.replace(" ", "-").replace(",", "")
