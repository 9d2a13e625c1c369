"""The decision table: worlds and cases in YAML (tests/router/decisions), and what the product makes of them.

A world is loaded into a real PostgreSQL by the product's own loaders, and its snapshots are built by the real builder.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import yaml
from pydantic import SecretStr

from billing.prices.load import load_deck
from configuration.load import load, load_pool
from configuration.load.document import _PlainLoader
from router.build.builder import Builder
from router.check import Question
from router.check.answer import request_of
from router.core import Decision, Request, World, candidates, decide
from router.core.limit_keys import code_key, peer_key, route_key, stopped_key
from router.core.portability import Dip
from router.settings import SnapshotSettings
from router.snapshot import store
from router.snapshot.caches import Caches
from router.snapshot.config import ControlBlock
from runtime.connections import Postgres
from schemas.events import Candidate
from schemas.quality import Quality

FOLDER: Final = Path(__file__).resolve().parents[1] / "router" / "decisions"
EXPECTED_SECONDS: Final = 180
_CASE_FIELDS: Final = frozenset(
    {
        "shows", "from", "address", "identified", "callee", "caller", "at", "routes", "refused", "not_taken", "others",
        "sold", "sold_code", "billed_as", "codes", "prices", "costs", "margins", "quality", "full", "stopped",
        "unreachable", "held", "held_until", "dip", "sender", "max_forwards", "codecs", "routing_number", "attestation",
        "asserted", "privacy", "billed_caller", "because", "sent", "sent_caller", "why_not",
    }
)  # fmt: skip
_FILE_FIELDS: Final = frozenset({"about", "at", "expected_seconds", "world", "prices", "pools", "cases"})


class _TableLoader(_PlainLoader):
    """The product's own reader of world files (prices stay exact, 0044 keeps its zeros); codes are keys here."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        texts = [str(key.value) for key, _ in node.value]
        assert len(set(texts)) == len(texts), f"a field is there twice in {texts}"
        values = [self.construct_object(value, deep=True) for _, value in node.value]
        return dict(zip(texts, values, strict=True))


@dataclass(frozen=True)
class Case:
    """One row of the table: `name` is FILE-NUMBER, `row` what the file says."""

    name: str
    file: str
    row: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class TableFile:
    """A file of the table."""

    path: Path
    at: str
    expected_seconds: int
    world: Mapping[str, Any]
    prices: Mapping[str, Mapping[str, Any]]
    pools: Mapping[str, Sequence[str]]
    cases: tuple[Case, ...]


