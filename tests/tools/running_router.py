"""A router's process on a PostgreSQL, asked over AGI."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from agi_client import SECRET, ask, header

from runtime.parent import end_with_parent
from streamco.embedded.temporary import free_port

NUMBER = "447700900123"
PROGRAM = """
import sys
from pathlib import Path
from pydantic import SecretStr
from router.server.main import run
from router.settings import RouterSettings, SnapshotSettings
from runtime.connections import Kafka, Postgres
dsn, directory, port, secret = sys.argv[1:]
directory = Path(directory)
run(RouterSettings(
    snapshot=SnapshotSettings(
        postgres=Postgres(dsn=SecretStr(dsn)), directory=directory / "snapshot", debounce_seconds=0.05
    ),
    kafka=Kafka(bootstrap="127.0.0.1:9"), spool=directory / "spool.sqlite", port=int(port), beat=directory / "beat",
    agi_secret=SecretStr(secret), sessions=directory / "sessions",
))
"""


class Running:
    """A router process."""

    def __init__(self, dsn: str, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        self._asked: Counter[int] = Counter()
        self.log = (directory / f"log-{self.port}").open("wb")
        parent_pid = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, dsn, str(directory), str(self.port), SECRET],
            stderr=self.log,
            stdout=self.log,
            preexec_fn=lambda: end_with_parent(parent_pid),
        )

    async def until_ready(self) -> None:
        deadline = time.monotonic() + 20
        while not self.beats():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            await asyncio.sleep(0.05)

    def beats(self) -> bool:
        # The beat may be another router's of the same directory: this one listens, too.
        with socket.socket() as probe:
            return (self.directory / "beat").exists() and probe.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self) -> str:
        return Path(self.log.name).read_text()

    async def call(self, number: int, callee: str = NUMBER, address: str = "127.0.0.10:5060") -> dict[str, str] | None:
        """The variables of one call. The same number again is a call of a later start of Asterisk."""
        call_id = f"ast1-{1795609861 + self._asked[number]}-1795609900.{number}"
        self._asked[number] += 1
        return await ask(self.port, header(call_id, "c-buyer", address, callee, "12125550123"))

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(10) == 0
        self.log.close()
