"""One fake Asterisk node: its channels and ids, its journal, and what its AMI shows.

The shell around the hunt (simulator/hunt.py): every output of a call's state machine becomes a journal line or an AMI
event here, at once and in order; the machine's next moment goes to the scheduler.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from schemas import ids, journal
from simulator import ami_messages
from simulator.ami_messages import Channel
from simulator.ami_server import AmiServer
from simulator.hunt import Hunt, Output, PlanLeg, Signal
from simulator.limits import NodeLimits
from simulator.lines import Call, Line
from simulator.node_files import Journal
from simulator.plans import CallIntent
from simulator.scheduler import Scheduler, Timer, real_ms
from simulator.wire_texts import as_read

VENDOR_CONTEXT = "from-vendors"


@dataclass(slots=True, eq=False)
class LiveCall:
    """A call that goes on, with its channels."""

    node: "Node"
    hunt: Hunt
    caller: Channel
    asked_real_ms: float  # when the router was asked, on the real clock
    vendor: Channel | None = None
    timer: Timer | None = None


@dataclass(slots=True)
class Counts:
    """What a node has journalled so far."""

    calls: int = 0
    legs: int = 0  # closed ones, inbound and outbound
    answered: int = 0
    failed: int = 0  # routed, hunted, never answered


class Node:
    """`observe` is told of every line that has been written: the run's counts are made of it."""

    def __init__(
        self,
        name: str,
        epoch: int,
        *,
        journal_file: Journal,
        scheduler: Scheduler,
        observe: Callable[["Node", Line], None],
    ) -> None:
        self.name = name
        self.epoch = epoch
        self.counts = Counts()
        self.ami: AmiServer | None = None
        self.is_up = True
        self.limits = NodeLimits(lambda: real_ms() / 1000)
        self._journal = journal_file
        self._scheduler = scheduler
        self._observe = observe
        self._sequence = 0
        self._by_channel: dict[str, LiveCall] = {}
        self.calls: dict[str, LiveCall] = {}

    def begin(self, intent: CallIntent, at_ms: int, plan_leg: PlanLeg, real_ms: float) -> LiveCall:
        """An INVITE has come: the caller's channel exists, and waits for the router."""
        sequence = self._next_sequence()
        unique_id = f"{at_ms // 1000:010d}.{sequence}"
        call_id = ids.make_call_id(self.name, self.epoch, unique_id)
        call = Call(
            call_id=call_id,
            started_at_ms=at_ms,
            endpoint=intent.endpoint,
            remote_address=intent.remote_address,
            callee=as_read(intent.callee, "s"),
            caller=as_read(intent.caller),
            patience_ms=intent.patience_ms,
        )
        full_id = f"{self.name}-{unique_id}"
        caller = Channel(
            name=f"PJSIP/{intent.endpoint}-{sequence:08x}",
            unique_id=full_id,
            linked_id=full_id,
            call_id=call_id,
            leg="",
            context="call",
            extension="s",
            number="",  # the dialplan has taken it out
            connected_number="",
            created_at_ms=at_ms,
            state=ami_messages.RING,
        )
        live = LiveCall(
            node=self,
            hunt=Hunt(call, plan_leg, partial(self.limits.take, call_id)),
            caller=caller,
            asked_real_ms=real_ms,
        )
        self.calls[call_id] = live
        self._by_channel[caller.name] = live
        self._show("Newchannel", caller, at_ms)
        return live

    def carry_out(self, live: LiveCall, outputs: list[Output]) -> None:
        """Write and show what the call's machine has put out; wait for its next moment."""
        for output in outputs:
            if isinstance(output, Line):
                stamp = f"{output.at_ms // 1000}.{output.at_ms % 1000:03d}000"
                self._journal.write(journal.encode_line(output.kind, stamp, output.values))
                self._observe(self, output)
            else:
                self._signal(live, output)
        live.caller.variables = live.hunt.variables
        self._wait(live)

    def hang_up(self, channel_name: str, cause: int, at_ms: int) -> bool:
        """Hang up a call by the name of one of its channels; whether there was one."""
        live = self._by_channel.get(channel_name)
        if live is None:
            return False
        self._stop_waiting(live)
        self.carry_out(live, live.hunt.hang_up(at_ms, cause))
        return True

    def hang_up_all(self, at_ms: int) -> int:
        """The node stops: every call is hung up, cause 16; how many there were."""
        lives = list(self.calls.values())
        for live in lives:
            self._stop_waiting(live)
            self.carry_out(live, live.hunt.hang_up(at_ms))
        return len(lives)

    def crash(self) -> int:
        """The node dies: no line and no word about what was up; how many calls that was."""
        lost = len(self.calls)
        for live in self.calls.values():
            self._stop_waiting(live)
        self.calls.clear()
        self._by_channel.clear()
        self.limits.clear()
        self.is_up = False
        return lost

    def start_anew(self, epoch: int) -> None:
        """The node is there again, as a new start of Asterisk: its channels are counted from the first."""
        self.epoch = epoch
        self._sequence = 0
        self.is_up = True

    def channels(self) -> Iterator[Channel]:
        """All live channels, each call's caller first."""
        for live in self.calls.values():
            yield live.caller
            if live.vendor is not None:
                yield live.vendor

    def close(self) -> None:
        """No line comes any more."""
        self._journal.close()

    def _wait(self, live: LiveCall) -> None:
        at_ms = live.hunt.next_at_ms
        live.timer = None if at_ms is None else self._scheduler.at(at_ms, lambda: self._step(live))

    def _step(self, live: LiveCall) -> None:
        self.carry_out(live, live.hunt.step())

    def _stop_waiting(self, live: LiveCall) -> None:
        if live.timer is not None:
            live.timer.cancelled = True

    def _signal(self, live: LiveCall, signal: Signal) -> None:
        if signal.kind == "leg_made":
            self._make_vendor_channel(live, signal)
            return
        channel = live.caller if signal.leg == 0 else live.vendor
        if channel is None:
            return
        if signal.kind == "ringing":
            channel.state = ami_messages.RINGING
            self._show("Newstate", channel, signal.at_ms)
        elif signal.kind == "answered":
            for either in (channel, live.caller):
                either.state = ami_messages.UP
                self._show("Newstate", either, signal.at_ms)
        else:
            self._show("Hangup", channel, signal.at_ms, signal.cause)
            self._by_channel.pop(channel.name, None)
            if channel is live.vendor:
                live.vendor = None
            else:
                del self.calls[live.hunt.call.call_id]

    def _make_vendor_channel(self, live: LiveCall, signal: Signal) -> None:
        leg = live.hunt.leg
        dial = leg.dial if leg is not None else ""
        number, _, endpoint = dial.removeprefix("PJSIP/").partition("@")
        sequence = self._next_sequence()
        live.vendor = Channel(
            name=f"PJSIP/{endpoint or 'unknown'}-{sequence:08x}",
            unique_id=f"{self.name}-{signal.at_ms // 1000:010d}.{sequence}",
            linked_id=live.caller.linked_id,
            call_id=live.caller.call_id,
            leg=str(signal.leg),
            context=VENDOR_CONTEXT,
            extension=number,
            number=number,
            connected_number=live.caller.number,
            created_at_ms=signal.at_ms,
            state=ami_messages.DOWN,
        )
        live.caller.connected_number = number
        self._by_channel[live.vendor.name] = live
        self._show("Newchannel", live.vendor, signal.at_ms)

    def _show(self, name: str, channel: Channel, at_ms: int, cause: int | None = None) -> None:
        if self.ami is not None and self.ami.has_listeners:
            self.ami.send_event(ami_messages.channel_event(name, self.name, channel, at_ms, cause))

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence
