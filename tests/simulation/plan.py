"""A history as data, made from a seed: its calls, its faults, and what operators do. Shrinking drops elements of it.

Nothing random is left when it is carried out, and no element needs another, so a plan with some of them taken out is
carried out as well. Moments are milliseconds from the history's beginning.
"""

import random
from typing import Final, NamedTuple

from simulator.plans import LegPlan

LAST_CALL_MS: Final = 60_000
LAST_FAULT_MS: Final = 75_000
NODES: Final = 2
ADDRESSES: Final = ("127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.9.9")  # the last is nobody's
CALLEES: Final = ("447700900123", "33612345678", "12125550100", "99912345")
LATE_ACCOUNT: Final = 1013  # a vendor's, opened late: his legs are refused until then

Kind = str


class CallPlan(NamedTuple):
    """A call, and how the people and vendors of it behave."""

    at_ms: int
    node: int
    customer: int  # index of ADDRESSES
    callee: str
    legs: tuple[LegPlan, ...]
    patience_ms: int
    kind: Kind = "call"


class Step(NamedTuple):
    """A fault or an action: what, of whom, and its sizes. tests/simulation/faults.py says what each means."""

    at_ms: int
    kind: Kind
    target: str = ""
    a: int = 0
    b: int = 0
    text: str = ""


Element = CallPlan | Step


class Config(NamedTuple):
    """What stays the same through a history."""

    batch_messages: int
    batch_bytes: int
    frame_events: int
    workers: int
    balance_micros: int


class Plan(NamedTuple):
    """All of a history."""

    seed: int
    config: Config
    elements: tuple[Element, ...]


def make_plan(seed: int) -> Plan:
    """The plan of a seed."""
    dice = random.Random(seed)
    config = Config(
        batch_messages=dice.choice((1, 2, 3, 8, 50)),
        batch_bytes=dice.choice((400, 1_500, 6_000, 1 << 20)),
        frame_events=dice.choice((1, 2, 5, 500)),
        workers=dice.choice((1, 2, 2, 3)),
        balance_micros=dice.choice((40_000, 150_000, 400_000, 5_000_000)),
    )
    elements: list[Element] = [_call(dice) for _ in range(dice.randint(12, 36))]
    elements += [_fault(dice, config) for _ in range(dice.choice((2, 4, 7, 11, 16)))]
    elements += [step for _ in range(dice.choice((0, 1, 2))) for step in _cluster(dice, config)]
    elements += [_action(dice) for _ in range(dice.randint(0, 4))]
    elements += _vanishing(random.Random(f"vanish {seed}"))
    return Plan(seed, config, tuple(sorted(elements, key=lambda element: (element.at_ms, element.kind))))


def _call(dice: random.Random) -> CallPlan:
    legs = []
    for _ in range(3):
        ring_ms = dice.choice((None, 300, 1_200))
        final_ms = dice.choice((400, 900, 2_500, 5_000))
        outcome = dice.random()
        if outcome < 0.6:
            talk_ms = dice.choice((0, 1, 999, 1_000, 3_700, 12_000, 20_000, dice.randint(0, 60_000)))
            legs.append(LegPlan(True, ring_ms, None, final_ms, 200, talk_ms, dice.choice(("caller", "callee"))))
        elif outcome < 0.7:
            legs.append(LegPlan(has_channel=False))
        else:
            legs.append(LegPlan(True, ring_ms, None, final_ms, dice.choice((486, 503, 404, 480))))
    return CallPlan(
        dice.randint(0, LAST_CALL_MS), dice.randrange(NODES), dice.choice((0, 0, 0, 1, 1, 2, 2, 3)),
        dice.choice((*CALLEES[:3], *CALLEES)), tuple(legs), dice.choice((30_000, 30_000, 30_000, 2_000)),
    )  # fmt: skip


def _process(dice: random.Random, config: Config) -> str:
    workers = [f"billing-{number}" for number in range(config.workers)] + ["cdrs-0", "live-0"]
    return dice.choice(("agent-0", "agent-1", "agent-0", "agent-1", "router-0", "router-1", *workers, *workers[:-2]))


def _fault(dice: random.Random, config: Config) -> Step:
    at_ms = dice.randint(1_000, LAST_FAULT_MS)
    kind = dice.choice(_FAULTS)
    node, server = f"{dice.randrange(NODES)}", dice.choice(("kafka", "postgres", "clickhouse"))
    process = _process(dice, config)
    if kind == "kill":
        return Step(at_ms, kind, process, dice.randint(1, 40), dice.choice((500, 2_000, 9_000)))
    if kind == "freeze":
        worker = dice.choice([f"billing-{number}" for number in range(config.workers)] + ["cdrs-0"])
        return Step(at_ms, kind, worker, dice.randint(1, 20), dice.choice((1_000, 8_000, 15_000)))
    if kind == "away":
        return Step(at_ms, kind, server, dice.choice((500, 3_000, 12_000, 25_000)))
    if kind == "cut_off":
        return Step(at_ms, kind, process, dice.choice((2_000, 10_000)))
    if kind in ("refuse", "lose"):
        return Step(at_ms, kind, server, dice.choice((1, 1, 2, 5)), text=dice.choice(("", process)))
    if kind == "slow":
        return Step(at_ms, kind, server, dice.choice((300, 900, 4_000)), dice.choice((10_000, 40_000)))
    if kind == "hide":
        return Step(at_ms, kind, dice.choice(("calls", "rated-legs", "dead-letters")), dice.randrange(4),
                    dice.choice((2_000, 15_000)))  # fmt: skip
    if kind == "asterisk_dies":
        late_ms = dice.choice((0, 0, dice.randint(100, 7_000), 15_000))
        return Step(at_ms, kind, node, dice.choice((300, 3_000, 10_000)), late_ms, dice.choice(("", _torn(dice))))
    if kind == "rotate":
        return Step(at_ms, kind, node, dice.choice((0, 0, dice.randint(1, 12))))
    if kind == "torn":
        return Step(at_ms, kind, node, dice.randint(1, 900), dice.choice((100, 1_500, 6_000)))
    if kind == "clock":
        return Step(at_ms, kind, node, dice.choice((-3_600_000, -30_000, -1_500, 700, 30_000, 3_600_000)))
    if kind in ("ami_away", "disk_full"):
        return Step(at_ms, kind, node, dice.choice((1_000, 6_000, 20_000) if kind == "ami_away" else (1, 3)))
    if kind == "copied":
        return Step(at_ms, kind, node)
    if kind == "bad_line":
        return Step(at_ms, kind, node, text=dice.choice(("garbage\n", '"USER_DEFINED","1","LEG_RESULT","{}"\n', "\n")))
    if kind == "poison":
        return Step(at_ms, kind, dice.choice(("calls", "rated-legs", "dead-letters")), dice.randrange(4),
                    dice.randrange(5))  # fmt: skip
    assert kind == "rebalance"
    return Step(at_ms, kind, "billing" if dice.random() < 0.8 else "cdrs")


