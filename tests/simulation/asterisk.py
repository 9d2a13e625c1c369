"""A node: Asterisk with the product's dialplan (its pure twin, simulator/hunt.py), its journal, its clock, its crashes.

The hunt lives on true time; what its lines say of the wall clock is as the node's clock was at that moment, and the
differences of wall times (Asterisk's own duration, the PDD) are as wrong as the clock was.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.ids import make_call_id
from schemas.journal import encode_line
from simulator.hunt import Hunt, Output, Signal
from simulator.lines import Call, Line
from simulator.plans import LegPlan
from tests.simulation.clock import Host
from tests.simulation.disk import Disk
from tests.simulation.plan import ADDRESSES, CallPlan
from tests.simulation.setting import START_MS

BUSY: Final = LegPlan(True, None, None, 500, 486)
_WALL: Final = ("at", "begin", "start", "end")
Ask = Callable[[str, str, CallPlan, int, Callable[[Mapping[str, str] | None], None]], None]


class Up:
    """A call that is up."""

    def __init__(self, hunt: Hunt, plan: CallPlan, number: int) -> None:
        self.hunt = hunt
        self.plan = plan
        self.channel = f"PJSIP/c-{number}"
        self.boot = 0


class Asterisk:
    """One node. `truth` is called with every line that closes or opens a leg, as it really was."""

    def __init__(self, host: Host, disk: Disk, number: int, ask: Ask, on_line: Callable[[Line, bytes], None]) -> None:
        self.host, self.disk, self.number, self._ask, self._on_line = host, disk, number, ask, on_line
        self.name = f"sim{number}"
        self.journal = f"/{self.name}/journal/Master.csv"
        self.offsets: list[tuple[int, int]] = [(0, 0)]  # since when the clock is wrong, and by how much
        self.is_up = False
        self.ami_away_until_ms = 0
        self.epoch = 0
        self.started = ""
        self.up: dict[str, Up] = {}
        self.on_ami: Callable[[Mapping[str, Any]], None] | None = None
        self.on_journal: Callable[[], None] = lambda: None
        self.on_gone: Callable[[], None] = lambda: None
        self.torn: tuple[int, int] | None = None  # how much of the next line comes at once, and when the rest
        self._rest: list[bytes] | None = None
        self._unfinished: list[bytes] = []  # the lines of which `_rest` is the rest
        self.vanished: set[str] = set()  # calls of which no line is ever written
        self.vanish_next = False
        self._opening = ("", b"")  # the last line that opened a leg, and its call
        self._numbers = 0
        self._boots = 0
        self._rotations = 0

    # --- clocks

    def wall_ms(self) -> int:
        """What the node's clock says."""
        return START_MS + self.host.clock.now_ms + self.offsets[-1][1]

    def _wall_at(self, at_ms: int) -> int:
        true_ms = at_ms - START_MS
        return at_ms + next(offset for since, offset in reversed(self.offsets) if since <= max(0, true_ms))

    def set_clock(self, ms: int) -> None:
        """Somebody sets the clock."""
        self.offsets.append((self.host.clock.now_ms, self.offsets[-1][1] + ms))

    # --- the process

    def start(self) -> None:
        """Asterisk is started by streamco, which issues an epoch."""
        if self.is_up:
            return
        self.is_up = True
        self._boots += 1
        self.epoch = max(self.epoch + 1, self.wall_ms() // 1000)
        self.started = f"start {self._boots}"
        file = self.disk.make(f"/{self.name}/epoch")
        file.content[:] = f"{self.epoch}\n".encode()
        self.host.note("asterisk starts", self.name, self.epoch)

    def die(self, down_ms: int, late_ms: int, torn: str) -> None:
        """kill -9 with calls up. `late_ms`: so long after the new start somebody finds the lines that were missing.
        `torn`: so many bytes of the next line are on the disk, and what Asterisk writes next follows them: of one that
        closes a leg ("closing 97"), of the one after that ("ending 97"), or of one that opens a leg ("opening 97").
        """
        if not self.is_up:
            return
        self.is_up = False
        self.host.note("asterisk dies", self.name, len(self.up))
        late: list[Line] = []
        for call in self.up.values():
            ends = call.hunt.hang_up(self._now()) if call.hunt.state in ("dialling", "talking") else []
            if call.hunt.call.call_id not in self.vanished:
                late += [output for output in ends if isinstance(output, Line)]
        kind, _, cut = torn.partition(" ")
        if kind == "ending" and len(late) > 1 and self._rest is None:
            self._write(late.pop(0))
        _, raw = self._opening if self._opening[0] in self.up else ("", b"")
        self._opening = ("", b"")
        if kind != "opening":
            raw = encode_line(late[0].kind, "1.0", self._values(late[0])) if late else b""
        if torn and self._rest is None and raw:
            self._put(raw[: min(int(cut), len(raw) - 1)])
        lost, self._rest, self._unfinished = (self._unfinished if self._rest is not None else []), None, []
        self.up.clear()
        self.on_gone()
        self.host.clock.after(down_ms, self.start)
        if late_ms:
            self.host.clock.after(down_ms + late_ms, lambda: self._recover(lost, late))

    def _recover(self, lost: list[bytes], late: list[Line]) -> None:
        self.host.note("lines found late", self.name, len(lost) + len(late))
        if self._rest is not None:
            self._rest += lost
            self._unfinished += lost
        elif lost:
            self._put(b"".join(lost))
        torn, self.torn = self.torn, self.torn if self.is_up else None  # whoever writes them now writes them whole
        for line in late:
            self._write(line)
        if not self.is_up:
            self.torn = torn

    # --- calls

    def invite(self, plan: CallPlan) -> None:
        """A caller."""
        if not self.is_up:
            self.host.note("no Asterisk to call", self.name)
            return
        self._numbers += 1
        wall_ms = self.wall_ms()
        call_id = make_call_id(self.name, self.epoch, f"{wall_ms // 1000:010d}.{self._numbers}")
        address = f"{ADDRESSES[plan.customer]}:5060"
        call = Call(call_id, self._now(), "c", address, plan.callee, "4930123456", plan.patience_ms)
        up = self.up[call_id] = Up(Hunt(call, lambda number, _: _leg(plan, number)), plan, self._numbers)
        up.boot = self._boots
        if self.vanish_next:
            self.vanish_next = False
            self.vanished.add(call_id)
        self.host.note("call", call_id, plan.customer)
        self._ask(call_id, address, plan, wall_ms, lambda variables: self._routed(call_id, variables))

    def _routed(self, call_id: str, variables: Mapping[str, str] | None) -> None:
        up = self.up.get(call_id)
        if up is not None and up.hunt.state == "waiting":
            self._play(call_id, up.hunt.take_routes(variables, self._now()))

    def hang_up(self, channel: str, cause: int) -> bool:
        """AMI's Hangup of a customer's channel; whether it is there."""
        for call_id, up in self.up.items():
            if up.channel == channel:
                self._play(call_id, up.hunt.hang_up(self._now(), cause))
                return True
        return False

    def _step(self, call_id: str, up: Up) -> None:
        if self.up.get(call_id) is up and up.hunt.next_at_ms is not None and up.hunt.next_at_ms <= self._now():
            self._play(call_id, up.hunt.step())

    def _play(self, call_id: str, outputs: list[Output]) -> None:
        up = self.up[call_id]
        over = False
        for output in outputs:
            if isinstance(output, Line):
                self._write(output)
            else:
                over |= output.kind == "call_over"
                self._tell(call_id, up, output)
        if over:
            self.up.pop(call_id, None)
        elif up.hunt.next_at_ms is not None:
            self.host.clock.at(up.hunt.next_at_ms - START_MS, lambda: self._step(call_id, up))

    def _now(self) -> int:
        return START_MS + self.host.clock.now_ms

    # --- AMI

    def _tell(self, call_id: str, up: Up, signal: Signal) -> None:
        if self.on_ami is None or signal.kind not in ("ringing", "answered", "call_over"):
            return
        account = f"{call_id}/{signal.leg}" if signal.kind == "ringing" else call_id
        state = "5" if signal.kind == "ringing" else "6"
        event = {"event": "Hangup"} if signal.kind == "call_over" else {"event": "Newstate", "channelstate": state}
        self.on_ami({**event, "accountcode": account, "channel": up.channel})

    def status(self) -> list[dict[str, Any]]:
        """The channels that are there."""
        channels = []
        for call_id, up in self.up.items():
            variables = [f"{name}={value}" for name, value in up.hunt.variables.items() if name in _TOLD]
            channels.append(
                {
                    "event": "Status",
                    "channel": up.channel,
                    "channelstate": "6" if up.hunt.state == "talking" else "4",
                    "seconds": str((self._now() - up.hunt.call.started_at_ms) // 1000),
                    "accountcode": call_id,
                    "variable": variables,
                }
            )
        return channels

    # --- the journal

    def _values(self, line: Line) -> dict[str, str]:
        values = dict(line.values)
        true = {key: _ms(values[key]) for key in _WALL if values.get(key)}
        wall = {key: self._wall_at(at_ms) for key, at_ms in true.items()}
        values |= {key: _seconds(at_ms) for key, at_ms in wall.items()}
        if values.get("ansms"):
            values["ansms"] = str(wall["end"] - self._wall_at(true["end"] - int(values["ansms"])))
        if values.get("pdd"):
            shift = self._wall_at(true["start"] + int(values["pdd"])) - true["start"] - int(values["pdd"])
            values["pdd"] = str(int(values["pdd"]) + shift - (wall["start"] - true["start"]))
        return values

    def _write(self, line: Line) -> None:
        if line.values["call"] in self.vanished:
            return
        raw = encode_line(line.kind, _seconds(self._wall_at(line.at_ms)), self._values(line))
        self._on_line(line, raw)
        if line.kind == "LEG_START":
            self._opening = (line.values["call"], raw)
        if self._rest is not None:
            self._rest.append(raw)
            self._unfinished.append(raw)
            return
        if self.torn is not None:
            cut, delay_ms = self.torn
            self.torn = None
            self._put(raw[: min(cut, len(raw) - 1)])
            self._rest, self._unfinished = [raw[min(cut, len(raw) - 1) :]], [raw]
            boot = self._boots
            self.host.clock.after(delay_ms, lambda: self._mend(boot))
            return
        self._put(raw)

    def _mend(self, boot: int) -> None:
        if self._boots == boot and self._rest is not None:
            rest, self._rest = self._rest, None
            self._put(b"".join(rest))

    def _put(self, raw: bytes) -> None:
        self.disk.append(self.journal, raw)
        self.on_journal()

    def write_garbage(self, text: str) -> None:
        """Somebody else writes into the journal."""
        if self._rest is None:
            self._put(text.encode())

    def torn_bytes(self) -> int:
        """Of last lines that never got their ends."""
        contents = [file.content for _, file in self.disk.listed(f"/{self.name}/journal")]
        return sum(len(content) - content.rfind(b"\n") - 1 for content in contents)

    def rotate(self) -> None:
        """The file is renamed; Asterisk opens a new one with its next line."""
        if self._rest is None and self.journal in self.disk.files:
            self._rotations += 1
            self.host.note("journal rotated", self.name)
            self.disk.rename(self.journal, f"{self.journal}.{self._rotations:03d}")


_TOLD: Final = ("DECISION", "CALL_FACTS")


def _leg(plan: CallPlan, number: int) -> LegPlan:
    return plan.legs[number - 1] if number <= len(plan.legs) else BUSY


def _ms(seconds: str) -> int:
    whole, _, fraction = seconds.partition(".")
    return int(whole) * 1000 + int(fraction)


def _seconds(at_ms: int) -> str:
    return f"{'-' if at_ms < 0 else ''}{abs(at_ms) // 1000}.{abs(at_ms) % 1000:03d}"
