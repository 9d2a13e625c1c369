"""The product as a user starts it (`streamco up`), with one Asterisk and the parties of the soak's calls."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.figures import say
from bench.soak.calls import CALLERS, CODE, KINDS, TIMED, VENDORS, code_of
from bench.soak.matching import ClosedLeg
from bench.soak.players import free_address
from bench.soak.wire import Address
from billing.payments import pay
from billing.prices.load import load_deck
from configuration.asterisk.fetch import Installation
from configuration.load import load
from runtime.clickhouse import connect
from streamco import rooms
from streamco.embedded.temporary import free_port
from streamco.secret_store import with_secrets
from streamco.settings import Settings, read_settings

NODE: Final = "ast1"
ACCOUNT: Final = "Soak customer"
MAX_CALL_SECONDS: Final = 40  # whatever goes wrong: a call of these is over then
LOST_CALL_SECONDS: Final = 6
_CUSTOMERS: Final = {"never-hangs-up": ("127.91.2.1", LOST_CALL_SECONDS), "cut-off": ("127.91.3.1", MAX_CALL_SECONDS)}
_PAID: Final = "100000"
_PORTS: Final = ("POSTGRES", "KAFKA", "KAFKA_CONTROLLER", "CLICKHOUSE", "ROUTER", "DASHBOARDS", "AMI", "SIP", "HEP")
_RTP_PORTS: Final = range(2_100, 3_900)  # apart from free_port's and from SIPp's: for 450 calls
_ROOT: Final = Path(__file__).resolve().parents[2]
_COMMAND_SECONDS: Final = 600
_CONSOLE_SECONDS: Final = 30
_LEGS: Final = """
    SELECT sip_call_id, leg = 0, leg_id, answered, duration_ms, billed_seconds FROM legs FINAL
    WHERE node = {node:String}