@cache
def files() -> Mapping[str, TableFile]:
    """Every file of the table, by its name."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.yaml"))}


def cases() -> Sequence[Case]:
    """Every case of the table."""
    return [case for file in files().values() for case in file.cases]


def _read(path: Path) -> TableFile:
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=_TableLoader)  # noqa: S506 a SafeLoader made stricter
    unknown = sorted(set(data) - _FILE_FIELDS) + sorted(
        {key for row in data["cases"] for key in set(row) - _CASE_FIELDS}
    )
    assert not unknown, f"{path.name}: there are no such fields: {unknown}"
    rows = tuple(Case(f"{path.stem}-{number:02d}", path.stem, row) for number, row in enumerate(data["cases"], start=1))
    seconds = data.get("expected_seconds", EXPECTED_SECONDS)
    return TableFile(path, data["at"], seconds, data["world"], data["prices"], data.get("pools", {}), rows)


def read_at(text: str) -> int:
    """Unix milliseconds of a case's moment; UTC where it names no offset."""
    moment = datetime.fromisoformat(str(text))
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class TableWorld:
    """A file's world in a database of its own, and its snapshots by moment."""

    def __init__(self, file: TableFile, dsn: str, directory: Path) -> None:
        """Loads world and decks through the product's own doors."""
        self.file = file
        self._dsn = dsn
        self._directory = directory
        directory.mkdir(parents=True)
        path = directory / "world.yaml"
        path.write_text(yaml.safe_dump(dict(file.world)), encoding="utf-8")
        load(dsn, path)
        for peer, prices in file.prices.items():
            path = directory / f"{peer}.csv"
            write_deck(path, prices)
            load_deck(dsn, peer, path)
        for pool, numbers in file.pools.items():
            path = directory / "pool.csv"
            path.write_text("\n".join(["number", *map(str, numbers)]) + "\n")
            load_pool(dsn, pool, path)
        self._snapshots: dict[int, store.Snapshot] = {}

    def snapshot(self, at_ms: int) -> store.Snapshot:
        """The snapshot that the real builder makes of this moment."""
        if at_ms not in self._snapshots:
            settings = SnapshotSettings(
                postgres=Postgres(dsn=SecretStr(self._dsn)),
                directory=self._directory / f"at-{at_ms}",
                expected_call_seconds=self.file.expected_seconds,
            )
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                Builder(settings, lambda: at_ms).step(connection)
            self._snapshots[at_ms] = store.load(settings.directory, store.newest(settings.directory, at_ms))
        return self._snapshots[at_ms]

    def decide(self, case: Case) -> Decision:
        """The core's decision on a case."""
        row = case.row
        at_ms = read_at(row.get("at", self.file.at))
        snapshot = self._held(self.snapshot(at_ms), row)
        ids = {peer.name: peer.peer_id for peer in snapshot.config.peers}
        unreachable = {ids[name]: why for name, why in row.get("unreachable", {}).items()}
        stopped = frozenset(stopped_key(ids[name]) for name in row.get("stopped", ()))
        world = World(snapshot, self._quality(snapshot, row, at_ms), self._full(snapshot, row), unreachable, stopped)
        return decide(world, self._request(snapshot, row), at_ms, expected_seconds=self.file.expected_seconds)

    @staticmethod
    def _held(snapshot: store.Snapshot, row: Mapping[str, Any]) -> store.Snapshot:
        """`held: {vendor: block, vendor/44: demote, customer: cap 5}`: what controllers hold in force."""
        if "held" not in row:
            return snapshot
        ids = {peer.name: peer.peer_id for peer in snapshot.config.peers}
        blocks = []
        for who, what in row["held"].items():
            name, _, code = who.partition("/")
            action, _, cap = what.partition(" ")
            until_ms = read_at(row["held_until"]) if "held_until" in row else 0
            blocks.append(ControlBlock(who, "control", ids[name], code, action, int(cap or 0), until_ms))
        config = msgspec.structs.replace(snapshot.config, control_blocks=tuple(blocks))
        return replace(snapshot, config=config, caches=Caches())

    def _request(self, snapshot: store.Snapshot, row: Mapping[str, Any]) -> Request:
        callee, caller = str(row["callee"]), str(row.get("caller", "12125550100"))
        if "address" in row:  # as it came from the wire, whoever that is
            return Request("", row["address"], callee, caller)
        peer = next(peer for peer in snapshot.config.peers if peer.name == row["from"])
        request = request_of(peer, Question(peer.name, callee, caller))
        dip = Dip(**{"number": callee, **row["dip"]}) if "dip" in row else None
        if dip is not None:
            dip = dip._replace(routing_number=str(dip.routing_number))
        return request._replace(
            asserted=row.get("asserted", ""), privacy=row.get("privacy", ""), sender=row.get("sender", ""),
            max_forwards=str(row.get("max_forwards", "")), dip=dip, codecs=row.get("codecs", ""),
        )  # fmt: skip

    @staticmethod
    def _full(snapshot: store.Snapshot, row: Mapping[str, Any]) -> frozenset[str]:
        """`full: [vendor, vendor/44, Class > vendor]`: limits of a vendor, of its code, of a route."""
        ids = {peer.name: peer.peer_id for peer in snapshot.config.peers}
        classes = {one.name: one.route_class_id for one in snapshot.config.route_classes}
        keys = set()
        for text in row.get("full", ()):
            route_class, arrow, vendor = text.rpartition(" > ")
            name, slash, code = vendor.partition("/")
            if arrow:
                keys.add(route_key(classes[route_class], ids[name]))
            else:
                keys.add(code_key(ids[name], code) if slash else peer_key(ids[name]))
        return frozenset(keys)

    @staticmethod
    def _quality(snapshot: store.Snapshot, row: Mapping[str, Any], at_ms: int) -> Mapping[str, Quality]:
        """`quality: {vendor: {attempts: 100, answered: 40, age_seconds: 5}}`; `vendor/44` is of one code."""
        ids = {peer.name: peer.peer_id for peer in snapshot.config.peers}
        found = {}
        for who, sums in row.get("quality", {}).items():
            name, _, code = who.partition("/")
            values = dict(sums)
            side = values.pop("side", "vendor_code" if code else "vendor")
            at = at_ms - values.pop("age_seconds", 5) * 1000
            one = Quality(side=side, peer_id=ids[name], code=code, at_ms=at, window_seconds=3600, **values)
            found[one.key] = one
        return found


