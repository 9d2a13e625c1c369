"""A trickle of real SIP calls for the demo: SIPp as the seeded world's vendors and customers around one Asterisk.

Every kind of ending comes by: answered and ended by either side, refused by the first vendor and answered by the
second, busy, all vendors failing, nobody listening, cancelled, and each refusal of ours. The vendors' processes and the
callers' are children of this one and end with it; one that ends by itself is started again, with a growing pause.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from configuration.asterisk.fetch import Installation, installation
from configuration.settings import TrickleSettings
from runtime.heartbeat import send_beat
from runtime.parent import end_with_parent
from simulator.sipp import scenarios

log = structlog.get_logger(__name__)
_RICH, _PENNILESS, _ONE_AT_A_TIME, _STRANGER = (f"127.0.0.{number}" for number in (10, 11, 12, 99))
_CALLER_PORT_OFFSET: Final = 10  # above the node's SIP port: two demos on one machine do not meet
_MEDIA_PORTS: Final = 4_000
_ROUND_SECONDS: Final = 0.5
_LAST_CALLS_SECONDS: Final = 14.0
_END_SECONDS: Final = 3.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0  # after so long a process is not one that fails at its start
_LINES: Final = 500
_MOST_CALLS: Final = 60  # at once, of one process

# What is dialled, how often among a hundred. A number's last digit tells vendor 2 what to do (scenarios/).
_MIX: Final = (
    ("99921", "0", 34),  # answered; the caller hangs up
    ("99921", "5", 10),  # early media
    ("99922", "0", 20),  # 503, then answered
    ("99923", "0", 8),  # busy
    ("99924", "0", 4),  # nobody listens
    ("99925", "0", 8),  # nobody listens, then answered
    ("99926", "0", 8),  # all fail
    ("99929", "0", 4),  # no vendor has the code
    ("9993", "00", 4),  # no price
)
_HOSTILE: Final = ("99921000%26PJSIP%2f9992100000%40v-sipp-vendor-2", "0", "99921%24%7bCALL_ID%7d")


@dataclass(frozen=True)
class Part:
    """A SIPp process as it should be: vendors listen, callers place `share` of all calls."""

    name: str
    scenario: str
    host: str
    port: int
    share: float = 0.0
    numbers: tuple[str, ...] = ()


def parts(settings: TrickleSettings, rng: random.Random) -> Iterator[Part]:
    """The vendors, then the callers."""
    vendors = {
        1: scenarios.vendor_refuses(503, "Service Unavailable", 34),
        2: scenarios.vendor_answers(),
        3: scenarios.vendor_refuses(486, "Busy Here", 17),
        5: scenarios.vendor_rings(),
        6: scenarios.vendor_refuses(503, "Service Unavailable", 34),
    }
    for number, text in vendors.items():
        yield Part(f"vendor-{number}", text, f"127.0.0.{20 + number}", settings.vendor_port)
    any_end = scenarios.callers_of_all_kinds(1_000, 12_000)
    long_talk = scenarios.callers_of_all_kinds(8_000, 12_000)
    mixed = (*(_mixed(rng) for _ in range(_LINES)), *_HOSTILE)
    answered = tuple(_number(rng, "99921", "0") for _ in range(_LINES))
    port = settings.node_port + _CALLER_PORT_OFFSET
    yield Part("callers", any_end, _RICH, port, 0.68, mixed)
    listened = tuple(_number(rng, "99921", scenarios.VENDOR_ENDS_ENDING) for _ in range(_LINES))
    yield Part("callers-who-listen", scenarios.callers_who_listen(), _RICH, port + 1, 0.10, listened)
    rung = tuple(_number(rng, "99927", "0") for _ in range(_LINES))
    yield Part("callers-who-give-up", scenarios.callers_who_give_up(1_500), _RICH, port + 2, 0.08, rung)
    yield Part("callers-without-money", any_end, _PENNILESS, port, 0.04, answered)
    yield Part("callers-one-at-a-time", long_talk, _ONE_AT_A_TIME, port, 0.07, answered)
    yield Part("strangers", any_end, _STRANGER, port, 0.03, answered)


def _mixed(rng: random.Random) -> str:
    beginning, ending, _ = rng.choices(_MIX, [weight for *_, weight in _MIX])[0]
    return _number(rng, beginning, ending)


def _number(rng: random.Random, beginning: str, ending: str) -> str:
    middle = 11 - len(beginning) - len(ending)
    return f"{beginning}{rng.randrange(10**middle):0{middle}d}{ending}"


@dataclass
class Player:
    """One part at play. `keep` starts it, and starts it again."""

    part: Part
    settings: TrickleSettings
    programs: Installation
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0
    _pause_seconds: float = 1.0
    _started_at: float = 0.0
    _next_at: float = field(default=0.0)

    def keep(self, now: float) -> bool:
        """Start what is not there, when its time has come; whether it plays."""
        if self.process is not None:
            if (code := self.process.poll()) is None:
                return True
            self.process = None
            steady = now - self._started_at > _STEADY_SECONDS
            self._pause_seconds = 1.0 if steady else min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
            self._next_at = now + self._pause_seconds
            log.warning("sipp ended", part=self.part.name, code=code, said=self._said(), again_in=self._pause_seconds)
        if now < self._next_at:
            return False
        self._started_at = now
        self.starts += 1
        self.process = self._start()
        return True

    def finish(self) -> None:
        """No new call from now on; SIPp ends when its last call has."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)

    def end(self, seconds: float) -> None:
        """Until it has ended, by force after so many seconds."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self.process.terminate()
            try:
                self.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        part, settings = self.part, self.settings
        scenario = self._path("xml")
        scenario.write_text(part.scenario)
        argv = [*self.programs.command("sipp"), "-sf", str(scenario), "-i", part.host, "-p", str(part.port)]
        argv += ["-mi", part.host, "-mp", str(_MEDIA_PORTS), "-nostdin", "-timer_resol", "20", "-aa"]
        if part.numbers:
            numbers = self._path("csv")
            numbers.write_text(
                "RANDOM\n" + "".join(f"{callee};1212555{index:04d}\n" for index, callee in enumerate(part.numbers))
            )
            period_ms = max(1, round(1_000 / (settings.calls_per_second * part.share)))
            argv += ["-inf", str(numbers), "-r", "1", "-rp", str(period_ms), "-l", str(_MOST_CALLS)]
            argv.append(f"{settings.node_host}:{settings.node_port}")
        parent_pid = os.getpid()
        with self._path("err").open("wb") as errors:
            return subprocess.Popen(
                argv,
                cwd=settings.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={"PATH": os.defpath, "TERM": "dumb", "LC_ALL": "C.UTF-8"},
                preexec_fn=lambda: end_with_parent(parent_pid),
            )

    def _path(self, ending: str) -> Path:
        return self.settings.directory / f"{self.part.name}.{ending}"

    def _said(self) -> str:
        return self._path("err").read_text(errors="replace").strip()[-300:]


def run(settings: TrickleSettings) -> None:
    """Play until SIGTERM, then let the last calls end. Raises FetchError where there is no SIPp."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    programs = installation(settings.cache, lambda text: log.info("set-up", text=text))
    settings.directory.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    players = [Player(part, settings, programs) for part in parts(settings, rng)]
    log.info("trickle starts", calls_per_second=settings.calls_per_second, processes=len(players))
    try:
        while not stopping:
            playing = [player.keep(time.monotonic()) for player in players]
            missing = [player.part.name for player, plays in zip(players, playing, strict=True) if not plays]
            detail = f"waiting to start again: {', '.join(missing)}" if missing else f"{len(players)} processes"
            send_beat(settings.beat, ok=not missing, detail=detail)
            time.sleep(_ROUND_SECONDS)
    finally:
        _end(players)
        log.info("trickle ends", starts=sum(player.starts for player in players))


def _end(players: list[Player]) -> None:
    """The callers first, with the time that their calls need; then the vendors, whom nobody calls any more."""
    callers = [player for player in players if player.part.share]
    for player in callers:
        player.finish()
    deadline = time.monotonic() + _LAST_CALLS_SECONDS
    for player in callers:
        player.end(deadline - time.monotonic())
    for player in players:
        player.end(0.0)
