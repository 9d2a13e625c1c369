"""What each fault and action of a plan does to the world."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import psycopg
from kafka.errors import KafkaError

from schemas.frame import pack_frames, unpack_frame
from sinks.dead_letters.replay import Resent
from sinks.dead_letters.store import LetterError, decide, find_letter, open_origins
from sinks.payments import PaymentError, post_payment
from streamco.dead_letters_cli import MOST_REPLAYS, _replay_one
from tests.simulation import tables
from tests.simulation.broker import PARTITIONS, Place
from tests.simulation.clock import Process
from tests.simulation.plan import LATE_ACCOUNT, Step
from tests.simulation.world import World

# What is put before the events of somebody's next message, or in the place of a message of its own (the last).
BAD_EVENTS: Final = (
    b'{"type":"leg_ended","v":2,"event_id":"x"}',
    b'{"type":"nothing"}',
    b"17",
    b'{"type":"rated_leg","event_id":"x","amount_micros":-1}',
)
NO_FRAME: Final = b"\xff\x00 no frame"


def carry_out(world: World, step: Step) -> None:
    """Let it happen now."""
    world.note("plan", *step[1:])
    _DO[step.kind](world, step)


def _kill(world: World, step: Step) -> None:
    process = world.processes.get(step.target)
    if process is not None and process.is_alive:
        process.arm(step.a, lambda: process.kill(step.b))


def _freeze(world: World, step: Step) -> None:
    process = world.processes.get(step.target)
    if process is not None and process.is_alive:
        if step.a:
            process.arm(step.a, lambda: process.freeze(step.b))
        else:
            process.freeze(step.b)


def _away(world: World, step: Step) -> None:
    server = world.servers[step.target]
    server.is_away = True
    world.clock.after(step.a, lambda: setattr(server, "is_away", False))


def _cut_off(world: World, step: Step) -> None:
    world.database.cut_off.add(step.target)
    agents = [agent for agent in world.agents if agent.name == step.target]
    for agent in agents:
        agent.is_cut_off = True

    def join() -> None:
        world.database.cut_off.discard(step.target)
        for agent in agents:
            agent.is_cut_off = False

    world.clock.after(step.a, join)


def _refuse(world: World, step: Step) -> None:
    world.servers[step.target].refusals[step.text] += step.a


def _lose(world: World, step: Step) -> None:
    world.servers[step.target].losses[step.text] += step.a


def _slow(world: World, step: Step) -> None:
    world.slow_ms[step.target] = step.a
    world.clock.after(step.b, lambda: world.slow_ms.pop(step.target, None))


def _hide(world: World, step: Step) -> None:
    world.broker.hide(Place(step.target, step.a), step.b)


def _asterisk_dies(world: World, step: Step) -> None:
    world.nodes[int(step.target)].die(step.a, step.b, step.text)


def _rotate(world: World, step: Step) -> None:
    node, agent = world.nodes[int(step.target)], world.agents[int(step.target)]
    if step.a and agent.is_alive:
        agent.arm(step.a, node.rotate)
    else:
        node.rotate()


def _torn(world: World, step: Step) -> None:
    world.nodes[int(step.target)].torn = (step.a, step.b)


def _clock(world: World, step: Step) -> None:
    world.nodes[int(step.target)].set_clock(step.a)


def _ami_away(world: World, step: Step) -> None:
    node = world.nodes[int(step.target)]
    node.ami_away_until_ms = world.clock.now_ms + step.a
    node.on_gone()


def _disk_full(world: World, step: Step) -> None:
    world.nodes[int(step.target)].disk.full_until_writes = step.a


def _copied(world: World, step: Step) -> None:
    world.nodes[int(step.target)].disk.copied()


def _vanish(world: World, step: Step) -> None:
    world.nodes[int(step.target)].vanish_next = True


def _bad_line(world: World, step: Step) -> None:
    world.nodes[int(step.target)].write_garbage(step.text)


def _poison(world: World, step: Step) -> None:
    if step.b >= len(BAD_EVENTS):
        world.injected.append(NO_FRAME)
        world.broker.put(step.target, step.a, NO_FRAME)
        return
    bad = BAD_EVENTS[step.b]

    def spoil(place: Place, value: bytes) -> bytes:
        if place.topic != step.target or value == NO_FRAME:
            return value
        world.broker.spoil = lambda _place, value: value
        world.injected.append(bad)
        events = [bytes(raw) for raw in unpack_frame(value)]
        return pack_frames([*events[:1], bad, *events[1:]])[0] if step.a % 2 else pack_frames([bad, *events])[0]

    world.broker.spoil = spoil


def _rebalance(world: World, step: Step) -> None:
    world.groups[step.target].rebalance()


# --- operators


class Operator(Process):
    """Somebody at the command line."""


class _Sender:
    def __init__(self, world: World) -> None:
        self._world = world

    def send(self, message: Resent) -> str:
        try:
            self._world.broker.append(message.topic, message.partition, message.value)
        except KafkaError as error:
            raise LetterError(f"not sent: {error!r}") from error
        return f"{message.topic}/{message.partition}/?"


def _operator(world: World, action: Callable[[], None]) -> None:
    operator = world.operator
    operator.is_alive = True

    def act() -> None:
        try:
            action()
        except (psycopg.Error, LetterError, PaymentError) as error:
            world.note("operator is told", type(error).__name__)

    operator.enter(act)


def _pay(world: World, step: Step) -> None:
    def pay() -> None:
        at = datetime.fromtimestamp(world.database.wall_ms() / 1000, UTC)
        account = world.database.tables.accounts[int(step.target)].name
        connection = world.database.connect_now()
        with connection.transaction():
            post_payment(connection, account, step.a, "paid", f"payment {world.clock.now_ms}", at)  # type: ignore[arg-type]

    _operator(world, pay)


def _price(world: World, step: Step) -> None:
    world.generation = step.a


def open_account(world: World, _: Step | None = None) -> None:
    """The vendor's account that was missing."""
    rows = world.database.tables
    if LATE_ACCOUNT not in rows.accounts:
        rows.open_account(LATE_ACCOUNT, tables.Account("late", "vendor", "USD"))