def write_deck(path: Path, prices: Mapping[str, Any]) -> None:
    """A deck's CSV from `code: price`, or `code: {from: price, …}` where `always` is from ever on."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["code", "price", "effective_from"])
        for code, price in prices.items():
            dated = price if isinstance(price, dict) else {"always": price}
            for moment, value in dated.items():
                writer.writerow([code, value, "" if moment == "always" else moment])


def e8(text: Any) -> int:
    """A price as the core has it."""
    return int(Decimal(str(text)) * 10**8)


def differences(case: Case, decision: Decision) -> Iterator[str]:
    """What is not as the case says, in words."""
    row = case.row
    found = candidates(decision)
    by_name = {one.vendor: one for one in found}
    routes = [route.vendor.name for route in decision.routes]
    yield from _differs("refused", row.get("refused"), decision.refusal.value if decision.refusal else None)
    yield from _differs("routes", list(row.get("routes", [])), routes)
    expected = dict.fromkeys(row.get("routes", []), "TAKEN") | dict(row.get("not_taken", {}))
    if "others" in row:
        expected = dict.fromkeys(by_name, row["others"]) | expected
    yield from _differs("verdicts", expected, {one.vendor: one.verdict for one in found})
    taken = sorted((one.position, one.vendor) for one in found if one.position)
    yield from _differs("positions", list(enumerate(routes, start=1)), taken)
    inbound = decision.inbound
    if "identified" in row:
        yield from _differs("identified", row["identified"], inbound.peer.name if inbound.peer else "")
    if "sold" in row:
        yield from _differs("sold", e8(row["sold"]), inbound.price.price_e8 if inbound.price else None)
    if "sold_code" in row:
        yield from _differs("sold_code", str(row["sold_code"]), inbound.price.code if inbound.price else None)
    if "billed_as" in row:
        yield from _differs("billed_as", str(row["billed_as"]), inbound.callee)
    if "billed_caller" in row:
        yield from _differs("billed_caller", str(row["billed_caller"]), inbound.caller)
    if "routing_number" in row:
        yield from _differs("routing_number", str(row["routing_number"]), inbound.routing_number)
    if "attestation" in row:
        yield from _differs("attestation", row["attestation"], inbound.attestation)
    if "because" in row:
        yield from _differs("because", row["because"], inbound.detail)
    yield from _figures(row, by_name)


def _figures(row: Mapping[str, Any], by_name: Mapping[str, Candidate]) -> Iterator[str]:
    for name, number in row.get("sent", {}).items():
        yield from _differs(f"sent to {name}", str(number), by_name[name].callee_sent)
    for name, number in row.get("sent_caller", {}).items():
        yield from _differs(f"caller sent to {name}", str(number), by_name[name].caller_sent)
    for name, rule in row.get("why_not", {}).items():
        yield from _differs(f"why not {name}", rule, by_name[name].detail)
    for name, code in row.get("codes", {}).items():
        yield from _differs(f"code of {name}", str(code), by_name[name].code)
    for name, price in row.get("prices", {}).items():
        yield from _differs(f"price of {name}", e8(price), by_name[name].price_e8)
    for name, cost in row.get("costs", {}).items():
        yield from _differs(f"cost of {name}", e8(cost), by_name[name].comparable_cost_e8)
    for name, margin in row.get("margins", {}).items():
        yield from _differs(f"margin of {name}", e8(margin), by_name[name].margin_e8)


def _differs(what: str, expected: Any, got: Any) -> Iterator[str]:
    if expected != got:
        yield f"{what}: the table says {expected!r}, the core {got!r}"