"""


class Product:
    """`start`, then the rest, then `stop`. `home`: an empty directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STREAMCO_")},
            "STREAMCO_HOME": str(home),
            "STREAMCO_NODES": NODE,
            "STREAMCO_ASTERISK_NODES": NODE,
            "STREAMCO_RTP_PORT_FIRST": str(_RTP_PORTS.start),
            "STREAMCO_RTP_PORT_LAST": str(_RTP_PORTS.stop - 1),
            **{f"STREAMCO_{name}_PORT": str(port) for name, port in zip(_PORTS, _different_ports(), strict=True)},
        }
        self.vendors: dict[str, Address] = {
            name: free_address(f"127.91.9.{at}") for at, name in enumerate(VENDORS, start=1)
        }
        self.callers: dict[str, Address] = {
            name: free_address(_CUSTOMERS.get(name, (f"127.91.1.{at}", 0))[0])
            for at, name in enumerate(CALLERS, start=1)
        }

    @property
    def settings(self) -> Settings:
        """As the product reads them."""
        return with_secrets(read_settings(self._environment))

    @property
    def node(self) -> Address:
        """Where Asterisk's SIP listens."""
        return (self.settings.sip_host, self.settings.sip_port)

    @property
    def ami(self) -> tuple[Address, str, str]:
        """Address, user and secret of Asterisk's manager."""
        settings = self.settings
        assert settings.ami_secret is not None
        return ("127.0.0.1", settings.ami_port_of(NODE)), settings.ami_user, settings.ami_secret.get_secret_value()

    @property
    def _dsn(self) -> str:
        return rooms.postgres(self.settings, "cli").dsn.get_secret_value()

    def start(self) -> None:
        """Everything healthy, and the parties loaded. The vendors should listen by now."""
        self._streamco("up")
        world = self.home / "soak.yaml"
        world.write_text(json.dumps(make_world(self.vendors)))  # which is YAML, too
        load(self._dsn, world)
        for peer, rows in make_decks().items():
            deck = self.home / f"{peer}.csv"
            with deck.open("w", newline="") as file:
                csv.writer(file).writerows([("code", "price"), *rows])
            load_deck(self._dsn, peer, deck)
        pay(self._dsn, ACCOUNT, _PAID, "soak")

    def stop(self) -> None:
        """End all of it."""
        self._streamco("down", may_fail=True)

    def console(self, programs: Installation, command: str) -> str:
        """What Asterisk's console answers. Raises CalledProcessError."""
        etc = self.home / "nodes" / NODE / "etc" / "asterisk.conf"
        argv = [*programs.command("asterisk"), "-C", str(etc), "-rx", command]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_CONSOLE_SECONDS).stdout

    def audit(self, settle_seconds: int) -> dict[str, Any]:
        """The audit's report."""
        said = self._streamco("audit", "--json", "--settle", str(settle_seconds), may_fail=True)
        report: dict[str, Any] = json.loads(said.splitlines()[-1])
        return report

    def dead_letters(self) -> list[dict[str, Any]]:
        """All of them."""
        found: list[dict[str, Any]] = json.loads(self._streamco("dead-letters", "list", "--json"))["letters"]
        return found

    def holds(self) -> int:
        """Money that is still held for calls."""
        with psycopg.connect(self._dsn) as connection:
            row = connection.execute("SELECT count(*) FROM holds").fetchone()
        assert row is not None
        return int(row[0])

    def closed_legs(self) -> list[ClosedLeg]:
        """Every CDR, as it is matched."""
        with connect(rooms.clickhouse(self.settings, "audit")) as client:
            rows = client.query(_LEGS, parameters={"node": NODE}).result_rows
        return [
            ClosedLeg(call_id, "customer" if inbound else "vendor", leg_id, bool(answered), duration_ms, seconds)
            for call_id, inbound, leg_id, answered, duration_ms, seconds in rows
        ]

    def _streamco(self, *arguments: str, may_fail: bool = False) -> str:
        say(f"streamco {' '.join(arguments)}")
        done = subprocess.run(
            [sys.executable, "-m", "streamco.cli", *arguments],
            cwd=_ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode and not may_fail:
            raise RuntimeError(f"streamco {' '.join(arguments)}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done.stdout


def _different_ports() -> list[int]:
    ports: set[int] = set()
    while len(ports) < len(_PORTS):
        ports.add(free_port())
    return list(ports)


def endpoints_cut_off() -> Sequence[str]:
    """PJSIP's names of the parties whose channels are hung up."""
    return ("c-buyer-cut-off", "v-seller-cut-off")


def make_world(vendors: dict[str, Address]) -> dict[str, Any]:
    """The parties as `streamco load` reads them."""
    own = {"nodes": [NODE], "pack": "Soak 1/1"}
    customers = {"buyer": ("127.91.1.0/24", MAX_CALL_SECONDS)} | {
        f"buyer-{name}": place for name, place in _CUSTOMERS.items()
    }
    originators = [
        {**own, "name": name, "role": "originator", "host": host, "deck": "buyer", "route_class": "Soak",
         "max_call_seconds": seconds}
        for name, (host, seconds) in customers.items()
    ]  # fmt: skip
    terminators = [
        {**own, "name": f"seller-{name}", "role": "terminator", "probe": True, "host": host, "port": port,
         "ring_seconds": 5, "pdd_timeout_seconds": 2}
        for name, (host, port) in vendors.items()
    ]  # fmt: skip
    return {
        "nodes": [NODE],
        "packs": [{"name": "Soak 1/1", "currency": "USD", "notation": "1/1"}],
        "route_classes": [{"name": "Soak", "entries": [{"peer": peer["name"]} for peer in terminators]}],
        "companies": [
            {
                "name": "Soak customers",
                "accounts": [{"name": ACCOUNT, "kind": "customer", "currency": "USD", "payment": "prepaid"}],
                "peers": originators,
            },
            {
                "name": "Soak vendors",
                "accounts": [{"name": "Soak vendor", "kind": "vendor", "currency": "USD", "payment": "postpaid"}],
                "peers": terminators,
            },
        ],
    }


def make_decks() -> dict[str, list[tuple[str, str]]]:
    """Rows of each peer's deck: a vendor sells the codes of its kinds, cheaper the earlier it is to be hunted."""
    decks: dict[str, list[tuple[str, str]]] = {"buyer": [(CODE, "0.06")]}
    for vendor in VENDORS:
        decks[f"seller-{vendor}"] = [
            (code_of(kind), f"0.00{1 + kind.vendors.index(vendor)}")
            for kind in (*KINDS, TIMED)
            if vendor in kind.vendors
        ]
    return decks