def replay(world: World, _: Step | None = None) -> None:
    """`streamco dead-letters replay --all`."""

    def act() -> None:
        connection = world.database.connect_now(autocommit=False)
        chosen = open_origins(connection, MOST_REPLAYS)  # type: ignore[arg-type]
        connection.commit()
        for origin in chosen:
            _replay_one(connection, _Sender(world), origin, "mended", "operator", PARTITIONS)  # type: ignore[arg-type]

    _operator(world, act)


def _discard(world: World, step: Step) -> None:
    def act() -> None:
        letters = sorted(one.origin for one in world.database.tables.letters.values() if one.state == "open")
        connection = world.database.connect_now()
        for origin in letters[: step.a]:
            with connection.transaction():
                letter = find_letter(connection, origin, lock=True)  # type: ignore[arg-type]
                decide(connection, letter, "discarded", "operator", "not wanted")  # type: ignore[arg-type]

    _operator(world, act)


_DO: Final[dict[str, Callable[[World, Step], None]]] = {
    "kill": _kill, "freeze": _freeze, "away": _away, "cut_off": _cut_off, "refuse": _refuse, "lose": _lose,
    "slow": _slow, "hide": _hide, "asterisk_dies": _asterisk_dies, "rotate": _rotate, "torn": _torn, "clock": _clock,
    "ami_away": _ami_away, "disk_full": _disk_full, "copied": _copied, "bad_line": _bad_line,
    "vanish": _vanish, "poison": _poison,
    "rebalance": _rebalance, "pay": _pay, "price": _price, "open_account": open_account, "replay": replay,
    "discard": _discard,
}  # fmt: skip
