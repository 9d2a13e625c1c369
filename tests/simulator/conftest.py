"""What the simulator's tests stand on: a small world, and a scripted router that speaks FastAGI."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from urllib.parse import unquote

import pytest

from schemas import agi
from schemas.facts import Facts, encode_facts
from simulator.world import Customer, World


def make_facts(side: str, vendor_peer_id: int = 0, callee: str = "447700900123") -> str:
    return encode_facts(
        Facts(
            side="payable" if side == "payable" else "receivable",
            generation=1,
            customer_company_id=2,
            customer_peer_id=3,
            vendor_company_id=vendor_peer_id,
            vendor_peer_id=vendor_peer_id,
            account_id=1001,
            currency="USD",
            code=callee[:4],
            price_id=5,
            destination_id=6,
            price_e8=1_000_000,
            connect_fee_micros=0,
            minimum_seconds=1,
            increment_seconds=1,
            free_seconds=0,
            rounding_decimals=6,
            duration_rounding="up",
            caller="",
            callee=callee,
        )
    )


def allow(vendors: list[int], callee: str, timeout_seconds: int = 60, max_ms: int = 7_200_000) -> dict[str, str]:
    """The variables of a routed call, in the router's order: ROUTES last."""
    variables = {
        agi.DECISION: "ALLOW",
        agi.REASON: "",
        agi.CALL_FACTS: make_facts("receivable", callee=callee),
        agi.MAX_MS: str(max_ms),
        agi.STOP_CAUSES: "-".join(map(str, agi.DEFAULT_STOP_CAUSES)),
    }
    for number, vendor in enumerate(vendors, 1):
        variables[f"ROUTE_{number}_DIAL"] = f"PJSIP/{callee}@v-vendor-{vendor}"
        variables[f"ROUTE_{number}_TIMEOUT"] = str(timeout_seconds)
        variables[f"ROUTE_{number}_FACTS"] = make_facts("payable", vendor, callee)
    return variables | {agi.ROUTES: str(len(vendors))}


def refuse(reason: str, cause: int) -> dict[str, str]:
    return {
        agi.DECISION: "REFUSE",
        agi.REASON: reason,
        agi.REFUSE_CAUSE: str(cause),
        agi.CALL_FACTS: make_facts("receivable"),
        agi.ROUTES: "0",
    }


class ScriptedRouter:
    """Answers every session with what `decide` makes of its arguments; keeps the headers it was sent."""

    def __init__(self) -> None:
        self.decide: Callable[[dict[str, str]], dict[str, str]] = self.by_number
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    @staticmethod
    def by_number(arguments: dict[str, str]) -> dict[str, str]:
        digits = re.sub(r"^(\+|00)", "", arguments["callee"])
        if arguments["endpoint"] == "anonymous":
            return refuse("UNAUTHORISED", 21)
        if not re.fullmatch(r"[0-9]{7,15}", digits):
            return refuse("BAD NUMBER", 28)
        if digits.startswith("210"):
            return refuse("NOT BILLABLE", 34)
        return allow([101, 102, 103], digits)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            text = (await reader.readuntil(b"\n\n")).decode()
            headers = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
            self.headers.append(headers)
            names = agi.AGI_ARGUMENTS
            arguments = {name: unquote(headers[f"agi_arg_{number}"]) for number, name in enumerate(names, 1)}
            pairs = ",".join(f"{name}={value}" for name, value in self.decide(arguments).items())
            writer.write(f'EXEC MSet "{pairs}"\n'.encode())
            assert (await reader.readline()) == b"200 result=0\n"
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def scripted_router() -> AsyncIterator[ScriptedRouter]:
    router = ScriptedRouter()
    await router.start()
    yield router
    await router.stop()


@pytest.fixture
def small_world() -> World:
    def customer(number: int, **changes: object) -> Customer:
        values: dict[str, object] = {
            "peer_id": number,
            "name": f"customer-{number}",
            "endpoint": f"c-customer-{number}",
            "remote_address": f"127.1.0.{number}:5060",
            "tech_prefix": "",
            "enabled": True,
            "max_concurrent": 0,
            "max_cps": 0,
            "nodes": ("sim1", "sim2"),
            "codes": ("4477", "1212", "49151", "33", "9715"),
            "unrouted_codes": ("8816",),
        }
        return Customer(**(values | changes))  # type: ignore[arg-type]

    return World(
        customers=(
            customer(1),
            customer(2, tech_prefix="9001"),
            customer(3, max_cps=2, nodes=("sim1",)),
            customer(4, enabled=False),
        ),
        vendors={101: "vendor-101", 102: "vendor-102", 103: "vendor-103"},
        unknown_codes=("210", "997"),
    )


@pytest.fixture(scope="session")
def allow_routes() -> Callable[..., dict[str, str]]:
    return allow


@pytest.fixture(scope="session")
def refuse_call() -> Callable[[str, int], dict[str, str]]:
    return refuse


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Ports on which nobody listens just now."""

    def find() -> int:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port: int = taken.getsockname()[1]
            return port

    return find


@pytest.fixture
def two_ports(free_port: Callable[[], int]) -> list[int]:
    return [free_port(), free_port()]
