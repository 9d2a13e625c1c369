"""Calls through the real Asterisk with hunts of every kind, each from variables that a scripted router says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from real_calls import Seen
from real_line import CALLER, Line
from scripted_router import ScriptedRouter, facts, mset

from simulator.plans import LegPlan
from simulator.sipp import scenarios
from simulator.sipp.scenarios import ANSWER_MS

_AT_ONCE: Final = 6
ANY_END: Final = scenarios.callers_of_all_kinds(50, 60).replace("[field0]", "[service]").replace("[field1]", CALLER)
GIVES_UP_MS: Final = 300  # behind the first sign of life
GIVES_UP: Final = scenarios.caller_gives_up(CALLER, GIVES_UP_MS)
LISTENS: Final = scenarios.caller_listens(CALLER)
PDD_SECONDS: Final = 1
SETUP_MS: Final = 2_000
LONG_RULES: Final = "".join(f"-{code}-c{code % 100 + 20}" for code in range(600, 699)) + "-503-s17"


@dataclass(frozen=True)
class Hunt:
    """`routes` are vendor:number in their order; a vendor is a number of the seeded world's or a name of `_EXTRA`."""

    routes: tuple[str, ...]
    variables: tuple[str, ...] = ()
    caller: str = ANY_END  # what the caller does