def _vanishing(dice: random.Random) -> list[Step]:
    """Nothing of a call comes into its node's journal, as with a disk that took none."""
    at_ms, node = dice.randint(1_000, LAST_CALL_MS), dice.randrange(NODES)
    return [Step(at_ms, "vanish", f"{node}")] if dice.random() < 0.4 else []


def _torn(dice: random.Random) -> str:
    """What of a line is on the disk when Asterisk dies."""
    return f"{dice.choice(('closing', 'ending', 'ending', 'opening'))} {dice.choice((40, 97, 250, 250, 9_999))}"


def _cluster(dice: random.Random, config: Config) -> list[Step]:
    """Faults that come together, where each alone does little."""
    at_ms, node = dice.randint(5_000, LAST_CALL_MS), dice.randrange(NODES)
    worker = f"billing-{dice.randrange(config.workers)}"
    agent, effects, down_ms = f"agent-{node}", dice.randint(1, 15), dice.choice((300, 3_000))
    kind = dice.choice(("late lines", "late lines", "unanswered", "unanswered", "journal", "answers lost"))
    if kind == "late lines":  # the true ends come while the estimates are on their way, or with somebody who sleeps
        told_ms = at_ms + down_ms + dice.randint(800, 4_000)
        late_ms = dice.choice((0, dice.randint(100, 9_000), dice.randint(100, 9_000)))
        slow = Step(told_ms - 600, "slow", dice.choice(("postgres", "kafka")), 2_000, 5_000)
        freeze = Step(told_ms, "freeze", worker, dice.choice((0, effects)), dice.choice((8_000, 15_000)))
        with_it = dice.choice(([slow, freeze], [slow, freeze], [slow], [Step(told_ms, "kill", agent, effects, 500)]))
        unwritten = Step(at_ms - dice.randint(200, 4_000), "torn", f"{node}", dice.randint(1, 900), 6_000)
        dies = Step(at_ms, "asterisk_dies", f"{node}", down_ms, late_ms, _torn(dice))
        return [*dice.choice(([unwritten], [])), dies, *with_it]
    if kind == "answers lost":
        times = (at_ms + dice.randint(0, 15_000) for _ in range(8))
        return [Step(one, "lose", dice.choice(("postgres", "postgres", "kafka")), 1, text=agent) for one in times]
    if kind == "unanswered":  # whoever waits for a slow answer is killed meanwhile
        server = dice.choice(("kafka", "postgres", "clickhouse"))
        process = "cdrs-0" if server == "clickhouse" else dice.choice((worker, worker, agent))
        kills = [
            Step(at_ms + dice.randint(1_000, 12_000), "kill", process, dice.randint(1, 15), dice.choice((500, 2_000)))
            for _ in range(2)
        ]
        return [Step(at_ms, "slow", server, dice.choice((900, 2_000, 4_000)), 15_000), *kills]
    steps = [
        Step(at_ms, "torn", f"{node}", dice.randint(1, 900), dice.choice((100, 1_500, 6_000))),
        Step(at_ms + dice.randint(0, 3_000), "kill", agent, effects, down_ms),
        Step(at_ms + dice.randint(0, 9_000), "copied", f"{node}"),
    ]
    rotations = [Step(at_ms + dice.randint(0, 9_000), "rotate", f"{node}", effects * (number % 2)) for number in (0, 1)]
    return [*dice.sample(steps, 2), *rotations]


def _action(dice: random.Random) -> Step:
    at_ms = dice.randint(1_000, LAST_FAULT_MS)
    kind = dice.choice(("pay", "pay", "price", "price", "open_account", "replay", "discard"))
    if kind == "pay":
        return Step(at_ms, kind, str(dice.choice((1001, 1002, 1011))), dice.choice((1, 30_000, 2_000_000, -20_000)))
    if kind == "price":
        return Step(at_ms, kind, "", dice.randrange(4))
    return Step(at_ms, kind, "", dice.randint(1, 5))


_FAULTS: Final = (
    "kill", "kill", "kill", "kill", "kill", "kill", "freeze", "freeze", "away", "away", "cut_off", "refuse", "refuse",
    "lose", "lose", "lose", "slow", "slow", "slow", "hide", "asterisk_dies", "asterisk_dies", "rotate", "rotate",
    "torn", "clock", "ami_away", "disk_full", "copied", "bad_line", "poison", "poison", "rebalance", "rebalance",
)  # fmt: skip
