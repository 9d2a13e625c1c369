"""The agent's state on disk (agent.json), and the lock that keeps a second agent off the same journal (agent.lock)."""

import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from agent.journal.marks import STATE_VERSION, AgentState
from runtime.disk import is_full

log = structlog.get_logger(__name__)
STATE_NAME: Final = "agent.json"
LOCK_NAME: Final = "agent.lock"
_decoder: Final = msgspec.json.Decoder(AgentState)


class AgentError(Exception):
    """What keeps an agent from its work. The text is for the user."""


class NodeLock:
    """Held as long as this process lives; the kernel lets it go with the process, however that ends."""

    def __init__(self, directory: Path, node: str) -> None:
        """Take the lock. Raises AgentError where another agent has it."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / LOCK_NAME
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise AgentError(f"node {node}: another agent (process {holder}) reads {directory / 'journal'}") from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            if not is_full(error):
                raise
            log.error("the lock is held, but its file does not say by whom: the disk is full", path=str(path))  # noqa: TRY400

    def release(self) -> None:
        """Let it go."""
        os.close(self._descriptor)


def load_state(directory: Path) -> AgentState:
    """The stored state; a fresh one if there is none. Raises AgentError for a file that is not ours.

    A state that cannot be read is not guessed at: to begin anew is harmless, but it is the user's to decide.
    """
    path = directory / STATE_NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return AgentState()
    try:
        state = _decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise AgentError(f"{path}: {error}; remove it and the whole journal is read again, harmlessly") from error
    if state.v != STATE_VERSION:
        raise AgentError(f"{path}: version {state.v}: this program reads version {STATE_VERSION}")
    return state


def store_state(directory: Path, state: AgentState) -> None:
    """Replace the stored state, whole, and on the disk before this returns. Raises OSError."""
    path = directory / STATE_NAME
    part = path.with_name(f"{STATE_NAME}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:  # writes all of it, or raises: a disk that fills up takes a part
        file.write(msgspec.json.encode(state))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_epoch(directory: Path) -> int:
    """The epoch that the node's last start was issued; 0 if none is there. Raises AgentError for another text."""
    path = directory / "epoch"
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise AgentError(f"{path}: {text[:40]!r} is no epoch: must be unix seconds")
    return int(text)
