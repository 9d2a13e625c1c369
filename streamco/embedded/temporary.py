"""Servers for tests and benches: in a temporary directory, on free ports, ended when their owner ends, however it does.

A small reaper process holds the read end of a pipe whose other end only the owner has. When the owner closes it, or is
killed, the reaper ends what is left of the servers and removes the directory.
"""

import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil

from streamco.embedded.server import Server, ServerError
from streamco.embedded.settings import LOOPBACK
from streamco.handover import standard_input

START_SECONDS: Final = 90.0
PORTS = range(20_000, 32_000)  # of free_port; test processes side by side each have a part of it
_POLL_SECONDS: Final = 0.05


_given: set[int] = set()  # whoever has got one may not listen yet


def free_port() -> int:
    """A loopback port below 32768 that nobody listens on now, and that this process has not been given before.

    When most of them were given, all of them may be again. Raises ServerError.
    """
    if 2 * len(_given) > len(PORTS):
        _given.clear()
    for _ in range(1000):
        port = random.choice(PORTS)  # noqa: S311 - a choice, no secret
        if take_port(port):
            return port
    raise ServerError(f"no free port between {PORTS.start} and {PORTS.stop}")


def take_port(port: int) -> bool:
    """Whether this port is free, and was given to nobody: now it is."""
    if port in _given:
        return False
    with socket.socket() as trial:
        try:
            trial.bind((LOOPBACK, port))
        except OSError:
            return False
    _given.add(port)
    return True


def password() -> str:
    """A password for a server that lives a few minutes."""
    return secrets.token_urlsafe(16)


class TemporaryServers:
    """Starts servers and ends them. Use as a context manager. `directory` is where their data should be."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="streamco-"))
        self._running: dict[str, tuple[Server, subprocess.Popen[bytes]]] = {}
        command = [sys.executable, "-m", "streamco.embedded.temporary", str(self.directory)]
        self._reaper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def __enter__(self) -> "TemporaryServers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, server: Server, *, seconds: float = START_SECONDS) -> subprocess.Popen[bytes]:
        """Prepare and start a server, return when it is healthy. Raises ServerError with the end of its log."""
        server.prepare(lambda _: None)
        log = self.directory / f"{server.name}.log"
        with log.open("ab") as output, standard_input(server.given) as given:
            process = subprocess.Popen(
                server.argv,
                env=dict(server.env),
                cwd=server.directory,
                stdin=given,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._running[server.name] = (server, process)
        self._tell_reaper(process.pid)
        self.await_healthy(server, process, seconds=seconds)
        return process

    def await_healthy(
        self, server: Server, process: subprocess.Popen[bytes], *, seconds: float = START_SECONDS
    ) -> None:
        """Return when the server does what it is for. Raises ServerError."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return server.healthy()
            except ServerError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    log = (self.directory / f"{server.name}.log").read_text(errors="replace")[-3000:]
                    raise ServerError(f"{server.name} did not start ({process.poll()}): {error}\n{log}") from error
            time.sleep(_POLL_SECONDS)

    def stop(self, name: str) -> int:
        """End one server as the supervisor would; its exit code."""
        server, process = self._running.pop(name)
        process.send_signal(server.stop_signal)
        try:
            return process.wait(server.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def close(self) -> None:
        """End everything, last started first, and remove the directory."""
        for name in reversed(list(self._running)):
            self.stop(name)
        if self._reaper.stdin is not None:
            self._reaper.stdin.close()
        self._reaper.wait(30)

    def _tell_reaper(self, pid: int) -> None:
        if self._reaper.stdin is None:
            return
        identity = [pid, psutil.Process(pid).create_time()]  # a pid alone may come round again
        self._reaper.stdin.write(json.dumps(identity).encode() + b"\n")
        self._reaper.stdin.flush()


def _reap(directory: Path) -> None:
    """Wait for the owner's end, then end the servers that he named and remove their directory."""
    # Owner gone is end of file here; every line before that is one server.
    known = [json.loads(line) for line in sys.stdin]
    left = []
    for pid, created in known:
        try:
            process = psutil.Process(pid)
            if process.create_time() == created:
                process.terminate()
                left.append(process)
        except psutil.NoSuchProcess:
            continue
    _, stubborn = psutil.wait_procs(left, timeout=10)
    for process in stubborn:
        process.kill()
    os.chdir("/")
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _reap(Path(sys.argv[1]))