ANSWERS: Final = "2:1"  # vendor 2 answers
_PDD: Final = f"ROUTE_1_PDD={PDD_SECONDS}"
HUNTS: Final[dict[str, Hunt]] = {
    "plain": Hunt(("3:503", ANSWERS)),
    "silent within PDD": Hunt(("silent:1", ANSWERS), (_PDD,)),
    "silent, last": Hunt(("silent:1",), (_PDD,)),
    "rings within PDD": Hunt(("5:1", ANSWERS), (_PDD, "ROUTE_1_TIMEOUT=2")),
    "answers without ringing": Hunt(("quick:1",), (_PDD,)),
    "answers without ringing, too late": Hunt(("slow:1", ANSWERS), (_PDD,)),
    "bare 183": Hunt(("bare:1",), (_PDD,)),
    "silent, no PDD": Hunt(("silent:1",), ("ROUTE_1_TIMEOUT=1",)),
    "set-up over, ringing": Hunt(("5:1", ANSWERS), (f"SETUP_MS={SETUP_MS}",)),
    "set-up over, silent": Hunt(("silent:1", ANSWERS), (f"SETUP_MS={SETUP_MS}",)),
    "302": Hunt(("redirects:1", ANSWERS)),
    "302, last": Hunt(("redirects:1",)),
    "302 without user": Hunt(("redirects-bare:1", ANSWERS)),
    "302, stop and map": Hunt(("redirects:1", ANSWERS), ("ROUTE_1_RULES=-302-s22",)),
    "huntstop": Hunt(("3:503", ANSWERS), ("ROUTE_1_HUNTSTOP=1",)),
    "huntstop over continue": Hunt(("3:486", ANSWERS), ("ROUTE_1_HUNTSTOP=1", "ROUTE_1_RULES=-17-c21")),
    "continue": Hunt(("3:486", ANSWERS), ("ROUTE_1_RULES=-17-c",)),
    "stop": Hunt(("3:503", ANSWERS), ("ROUTE_1_RULES=-34-s",)),
    "stop and map": Hunt(("3:503", ANSWERS), ("ROUTE_1_RULES=-503-s17",)),
    "continue and map": Hunt(("3:503",), ("ROUTE_1_RULES=-503-c22",)),
    "continue and map, and a leg follows": Hunt(("3:503", "3:505"), ("ROUTE_1_RULES=-503-c22",)),
    "vendors' loop": Hunt(("3:483", ANSWERS)),
    "rings out, then a loop": Hunt(("5:1", "3:483"), ("ROUTE_1_TIMEOUT=1",)),
    "rule for no answer, and a loop": Hunt(("3:483", ANSWERS), ("ROUTE_1_RULES=-19-s17",)),
    "bad request": Hunt(("3:400", ANSWERS)),
    "busy, continue, then a bad request": Hunt(("3:486", "3:400"), ("ROUTE_1_RULES=-17-c",)),
    "ended without a CANCEL": Hunt(("3:487", ANSWERS)),
    "ended without a CANCEL, last": Hunt(("3:404", "3:487")),
    "rule for the unknown cause": Hunt(("3:487", ANSWERS), ("CALL_RULES=-127-s19",)),
    "map to our account's cause": Hunt(("3:503",), ("ROUTE_1_RULES=-34-c21",)),
    "SIP code before cause": Hunt(("3:486", ANSWERS), ("ROUTE_1_RULES=-17-s21-486-c",)),
    "vendor before customer": Hunt(("3:486", ANSWERS), ("ROUTE_1_RULES=-17-c", "CALL_RULES=-486-s21")),
    "vendor's first only": Hunt(("3:503", "3:503", ANSWERS), ("ROUTE_1_RULES=-34-c", "CALL_RULES=-34-s22")),
    "customer before default": Hunt(("3:486", ANSWERS), ("CALL_RULES=-17-c",)),
    "customer maps": Hunt(("3:503",), ("CALL_RULES=-34-s21",)),
    "rule for another code": Hunt(("3:503", ANSWERS), ("ROUTE_1_RULES=-50-s-3-s", "CALL_RULES=-4-s34-s1-s")),
    "a hundred rules": Hunt(("3:503", ANSWERS), (f"ROUTE_1_RULES={LONG_RULES}",)),
    "stop after no answer": Hunt(("5:1", ANSWERS), ("ROUTE_1_TIMEOUT=1", "ROUTE_1_RULES=-na-s17")),
    "stop after no progress": Hunt(("silent:1", ANSWERS), (_PDD, "CALL_RULES=-np-s")),
    "announcement, then ringing": Hunt(("announces:1", ANSWERS)),
    "vendor asks for a transfer": Hunt(("refers:1",)),
    "cancelled": Hunt(("5:1", ANSWERS), caller=GIVES_UP),
    "refused, then cancelled": Hunt(("3:503", "5:1", ANSWERS), caller=GIVES_UP),
    "busy, continue, then cancelled": Hunt(("3:486", "5:1", ANSWERS), ("ROUTE_1_RULES=-17-c",), caller=GIVES_UP),
    "a reason for a 503": Hunt(("reasons:1", ANSWERS)),
    "a reason for a 503, last": Hunt(("reasons:1",)),
    "a reason for a 503, and a leg follows": Hunt(("reasons:1", "3:400")),
    "a reason for the end": Hunt(("leaves:1",), caller=LISTENS),
    "an odd reason for the end": Hunt(("leaves-oddly:1",), caller=LISTENS),
    "own ring-back over an announcement": Hunt(("announces:1", ANSWERS), ("RINGBACK=r",)),
    "own ring-back, silent": Hunt(("silent:1", ANSWERS), ("RINGBACK=r", _PDD)),
}  # fmt: skip


@dataclass(frozen=True)
class Hunted:
    """What became of them; where the vendors are that were added, and every message of theirs, by name."""

    seen: dict[str, Seen]
    spots: dict[str, str]
    messages: dict[str, str]


# What the vendors do, as the simulator's are told it. Of number:code the code is what vendor 3 refuses with.
_PLANS: Final = {
    "2": LegPlan(ring_ms=100, final_ms=ANSWER_MS, talk_ms=60),
    "5": LegPlan(progress_ms=200),
    "silent": LegPlan(),
    "quick": LegPlan(final_ms=200, talk_ms=60),
    "slow": LegPlan(final_ms=2_500, talk_ms=60),
    "bare": LegPlan(progress_ms=1, final_ms=1_500, talk_ms=60),
    "announces": LegPlan(progress_ms=1, final_ms=300, sip_code=503),
    "redirects": LegPlan(final_ms=3, sip_code=302),
    "refers": LegPlan(ring_ms=1, final_ms=50, talk_ms=60),
    "reasons": LegPlan(final_ms=3, sip_code=503),
}


