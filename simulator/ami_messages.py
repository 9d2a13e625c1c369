"""AMI on the wire as Asterisk 22 writes it: the channel events, the answers to actions, and the reading of an action.

Pure. Only what a node agent uses is here: login, FullyBooted, CoreStatus, Ping, Status with channel variables, Hangup,
and the events Newchannel, Newstate and Hangup.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

GREETING: Final = b"Asterisk Call Manager/11.0.0\r\n"
MAX_ACTION_BYTES: Final = 16_384
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
DOWN, RING, RINGING, UP = 0, 4, 5, 6
_STATE_NAMES: Final = {DOWN: "Down", RING: "Ring", RINGING: "Ringing", UP: "Up"}
CAUSE_TEXTS: Final[dict[int, str]] = {
    0: "Unknown", 1: "Unallocated (unassigned) number", 3: "No route to destination", 16: "Normal Clearing",
    17: "User busy", 18: "No user responding", 19: "User alerting, no answer", 21: "Call Rejected",
    27: "Destination out of order", 28: "Invalid number format", 31: "Normal, unspecified",
    34: "Circuit/channel congestion",
    38: "Network out of order", 42: "Switching equipment congestion", 44: "Requested channel not available",
    127: "Interworking, unspecified",
}  # fmt: skip


@dataclass(slots=True)
class Channel:
    """One live channel of a fake node. `leg` is '' on the caller's channel; moments in unix ms of the node's clock."""

    name: str
    unique_id: str
    linked_id: str
    call_id: str
    leg: str
    context: str
    extension: str
    number: str
    connected_number: str
    created_at_ms: int
    state: int
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def account_code(self) -> str:
        """The call's id, on a vendor's channel the leg's."""
        return f"{self.call_id}/{self.leg}" if self.leg else self.call_id


def parse_action(raw: bytes) -> dict[str, str]:
    """The headers of one action, names in lower case; of a repeated header the last."""
    headers: dict[str, str] = {}
    for line in raw.decode("utf-8", "replace").split("\n"):
        name, colon, value = line.rstrip("\r").partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


def response(action: dict[str, str], kind: str, *lines: str) -> bytes:
    """The answer to an action, with its ActionID where it had one."""
    return _message(f"Response: {kind}", *_action_id(action), *lines)


def event(name: str, privilege: str, *lines: str) -> bytes:
    """An event."""
    return _message(f"Event: {name}", f"Privilege: {privilege}", *lines)


def fully_booted(uptime_seconds: int) -> bytes:
    """The event after a login: how long this Asterisk has been up."""
    return event(
        "FullyBooted",
        "system,all",
        f"Uptime: {uptime_seconds}",
        f"LastReload: {uptime_seconds}",
        "Status: Fully Booted",
    )


def core_status(action: dict[str, str], started_ms: int) -> bytes:
    """The answer to CoreStatus: when this Asterisk started."""
    date, _, clock = datetime.fromtimestamp(started_ms // 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S").partition(" ")
    startup = (f"CoreStartupDate: {date}", f"CoreStartupTime: {clock}")
    reload = (f"CoreReloadDate: {date}", f"CoreReloadTime: {clock}")
    return response(action, "Success", *startup, *reload, "CoreCurrentCalls: 0")


def channel_event(name: str, node: str, channel: Channel, at_ms: int, cause: int | None = None) -> bytes:
    """Newchannel, Newstate or Hangup (with its cause) of a channel."""
    lines = [f"Timestamp: {at_ms // 1000}.{at_ms % 1000:03d}000", f"SystemName: {node}", *_snapshot(channel)]
    if cause is not None:
        lines += [f"Cause: {cause}", f"Cause-txt: {CAUSE_TEXTS.get(cause, 'Unknown')}"]
    return event(name, "call,all", *lines)


def status_event(action: dict[str, str], channel: Channel, now_ms: int) -> bytes:
    """One channel of the answer to Status, with the variables that the action asked for."""
    asked = [name for name in action.get("variables", "").split(",") if name]
    values = channel.variables
    is_caller = channel.leg == ""
    return event(
        "Status",
        "Call",
        *_snapshot(channel),
        "Type: PJSIP",
        f"DNID: {_clean(channel.extension) if is_caller else ''}",
        f"EffectiveConnectedLineNum: {_clean(channel.connected_number)}",
        "EffectiveConnectedLineName: <unknown>",
        "TimeToHangup: 0",
        "BridgeID: ",
        f"Application: {'Dial' if is_caller else 'AppDial'}",
        f"Data: {'' if is_caller else '(Outgoing Line)'}",
        "Nativeformats: (alaw)",
        f"Seconds: {max(0, now_ms - channel.created_at_ms) // 1000}",
        *(f"Variable: {_clean(name)}={values.get(name) or '(null)'}" for name in asked[:20]),
        *_action_id(action),
    )


def status_complete(action: dict[str, str], items: int) -> bytes:
    """The end of the answer to Status."""
    lines = (*_action_id(action), "EventList: Complete", f"ListItems: {items}", f"Items: {items}")
    return _message("Event: StatusComplete", *lines)


def _snapshot(channel: Channel) -> list[str]:
    return [
        f"Channel: {_clean(channel.name)}",
        f"ChannelState: {channel.state}",
        f"ChannelStateDesc: {_STATE_NAMES[channel.state]}",
        f"CallerIDNum: {_clean(channel.number) or '<unknown>'}",
        "CallerIDName: <unknown>",
        f"ConnectedLineNum: {_clean(channel.connected_number) or '<unknown>'}",
        "ConnectedLineName: <unknown>",
        "Language: en",
        f"AccountCode: {channel.account_code}",
        f"Context: {channel.context}",
        f"Exten: {_clean(channel.extension)}",
        "Priority: 1",
        f"Uniqueid: {channel.unique_id}",
        f"Linkedid: {channel.linked_id}",
    ]


def _action_id(action: dict[str, str]) -> tuple[str, ...]:
    return (f"ActionID: {_clean(action['actionid'])}",) if action.get("actionid") else ()


def _clean(text: str) -> str:
    """Wire text must not begin a header of its own."""
    return _CONTROL.sub("", text)


def _message(*lines: str) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
