"""What no Asterisk would send: kinds of bad AGI sessions, each made from a seed, for the fuzz bench and its test.

A session is a list of steps, given one after the other: bytes to send, a pause, a line to wait for, an end. How it ends
for the server is not asked; that it ends, and that nobody else notices, is.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from bench.agi_world import SECRET
from schemas.agi_digest import node_key_text, read_node_key, script_with_digest

ARGUMENTS: Final = ("ast1-1795609861-{n}.{n}", "c-x", "127.{k}.0.{c}:5060", "447700900{c:03d}", "12125550123", "{n}.5")
_KEY: Final = read_node_key(node_key_text(SECRET, "ast1"))
_BYTES: Final = bytes(range(256))
_WORDS: Final = (
    "", "0", "-1", "9" * 400, "\x00", "%", "%zz", "%00", "%0A", "𐀀", "٣٤", "1e309", "NaN", "'; DROP TABLE holds; --",
    "${SHELL(id)}", "../../etc/passwd", "a" * 300, "[::1]:5060", "127.1.0.1", ":", "Infinity", "\u202e", "+" * 30,
)  # fmt: skip


class Pause(NamedTuple):
    """Wait before the next step."""

    seconds: float


class Read(NamedTuple):
    """Wait for so many lines of the server, or its end."""

    lines: int


class Reset(NamedTuple):
    """Close by a reset, not by an end."""


class ShutWrite(NamedTuple):
    """Say that nothing more will be sent, and go on reading."""


Step = bytes | Pause | Read | Reset | ShutWrite


def _arguments(rng: random.Random) -> list[str]:
    number = rng.randrange(1, 10**9)
    known = 1 if rng.random() < 0.1 else 9  # most are nobody's calls: a million holds are not what is tried here
    return [text.format(n=number, c=rng.randrange(1, 41), k=known) for text in ARGUMENTS]


def _header(rng: random.Random, arguments: list[str], script: str = "route") -> bytes:
    if script == "route" and len(arguments) > 5 and rng.random() < 0.9:  # without it nothing but its absence is tried
        script = script_with_digest(_KEY, script, arguments[0], arguments[5])
    lines = [f"agi_network_script: {script}", "agi_request: agi://127.0.0.1/route", "agi_accountcode: "]
    lines += [f"agi_arg_{place}: {quote(text, safe='')}" for place, text in enumerate(arguments, start=1)]
    if rng.random() < 0.3:
        rng.shuffle(lines)
    return ("\n".join(lines) + "\n\n").encode()


def _mutated(rng: random.Random, data: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        place = rng.randrange(len(found) + 1)
        what = rng.randrange(4)
        if what == 0:
            found[place:place] = bytes(rng.choices(_BYTES, k=rng.randrange(1, 20)))
        elif what == 1:
            del found[place : place + rng.randrange(1, 20)]
        elif what == 2 and place < len(found):
            found[place] = rng.randrange(256)
        else:
            found[place:place] = found[place : place + rng.randrange(1, 200)]
    return bytes(found)


def connect_and_close(_: random.Random) -> list[Step]:
    """Nothing is sent."""
    return []


def connect_and_reset(_: random.Random) -> list[Step]:
    """Nothing is sent, and the connection is torn down."""
    return [Reset()]


def half_a_header(rng: random.Random) -> list[Step]:
    """It ends, or is torn down, in the middle of the header."""
    header = _header(rng, _arguments(rng))
    return [header[: rng.randrange(1, len(header) - 1)], *([Reset()] if rng.random() < 0.5 else [])]


def half_open(rng: random.Random) -> list[Step]:
    """A whole header, then no more will be sent."""
    return [_header(rng, _arguments(rng)), ShutWrite(), Read(99)]


def slow_loris(rng: random.Random) -> list[Step]:
    """A byte now and then, until the server has had enough."""
    steps: list[Step] = [b"agi_network_script: route\n"]
    for byte in b"agi_arg_1: " + bytes(rng.choices(b"abc", k=40)):
        steps += [bytes([byte]), Pause(rng.uniform(0.02, 0.15))]
    return [*steps, Read(99)]


def in_pieces(rng: random.Random) -> list[Step]:
    """A good header, cut anywhere; the answers come as they should."""
    header = _header(rng, _arguments(rng))
    cuts = sorted(rng.sample(range(1, len(header)), k=rng.randrange(1, 9)))
    pieces = [header[a:b] for a, b in zip([0, *cuts], [*cuts, len(header)], strict=True)]
    return [*pieces, Read(1), b"200 result=0\n", Read(99)]


def names_twice(rng: random.Random) -> list[Step]:
    """A header name that comes again."""
    return [_header(rng, _arguments(rng))[:-1] + b"agi_arg_%d: again\n\n" % rng.randrange(1, 7), Read(99)]


def no_utf8(rng: random.Random) -> list[Step]:
    """Bytes that are no text."""
    return [b"agi_network_script: route\nagi_arg_1: " + bytes(rng.choices(_BYTES[128:], k=30)) + b"\n\n", Read(99)]


def oversized(rng: random.Random) -> list[Step]:
    """More than a header may have, with or without line ends."""
    line = rng.choice([b"x" * 1000, b"agi_x: " + b"y" * 90 + b"\n", b"\n", b"\x00" * 500])
    return [line * rng.randrange(20, 60_000 // len(line) + 21), Read(99)]


def other_protocol(rng: random.Random) -> list[Step]:
    """Somebody has the wrong port."""
    said = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"INVITE sip:1@x SIP/2.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ]
    return [rng.choice(said), Read(1)]


def noise(rng: random.Random) -> list[Step]:
    """Any bytes, with an end of a header."""
    return [bytes(rng.choices(_BYTES, k=rng.randrange(1, 400))) + b"\n\n", Read(99)]


def hostile_arguments(rng: random.Random) -> list[Step]:
    """A good header with arguments that are not."""
    arguments = _arguments(rng)
    for _ in range(rng.randrange(1, 4)):
        arguments[rng.randrange(6)] = rng.choice(_WORDS)
    if rng.random() < 0.3:
        arguments = arguments[: rng.randrange(6)] if rng.random() < 0.5 else [*arguments, "more"]
    return [_header(rng, arguments), Read(1), b"200 result=0\n", Read(99)]


def mutated_header(rng: random.Random) -> list[Step]:
    """A good header, damaged."""
    return [_mutated(rng, _header(rng, _arguments(rng))) + b"\n\n", Read(1), b"200 result=0\n", Read(99)]


def other_script(rng: random.Random) -> list[Step]:
    """A script that there is not, or the ping."""
    return [_header(rng, [], rng.choice(["ping", "nothing", "route?x=1", "../route", ""])), Read(1), b"200 result=0\n"]


def unanswered(rng: random.Random) -> list[Step]:
    """A good call whose commands are not answered: it is let wait, or left."""
    return [_header(rng, _arguments(rng)), Read(1), Pause(rng.choice([0.0, 0.0, 0.5]))]


def garbage_answers(rng: random.Random) -> list[Step]:
    """A good call whose commands are answered by what is no answer."""
    answer: bytes = rng.choice(
        [b"510 Invalid or unknown command\n", b"200 result=-1\n", b"\n", b"100 Trying\n" * 80, b"HANGUP\n" * 80,
         b"520-Invalid\n520 End\n", b"x" * 40_000, bytes(rng.choices(_BYTES, k=50)) + b"\n"]
    )  # fmt: skip
    return [_header(rng, _arguments(rng)), Read(1), answer, Read(99)]


def half_an_answer(rng: random.Random) -> list[Step]:
    """A good call whose answer never has its end."""
    return [_header(rng, _arguments(rng)), Read(1), b"200 result=0", Read(99)]


def answers_first(rng: random.Random) -> list[Step]:
    """The answers come with the header, before there is a command."""
    return [_header(rng, _arguments(rng)) + b"HANGUP\n200 result=0\n" * rng.randrange(1, 4), Read(99)]


Kind = Callable[[random.Random], list[Step]]
KINDS: Final[tuple[Kind, ...]] = (
    connect_and_close, connect_and_reset, half_a_header, half_open, slow_loris, in_pieces, names_twice, no_utf8,
    oversized, other_protocol, noise, hostile_arguments, mutated_header, other_script, unanswered, garbage_answers,
    half_an_answer, answers_first,
)  # fmt: skip
# Those that take their time are given seldom, or a million would take days.
WEIGHTS: Final = tuple({slow_loris: 0.02, half_an_answer: 0.02, unanswered: 0.3}.get(kind, 1.0) for kind in KINDS)


class _Peer(asyncio.Protocol):
    """The other end of a session: counts lines, knows when it is over."""

    def __init__(self) -> None:
        self.lines = 0
        self.over = False
        self._changed: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.lines += data.count(b"\n")
        self._tell()

    def eof_received(self) -> bool:
        self.over = True
        self._tell()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.over = True
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def wait_for(self, lines: int) -> None:
        """So many lines in all, or the end."""
        while self.lines < lines and not self.over:
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed


async def play(port: int, steps: list[Step], *, seconds: float = 30.0) -> None:
    """One session. Raises TimeoutError when the server neither answers nor ends it: a hang."""
    loop = asyncio.get_running_loop()
    try:
        transport, peer = await loop.create_connection(_Peer, "127.0.0.1", port)
    except OSError:
        return  # the server's queue of connections is full
    try:
        async with asyncio.timeout(seconds):
            for step in steps:
                await _do(transport, peer, step)
    finally:
        transport.close() if not isinstance(steps[-1] if steps else None, Reset) else transport.abort()


async def _do(transport: Any, peer: _Peer, step: Step) -> None:
    if isinstance(step, bytes):
        if not peer.over:
            transport.write(step)
            await asyncio.sleep(0)
    elif isinstance(step, Pause):
        await asyncio.sleep(step.seconds)
    elif isinstance(step, Read):
        await peer.wait_for(step.lines)
    elif isinstance(step, ShutWrite) and not peer.over:
        transport.write_eof()


async def fuzz(port: int, requests: int, at_once: int, seed: int, rate: float = 0.0) -> dict[str, Any]:
    """So many bad sessions, begun at this rate at most (0: as fast as they go): how many of each kind, and hung."""
    rng = random.Random(seed)
    kinds: Counter[str] = Counter()
    hung: Counter[str] = Counter()
    left = iter(range(requests))
    began = time.perf_counter()

    async def one_after_the_other() -> None:
        for number in left:
            if rate:
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            kind = rng.choices(KINDS, WEIGHTS)[0]
            kinds[kind.__name__] += 1
            try:
                await play(port, kind(random.Random(rng.getrandbits(64))))
            except TimeoutError:
                hung[kind.__name__] += 1
            except OSError:
                pass  # the server has let go of it

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return {"kinds": dict(sorted(kinds.items())), "hung": dict(hung)}