def plan(route: str) -> LegPlan:
    """What the vendor of a route does."""
    vendor, _, number = route.partition(":")
    return LegPlan(final_ms=3, sip_code=int(number)) if vendor == "3" else _PLANS[vendor]


def variables(hunt: Hunt, dial: Callable[[str], str]) -> list[str]:
    """NAME=value of what a router says for a hunt, ROUTES last."""
    pairs = [f"CALL_FACTS={facts('receivable')}", "REASON=", "STOP_CAUSES=17-19-22-28", "MAX_MS=5000"]
    for number, route in enumerate(hunt.routes, 1):
        pairs += [f"ROUTE_{number}_DIAL={dial(route)}", f"ROUTE_{number}_TIMEOUT=5"]
        pairs.append(f"ROUTE_{number}_FACTS={facts('payable')}")
    return [*pairs, "DECISION=ALLOW", *hunt.variables, f"ROUTES={len(hunt.routes)}"]


def place_hunts(line: Line) -> Hunted:
    """Place them all on a line whose router is away; returns when each is in the journal."""
    spots = _start_vendors(line)
    numbers = {f"7{at:03d}": name for at, name in enumerate(HUNTS)}

    def answer(header: dict[str, str], session: Any) -> None:
        mset(session, *variables(HUNTS[numbers[header["agi_arg_4"]]], lambda route: dial(route, spots)))

    router = ScriptedRouter(line.router_port, answer)
    placed = {}
    try:
        names = list(numbers.items())
        for first in range(0, len(names), _AT_ONCE):
            batch = {
                name: line.call(f"hunt-{number}", number, HUNTS[name].caller)
                for number, name in names[first:][:_AT_ONCE]
            }
            for one in batch.values():
                one.wait()
            placed |= batch
        calls = line.calls_of([one.address for one in placed.values()])
    finally:
        router.close()
    seen = {name: Seen(one, calls[one.address]) for name, one in placed.items()}
    paths = {name: line.directory / f"hunt-{name}.whole" for name in spots}
    return Hunted(seen, spots, {name: path.read_text(errors="replace") for name, path in paths.items()})


def dial(route: str, spots: dict[str, str]) -> str:
    """What Dial is told for a route."""
    vendor, _, number = route.partition(":")
    if vendor in spots:  # any endpoint of the world may be given another address
        return f"PJSIP/v-sipp-vendor-2/sip:{number}@{spots[vendor]}"
    return f"PJSIP/{number}@v-sipp-vendor-{vendor}"


def _start_vendors(line: Line) -> dict[str, str]:
    """More vendors than the seeded world has; where each is."""
    spots: dict[str, str] = {}

    def start(name: str, text: str) -> None:
        spots[name] = line.vendor(f"hunt-{name}", text, f"127.0.0.{31 + len(spots)}")

    start("trap", scenarios.vendor_answers())
    start("silent", scenarios.vendor_is_silent())
    start("announces", scenarios.vendor_plays_and_refuses(503, "Service Unavailable", 300))
    start("quick", scenarios.vendor_answers_after(200))
    start("slow", scenarios.vendor_answers_after(2_500))
    start("bare", scenarios.vendor_answers_after(1_500, "183 Session Progress"))
    start("rings", scenarios.vendor_answers_after(4_000, "180 Ringing"))
    start("reasons", scenarios.vendor_refuses(503, "Service Unavailable", 17))
    start("leaves", scenarios.vendor_hangs_up_at_once(300, reason='Q.850;cause=27;text="x|src=us|${EPOCH}"'))
    start("leaves-oddly", scenarios.vendor_hangs_up_at_once(300, reason="Q.850;cause=-1|facts=;text=\\"))
    start("refers", scenarios.vendor_refers(f"sip:999210000@{spots['trap']}"))
    start("redirects", scenarios.vendor_redirects(f"sip:999210000@{spots['trap']}"))
    start("redirects-bare", scenarios.vendor_redirects(f"sip:{spots['trap']}"))
    return spots
