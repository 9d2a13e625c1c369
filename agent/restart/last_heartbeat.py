"""The last heartbeat of each start of Asterisk, kept on disk: what a crash leaves behind is closed by it.

heartbeats/EPOCH.json in the node's directory, replaced whole at every heartbeat. The files of the last epochs stay, so
that whoever reads a journal again from its beginning makes the same estimates again.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from agent.state_file import AgentError
from schemas.events import ActiveChannel

FOLDER: Final = "heartbeats"
KEPT_EPOCHS: Final = 100
_VERSION: Final = 1


class Talk(msgspec.Struct, frozen=True, array_like=True):
    """When a call was answered: by the node's wall clock, and by the machine's monotonic one."""

    seen_at_ms: int
    monotonic_ms: int


class LastHeartbeat(msgspec.Struct, frozen=True):
    """`at_ms`: on the node's wall clock. `calls`: those that were there; None: not answered yet."""

    epoch: int
    at_ms: int
    monotonic_ms: int
    calls: dict[str, Talk | None]
    v: int = _VERSION

    def talk_ms(self, call_id: str, answered_at_ms: int) -> int:
        """How long a call that was answered then had talked, at this heartbeat. The wall clock may be set meanwhile:
        it counts only from the answer to when the agent heard of it.
        """
        talk = self.calls.get(call_id)
        if talk is None:
            return 0
        return max(0, talk.seen_at_ms - answered_at_ms) + max(0, self.monotonic_ms - talk.monotonic_ms)


def next_heartbeat(
    before: LastHeartbeat | None,
    epoch: int,
    at_ms: int,
    monotonic_ms: int,
    calls: Iterable[ActiveChannel],
    answered_at_ms: Mapping[str, int] = MappingProxyType({}),
) -> LastHeartbeat:
    """The heartbeat after `before`, of the calls that are there now. `answered_at_ms`: when they were answered, on the
    monotonic clock; those that it lacks, now. Pure.
    """
    talks = before.calls if before is not None and before.epoch == epoch else {}
    there: dict[str, Talk | None] = {}
    for call in calls:
        heard_ms = answered_at_ms.get(call.call_id, monotonic_ms)
        now = Talk(at_ms - (monotonic_ms - heard_ms), heard_ms)
        there[call.call_id] = (talks.get(call.call_id) or now) if call.answered else None
    return LastHeartbeat(epoch, at_ms, monotonic_ms, there)


def load_heartbeat(directory: Path, epoch: int) -> LastHeartbeat | None:
    """The last heartbeat of an epoch; None if none was kept. Raises AgentError for a file that is not ours."""
    path = directory / FOLDER / f"{epoch}.json"
    try:
        heartbeat = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise AgentError(f"{path}: {error}; without it the epoch's open calls are closed at their last line") from error
    if heartbeat.v != _VERSION or heartbeat.epoch != epoch:
        raise AgentError(f"{path}: version {heartbeat.v} of epoch {heartbeat.epoch}: must be {_VERSION} of {epoch}")
    return heartbeat


def store_heartbeat(directory: Path, heartbeat: LastHeartbeat) -> None:
    """Replace the epoch's file, whole, and on the disk before this returns. Raises OSError."""
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{heartbeat.epoch}.json"
    is_new = not path.exists()
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(msgspec.json.encode(heartbeat))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    if is_new:
        for old in sorted(folder.glob("[0-9]*.json"), key=lambda one: one.stem.zfill(20))[:-KEPT_EPOCHS]:
            old.unlink(missing_ok=True)


_decoder: Final = msgspec.json.Decoder(LastHeartbeat)
