"""SIPp's processes for the vendors and callers of calls.py, and a thread that hangs up channels in mid-call."""

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.soak.calls import CALLERS, VENDORS, Call
from bench.soak.sipp_log import read_log
from bench.soak.wire import Address, Message
from configuration.asterisk.fetch import Installation
from runtime.parent import end_with_parent
from streamco.embedded.temporary import free_port

_MEDIA_PORTS: Final = range(6_000, 10_000, 4)
_TIMER_MS: Final = 10
_CALLER: Final = "1212555{:04d}"
_KILL_SECONDS: Final = 0.6
_AMI_SECONDS: Final = 10.0
_CALLS_ENDED: Final = (0, 1, 97)  # all as written, some not, out of time
_UNHURRIED_SECONDS: Final = 60  # a caller's process ends so long after its last call was to begin, however that went


def free_address(host: str) -> Address:
    """A UDP address of this host that nobody listens at now."""
    while True:
        port = free_port()
        with socket.socket(type=socket.SOCK_DGRAM) as trial, suppress(OSError):
            trial.bind((host, port))
            return host, port


class Players:
    """Starts SIPp's processes, and ends those that are left. Use as a context manager."""

    def __init__(self, programs: Installation, directory: Path, node: Address) -> None:
        """`directory`: scenarios, tables and SIPp's last words. `node`: where calls go."""
        self._programs = programs
        self._directory = directory
        self.node = node
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.addresses: dict[str, Address] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()

    def vendor(self, name: str, address: Address) -> None:
        """Let a vendor listen."""
        self._start(f"vendor-{name}", VENDORS[name](), address)

    def callers(self, name: str, calls: Sequence[Call], per_second: float, address: Address) -> subprocess.Popen[bytes]:
        """Place these calls at this rate; the process ends with the last."""
        table = self._directory / f"caller-{name}.csv"
        lines = [f"{call.number};{_CALLER.format(at)};{call.ms};" for at, call in enumerate(calls)]
        table.write_text("SEQUENTIAL\n" + "\n".join(lines) + "\n")
        count = str(len(calls))
        seconds = len(calls) / per_second + _UNHURRIED_SECONDS
        more = ["-inf", str(table), "-m", count, "-l", count, "-timeout", f"{seconds:.0f}s"]
        more += ["-r", str(max(1, round(per_second * 10))), "-rp", "10000", f"{self.node[0]}:{self.node[1]}"]
        if name == "cancels":
            more += ["-default_behaviors", "none"]
        return self._start(f"caller-{name}", CALLERS[name](), address, *more)

    def _start(self, name: str, scenario: str, address: Address, *more: str) -> subprocess.Popen[bytes]:
        path = self._directory / f"{name}.xml"
        path.write_text(scenario)
        host, port = address
        argv = [*self._programs.command("sipp"), "-sf", str(path), "-i", host, "-p", str(port), "-nostdin"]
        argv += ["-mi", host, "-mp", str(_MEDIA_PORTS[len(self.running)]), "-timer_resol", str(_TIMER_MS), *more]
        argv += ["-trace_err", "-error_file", str(self._directory / f"{name}.errors")]
        argv += ["-trace_shortmsg", "-shortmessage_file", str(self._directory / f"{name}.messages")]
        self.addresses[name] = address
        parent_pid = os.getpid()
        with (self._directory / f"{name}.out").open("wb") as output:
            self.running[name] = subprocess.Popen(
                argv,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.defpath, "TERM": "dumb", "LC_ALL": "C.UTF-8"},
                preexec_fn=lambda: end_with_parent(parent_pid),
            )
        return self.running[name]

    def messages(self) -> list[Message]:
        """What SIPp's own logs say, in the order of their time: a witness where packets cannot be seen."""
        found: list[Message] = []
        for name, address in self.addresses.items():
            path = self._directory / f"{name}.messages"
            if path.exists():
                found += read_log(path.read_text(errors="replace"), address, self.node)
        return sorted(found, key=lambda message: message.at_us)

    def check(self) -> None:
        """Raises RuntimeError when a vendor's process has ended, or a caller's without calls."""
        for name, process in self.running.items():
            code = process.poll()
            if code is not None and (name.startswith("vendor-") or code not in _CALLS_ENDED):
                said = self._directory / f"{name}.errors"
                text = said.read_text(errors="replace")[-1_000:] if said.exists() else ""
                raise RuntimeError(f"{name} has ended with {code}: {text}")


class CutOff:
    """Hangs up what is up of some endpoints, in turns, now and then. Use as a context manager."""

    def __init__(self, ami: Address, user: str, secret: str, endpoints: Sequence[str]) -> None:
        """`endpoints`: PJSIP's names, of customers and of vendors."""
        self._patterns = [f"/^PJSIP\\/{re.escape(name)}-.*$/" for name in endpoints]
        self._socket = socket.create_connection(ami, timeout=_AMI_SECONDS)
        self._ask(Action="Login", Username=user, Secret=secret, Events="off")
        self.hung_up = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="cut-off", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()

    def _work(self) -> None:
        at = 0
        while not self._ending.wait(_KILL_SECONDS):
            answer = self._ask(Action="Hangup", Channel=self._patterns[at % len(self._patterns)])
            self.hung_up += answer.count("ChannelHungup")
            at += 1

    def _ask(self, **action: str) -> str:
        text = "".join(f"{name}: {value}\r\n" for name, value in action.items())
        self._socket.sendall((text + "\r\n").encode())
        answer = b""
        deadline = time.monotonic() + _AMI_SECONDS
        while b"\r\n\r\n" not in answer.partition(b"Response:")[2]:
            if time.monotonic() > deadline or not (got := self._socket.recv(65_536)):
                raise RuntimeError(f"AMI does not answer {action['Action']}: {answer[-300:]!r}")
            answer += got
        return answer.decode("utf-8", "replace")
