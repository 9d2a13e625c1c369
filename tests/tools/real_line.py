"""A real Asterisk, SIPp's vendors and callers, and the real router on a seeded PostgreSQL: what SIP calls run on.

Everything listens on free ports of loopback addresses, so that tests run beside a demo; the peers' ports in the seeded
world are changed accordingly. The journal is read straight from the node's directory.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

import psycopg
from agi_client import SECRET
from ports import asterisk_media_port, sipp_media_port
from sip_call import Call, Placed, calls_in

from configuration.asterisk.fetch import Installation
from runtime.parent import end_with_parent
from schemas.agi_digest import node_key_text
from simulator.market.seed import seed
from simulator.sipp import scenarios
from streamco.embedded.temporary import free_port

NODE: Final = "ast1"
# On a busy machine the router or PostgreSQL may be late for a moment: such a call says nothing of what a test is about.
LATE: Final = frozenset(("OVERLOAD", "DATABASE UNAVAILABLE", "ROUTER UNAVAILABLE"))
CALLER: Final = "12125550123"
RING_LIMIT_SECONDS: Final = 2  # of vendor 5, who never answers
LONGEST_CALL_SECONDS: Final = 1  # of the customer at SHORT_CALLS
PREFIX: Final = "777"  # of a second customer at the address of the first
RICH, PENNILESS, ONE_AT_A_TIME, SHORT_CALLS, STRANGER = (f"127.0.0.{n}" for n in (10, 11, 12, 13, 99))
_ROUTER: Final = """
import sys
from pathlib import Path
from pydantic import SecretStr
from router.server.main import run
from router.settings import RouterSettings, SnapshotSettings
from runtime.connections import Kafka, Postgres
dsn, directory, port, hold_seconds, secret = sys.argv[1:]
directory = Path(directory)
run(RouterSettings(
    snapshot=SnapshotSettings(
        postgres=Postgres(dsn=SecretStr(dsn)), directory=directory / "snapshot", debounce_seconds=0
    ),
    kafka=Kafka(bootstrap="127.0.0.1:9"), spool=directory / "spool.sqlite", port=int(port), beat=directory / "beat",
    hold_seconds=int(hold_seconds), agi_secret=SecretStr(secret), sessions=directory / "sessions",
))
"""
_NODE: Final = """
import sys
from configuration.asterisk.node import run
from configuration.settings import NodeSettings
run(NodeSettings.model_validate_json(sys.argv[1]))
"""
_WAIT_SECONDS: Final = 30.0
# What vendor 3 refuses with, as the number says; the seeded world's 99923… is not among them: busy.
HEP_SECRET: Final = "hep-secret"
VENDOR_CODES: Final = (
    400, 401, 402, 403, 404, 405, 406, 407, 408, 410, 413, 414, 415, 416, 420, 421, 423, 480, 481, 482, 483, 484, 485,
    486, 487, 488, 489, 491, 493, 500, 501, 502, 503, 504, 505, 513, 580, 600, 603, 604, 606, 607, 608,
)  # fmt: skip


@dataclass
class Line:
    """The whole of it. `start` before anything else, `close` at the end."""

    dsn: str
    directory: Path
    programs: Installation
    cache: Path
    router_port: int = field(default_factory=free_port)
    sip_port: int = field(default_factory=free_port)
    ami_port: int = field(default_factory=free_port)
    hep_port: int = field(default_factory=free_port)  # where an agent of a test may take copies of SIP messages
    rtp_port: int = field(default_factory=asterisk_media_port)
    node_prelude: str = ""  # Python that the launcher runs before all else
    node_settings: dict[str, object] = field(default_factory=dict)  # of the node, beside the line's own
    _running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _used_ports: set[int] = field(default_factory=set)  # of SIPp: a call is known by its caller's

    @property
    def journal(self) -> Path:
        """The node's journal."""
        return self.directory / "node" / "journal" / "Master.csv"

    def start(self) -> None:
        """Seed the world, start router, vendors and Asterisk; returns when all are ready for a call."""
        seed(self.dsn)
        self._adapt_world()
        self.start_router()
        self._start_vendors()
        self.start_node()
        self.await_router()
        self.await_node()

    def close(self) -> None:
        """End every process, the node first, so that it may write its last lines."""
        for name in ("node", *(name for name in self._running if name != "node")):
            process = self._running.get(name)
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()

    # ---- parts

    def start_router(self, hold_seconds: int = 60) -> None:
        """The router's process, on the same port as before."""
        (self.directory / "beat").unlink(missing_ok=True)
        values = (self.dsn, str(self.directory), str(self.router_port), str(hold_seconds), SECRET)
        self._spawn("router", [sys.executable, "-c", _ROUTER, *values])

    def kill_router(self) -> None:
        """kill -9, and until the port is free again."""
        self._running["router"].kill()
        self._running.pop("router").wait()

    def await_router(self) -> None:
        """Until the router answers."""
        self._until(self._router_beats, lambda: "the router")

    def _adapt_world(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for number in range(1, 7):
                connection.execute(
                    "UPDATE peers SET port = %s WHERE name = %s",
                    (self._sip_port_of(f"127.0.0.2{number}"), f"sipp-vendor-{number}"),
                )
            connection.execute("UPDATE peers SET ring_seconds = %s WHERE name = 'sipp-vendor-5'", (RING_LIMIT_SECONDS,))
            connection.execute(  # one who may not talk for long
                "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id,"
                " route_class_id, max_call_seconds)"
                " SELECT company_id, 'sipp-customer-4', role, 'c-sipp-customer-4', %s, account_id, pack_id,"
                " deck_id, route_class_id, %s FROM peers WHERE name = 'sipp-customer-1'",
                (SHORT_CALLS, LONGEST_CALL_SECONDS),
            )
            connection.execute(  # another customer at the first one's address, told apart by his prefix
                "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id,"
                " route_class_id, tech_prefix)"
                " SELECT company_id, 'sipp-customer-5', role, 'c-sipp-customer-5', %s, account_id, pack_id, deck_id,"
                " route_class_id, %s FROM peers WHERE name = 'sipp-customer-3'",
                (RICH, PREFIX),
            )
            connection.execute(
                "INSERT INTO peer_nodes SELECT peer_id, node_id FROM peers, nodes"
                " WHERE peers.name IN ('sipp-customer-4', 'sipp-customer-5') AND nodes.name = %s",
                (NODE,),
            )

    def _start_vendors(self) -> None:
        texts: dict[int, str] = {
            1: scenarios.vendor_refuses(503, "Service Unavailable", 34),
            2: scenarios.vendor_answers(),
            3: scenarios.vendor_refuses_as_told(VENDOR_CODES),
            5: scenarios.vendor_rings(),
            6: scenarios.vendor_refuses(503, "Service Unavailable", 34),
        }
        with psycopg.connect(self.dsn) as connection:
            ports = dict(connection.execute("SELECT name, port FROM peers WHERE role = 'terminator'").fetchall())
        for number, text in texts.items():
            name = f"vendor-{number}"
            self._sipp(name, text, f"127.0.0.{20 + number}", ports[f"sipp-{name}"])

    def _sip_port_is_free(self) -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as trial:
            try:
                trial.bind(("127.0.0.1", self.sip_port))
            except OSError:
                return False
        return True

    def start_node(self, **changes: object) -> "subprocess.Popen[bytes]":
        """The launcher of the node; `changes` are settings other than the line's. It may not be ready yet."""
        directory = self.directory / "node"
        (directory / "beat").unlink(missing_ok=True)
        settings: dict[str, object] = {
            "node": NODE,
            "directory": str(directory),
            "postgres": {"dsn": self.dsn},
            "router": f"127.0.0.1:{self.router_port}",
            "ami_port": self.ami_port,
            "agi_key": node_key_text(SECRET, NODE),
            "ami_secret": "right-secret",
            "sip_port": self.sip_port,
            "hep_port": self.hep_port,
            "hep_secret": HEP_SECRET,
            "rtp_port_first": self.rtp_port,
            "rtp_port_last": self.rtp_port + 199,
            "cache": str(self.cache),
            "beat": str(directory / "beat"),
        }
        settings |= self.node_settings | changes
        Path(str(settings["directory"])).mkdir(exist_ok=True)
        name = "node" if not changes else "other-node"
        if not changes:  # the Asterisk before may hold it for a moment after its launcher has ended
            deadline = time.monotonic() + _WAIT_SECONDS
            while not self._sip_port_is_free() and time.monotonic() < deadline:
                time.sleep(0.1)
        return self._spawn(name, [sys.executable, "-c", self.node_prelude + _NODE, json.dumps(settings)])

    def await_node(self) -> None:
        """Until Asterisk takes calls and knows which vendors answer."""
        self._until((self.directory / "node" / "beat").exists, lambda: "the node")
        self._until(self._vendors_known, lambda: "PJSIP to know which vendors answer")

    @property
    def node(self) -> "subprocess.Popen[bytes]":
        """The launcher."""
        return self._running["node"]

    @property
    def router_pid(self) -> int:
        """The router."""
        return self._running["router"].pid

    @property
    def asterisk_pid(self) -> int:
        """Asterisk itself."""
        return int((self.directory / "node" / "run" / "asterisk.pid").read_text())

    def console(self, command: str) -> str:
        """What Asterisk's console answers."""
        etc = self.directory / "node" / "etc" / "asterisk.conf"
        argv = [*self.programs.command("asterisk"), "-C", str(etc), "-rx", command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout

    def _vendors_known(self) -> bool:
        """All vendors answer PJSIP's OPTIONS but the fourth, and PJSIP knows that he does not."""
        contacts = [line for line in self.console("pjsip show contacts").splitlines() if "v-sipp-vendor-" in line]
        wanted = (" Unavail " if "v-sipp-vendor-4/" in line else " Avail " for line in contacts)
        return len(contacts) == 6 and all(word in line for word, line in zip(wanted, contacts, strict=True))

    def _router_beats(self) -> bool:
        return (self.directory / "beat").exists()

    # ---- calls

    def call(self, name: str, callee: str, scenario: str, host: str = RICH, port: int | None = None) -> Placed:
        """Begin a call and return at once."""
        port = port or self._sip_port_of(host)
        process = self._sipp(
            name, scenario, host, port, "-s", callee, "-m", "1", f"127.0.0.1:{self.sip_port}", "-timeout", "25",
            "-trace_shortmsg", "-shortmessage_file", str(self.directory / f"{name}.messages"),
            "-trace_msg", "-message_file", str(self.directory / f"{name}.whole"),
        )  # fmt: skip
        return Placed(name, f"{host}:{port}", process, self.directory)

    def calls(self, name: str, callees: Sequence[str], scenario: str, rate: int, host: str = RICH) -> Placed:
        """Begin a call to each of these numbers from one address, so many a second. Call-IDs begin with their order."""
        table = self.directory / f"{name}.csv"
        table.write_text("SEQUENTIAL\n" + "".join(f"{callee};{CALLER};\n" for callee in callees))
        port, count = self._sip_port_of(host), str(len(callees))
        process = self._sipp(
            name, scenario, host, port, "-inf", str(table), "-m", count, "-l", count, "-r", str(rate),
            f"127.0.0.1:{self.sip_port}", "-timeout", "25", "-timeout_error",
            "-trace_shortmsg", "-shortmessage_file", str(self.directory / f"{name}.messages"),
        )  # fmt: skip
        return Placed(name, f"{host}:{port}", process, self.directory)

    def vendor(self, name: str, scenario: str, host: str) -> str:
        """One more vendor: where he listens."""
        port = self._sip_port_of(host)
        whole = str(self.directory / f"{name}.whole")
        self._sipp(name, scenario, host, port, "-trace_msg", "-message_file", whole)
        return f"{host}:{port}"

    def _sip_port_of(self, host: str) -> int:
        """A UDP port that nobody has, and nobody of this line had."""
        while True:
            port = free_port()
            with socket.socket(type=socket.SOCK_DGRAM) as trial, suppress(OSError):
                trial.bind((host, port))
                if port not in self._used_ports:
                    self._used_ports.add(port)
                    return port

    def calls_of(self, addresses: Sequence[str]) -> dict[str, Call]:
        """The calls from these addresses, by address, once the journal has closed every one of them."""
        found: dict[str, Call] = {}

        def complete() -> bool:
            found.clear()
            found.update(calls_in(self.journal.read_bytes() if self.journal.exists() else b""))
            return set(addresses) <= found.keys()

        self._until(complete, lambda: f"the last lines of {set(addresses) - found.keys()}", seconds=10)
        return {address: found[address] for address in addresses}

    # ---- processes

    def _sipp(self, name: str, scenario: str, host: str, port: int, *more: str) -> "subprocess.Popen[bytes]":
        path = self.directory / f"{name}.xml"
        path.write_text(scenario)
        argv = [*self.programs.command("sipp"), "-sf", str(path), "-i", host, "-p", str(port), "-nostdin"]
        argv += ["-mi", host, "-mp", str(sipp_media_port(port)), *more]
        return self._spawn(name, [*argv, "-trace_err", "-error_file", str(self.directory / f"{name}.log")])

    def _spawn(self, name: str, argv: list[str]) -> "subprocess.Popen[bytes]":
        parent_pid = os.getpid()
        with (self.directory / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=Path(__file__).parents[2] if argv[0] == sys.executable else self.directory,
                env={**os.environ, "TERM": "dumb"},
                preexec_fn=lambda: end_with_parent(parent_pid),
            )
        self._running[name] = process
        return process

    def _until(self, what: Callable[[], bool], text: Callable[[], str], seconds: float = _WAIT_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            dead = [name for name in ("router", "node") if name in self._running and self._running[name].poll()]
            assert not dead, self.said(dead[0])
            assert time.monotonic() < deadline, f"waited {seconds} s for {text()}\n" + self.said("node")
            time.sleep(0.1)

    def said(self, name: str) -> str:
        return (self.directory / f"{name}.out").read_text(errors="replace")[-100_000:]


AnyLine = TypeVar("AnyLine", bound=Line)


class MakeLine(Protocol):
    """Makes a line of this name and kind, started, and closed at the end of the block (tests/conftest.py)."""

    def __call__(self, name: str, kind: type[AnyLine]) -> AbstractContextManager[AnyLine]: ...
