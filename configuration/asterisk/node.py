"""Keeps one Asterisk: writes its files for the configured world, starts it, reloads it on change, ends it with care.

It is Asterisk's parent and ends when Asterisk does; Asterisk ends with it. A stop lets Asterisk hang up what is up, so
that every call has its last line in the journal.
"""

import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg
import structlog

from configuration.asterisk.fetch import Installation, installation
from configuration.asterisk.reader import read_peers, report_transports
from configuration.asterisk.render import Places, pjsip_file, render
from configuration.settings import NodeSettings
from runtime.heartbeat import send_beat
from runtime.parent import end_with_parent
from schemas.channels import CONFIGURATION
from sinks.epochs import issue_epoch

log = structlog.get_logger(__name__)
_BOOT_SECONDS: Final = 30.0
_CHECK_SECONDS: Final = 2.0
_COMMAND_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 18.0
_CONNECT_SECONDS: Final = 5
_POLL_SECONDS: Final = 0.1
_LONGEST_SOCKET_PATH: Final = 100
_OPEN_FILES: Final = 65_536


class NodeError(Exception):
    """Asterisk cannot be kept at work. The text is for the user."""


def require_free(host: str, port: int, kind: socket.SocketKind, name: str) -> None:
    """Raise NodeError where nothing could listen: Asterisk itself would start all the same, deaf."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as trial:
        if kind is socket.SOCK_STREAM:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise NodeError(f"port {port} of {host} for {name} is not free ({error.strerror})") from error


class Node:
    """Asterisk with its files. `start`, then `check` now and then, then `stop`."""

    def __init__(self, settings: NodeSettings, programs: Installation) -> None:
        """Nothing is done yet."""
        self._settings = settings
        self._programs = programs
        self._etc = settings.directory / "etc"
        self._run = settings.directory / "run"
        self._process: subprocess.Popen[bytes] | None = None
        if len(str(self._run / "asterisk.ctl")) > _LONGEST_SOCKET_PATH:
            raise NodeError(f"{self._run}: its socket needs a path of at most {_LONGEST_SOCKET_PATH} characters")

    def start(self) -> None:
        """Write everything and start; returns when Asterisk is fully booted. Raises NodeError, psycopg.Error."""
        settings = self._settings
        require_free(settings.sip_host, settings.sip_port, socket.SOCK_DGRAM, "SIP")
        if settings.sip_host_ipv6:
            require_free(settings.sip_host_ipv6, settings.sip_port, socket.SOCK_DGRAM, "SIP")
        require_free(settings.ami_host, settings.ami_port, socket.SOCK_STREAM, "AMI")
        self._make_directories()
        with self._connect() as connection:
            report_transports(connection, settings)
            peers = read_peers(connection, settings.node)
        epoch = issue_epoch(settings.directory, int(time.time()))
        places = Places(
            etc=str(self._etc),
            run=str(self._run),
            modules=str(self._programs.modules),
            data=str(self._programs.data),
            sbin=str(self._programs.root / "usr/sbin"),
        )
        for name, text in render(settings, peers, places, epoch).items():
            self._write(name, text)
        log.info("asterisk starts", node=settings.node, epoch=epoch, peers=len(peers))
        parent_pid = os.getpid()
        command = [*self._programs.command("asterisk"), "-f", "-n", "-C", str(self._etc / "asterisk.conf")]
        self._process = subprocess.Popen(
            command,
            cwd=self._run,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.defpath, "HOME": str(self._run), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            preexec_fn=lambda: _in_child(parent_pid),
        )
        (self._run / "asterisk.pid").write_text(str(self._process.pid))
        self._await_boot()

    def _make_directories(self) -> None:
        self._etc.mkdir(parents=True, exist_ok=True, mode=0o700)
        journal = self._settings.directory / "journal"
        journal.mkdir(exist_ok=True)
        for name in ("var", "spool", "log"):
            (self._run / name).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._run / "var", ignore_errors=True)  # a database of registrations: nothing of ours is in it
        (self._run / "var").mkdir()
        custom = self._run / "log" / "cel-custom"
        if not custom.is_symlink():
            custom.symlink_to(journal, target_is_directory=True)  # where cel_custom writes

    def _write(self, name: str, text: str) -> None:
        part = self._etc / f"{name}.part"
        part.touch(mode=0o600)
        part.write_text(text)
        part.replace(self._etc / name)

    def _connect(self) -> psycopg.Connection[Any]:
        dsn = self._settings.postgres.dsn.get_secret_value()
        return psycopg.connect(
            dsn, connect_timeout=_CONNECT_SECONDS, autocommit=True, application_name=f"asterisk {self._settings.node}"
        )

    def listen(self) -> psycopg.Connection[Any]:
        """A connection that hears of every change of the configuration."""
        connection = self._connect()
        connection.execute(f"LISTEN {CONFIGURATION}")
        return connection

    def _await_boot(self) -> None:
        deadline = time.monotonic() + _BOOT_SECONDS
        while "fully booted" not in self.command("core waitfullybooted"):
            self.check()
            if time.monotonic() > deadline:
                raise NodeError(f"Asterisk did not boot in {_BOOT_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        log.info("asterisk is fully booted", node=self._settings.node)

    def check(self) -> None:
        """Raises NodeError when Asterisk has ended."""
        if self._process is None or (code := self._process.poll()) is not None:
            raise NodeError(f"Asterisk ended with code {code if self._process else None}")

    def command(self, text: str) -> str:
        """What Asterisk's own console answers; empty when it does not."""
        command = [*self._programs.command("asterisk"), "-C", str(self._etc / "asterisk.conf"), "-rx", text]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout if done.returncode == 0 else ""

    def reload(self, connection: psycopg.Connection[Any]) -> bool:
        """Render the peers anew; True when they changed and PJSIP was reloaded. Calls in progress go on."""
        text = pjsip_file(self._settings, read_peers(connection, self._settings.node))
        if (self._etc / "pjsip.conf").read_text() == text:
            return False
        self._write("pjsip.conf", text)
        answer = self.command("module reload res_pjsip.so").strip()
        log.info("peers changed: PJSIP reloaded", node=self._settings.node, answer=answer[:200])
        return True

    def stop(self) -> None:
        """Hang up what is up, let the journal be written, end."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        self.command("core stop now")
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.error("asterisk did not end in time and is killed")  # noqa: TRY400
            process.kill()
            process.wait()
        (self._run / "asterisk.pid").unlink(missing_ok=True)


def _in_child(parent_pid: int) -> None:
    """Between fork and exec: end with the launcher, and have room for the sockets of thousands of calls."""
    end_with_parent(parent_pid)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def run(settings: NodeSettings) -> None:
    """Keep the node until SIGTERM. Raises NodeError, FetchError, psycopg.Error: then Asterisk has ended too."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    programs = installation(settings.cache, lambda text: log.info("set-up", text=text))
    node = Node(settings, programs)
    try:
        node.start()
        _keep(node, settings, lambda: bool(stopping))
    finally:
        node.stop()
        log.info("node ends", node=settings.node)


def _keep(node: Node, settings: NodeSettings, stopping: Callable[[], bool]) -> None:
    """Watch Asterisk and the configuration; PostgreSQL away: the peers stay as they are."""
    connection: psycopg.Connection[Any] | None = None
    next_check = 0.0
    while not stopping():
        node.check()
        now = time.monotonic()
        if now >= next_check:
            next_check = now + _CHECK_SECONDS
            uptime = node.command("core show uptime seconds")
            send_beat(settings.beat, ok=bool(uptime), detail=" ".join(uptime.split())[:100] or "its console is silent")
        connection = _follow(node, connection)
    if connection is not None:
        connection.close()


def _follow(node: Node, connection: psycopg.Connection[Any] | None) -> psycopg.Connection[Any] | None:
    """Wait a moment for a change of the configuration and take it over; the connection to go on with."""
    try:
        if connection is None:
            connection = node.listen()
            node.reload(connection)
        if list(connection.notifies(timeout=_POLL_SECONDS * 5, stop_after=1)):
            node.reload(connection)
    except psycopg.Error as error:
        log.warning("PostgreSQL away: the peers stay as they are", error=str(error).strip()[:200])
        time.sleep(_POLL_SECONDS * 10)
        return None
    return connection
