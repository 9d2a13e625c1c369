"""The values of the routing core: what is asked, what is known, what is decided."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from router.snapshot.code_index import NO_CODE
from router.snapshot.config import Peer, RouteEntry
from router.snapshot.prices import NO_COST
from router.snapshot.store import Snapshot, VendorMatrix
from schemas.quality import Quality
from schemas.refusals import Refusal, Verdict

_NOTHING: Final[Mapping[str, Quality]] = MappingProxyType({})


class World(NamedTuple):
    """What a decision is made from. Each part is frozen, and read once at the start.

    `quality` by Quality.key, of whatever age: the core compares `at_ms` with now. `full` holds the keys of the limits
    that have no room now on the node that asks: advice, the exact word is Asterisk's.
    """

    snapshot: Snapshot
    quality: Mapping[str, Quality] = _NOTHING
    full: frozenset[str] = frozenset()


class Request(NamedTuple):
    """An attempt as the dialplan asks: texts from the wire, not yet trusted."""

    endpoint: str
    remote_address: str
    callee: str
    caller: str
    caller_name: str = ""
    asserted: str = ""  # the header P-Asserted-Identity
    privacy: str = ""  # the header Privacy


# Of these a decision makes a score: structs, for a named tuple costs three times as much to make.
class Priced(msgspec.Struct, frozen=True, gc=False):
    """A price that applies: the code matched, its row, and the price per minute in 10⁻⁸ of the pack's currency."""

    code: str
    price_id: int
    price_e8: int


class Sent(msgspec.Struct, frozen=True, gc=False):
    """What a terminator is sent: its callee without the tech prefix; no caller: anonymous.

    `withheld`: the terminator is told the caller's number and that nobody may be shown it.
    """

    callee: str
    caller: str = ""
    caller_name: str = ""
    withheld: bool = False


class Route(msgspec.Struct, frozen=True):
    """A vendor to try, in hunt order."""

    vendor: Peer
    price: Priced
    comparable_e8: int
    sent: Sent


class Group(NamedTuple):
    """The vendors of one priority of a route class, as far as one originator may use them."""

    priority: int
    parts: tuple[tuple[VendorMatrix, bytes], ...]  # of each matrix: all its other vendors, for translate


class Plan(NamedTuple):
    """How an originator's company uses a route class: its groups in order, and why vendors are left out of them."""

    groups: tuple[Group, ...]
    left_out: dict[int, Verdict]  # by vendor's place among the snapshot's
    entries: dict[int, RouteEntry]


class Inbound(NamedTuple):
    """The caller's side: who calls, the numbers as billed, his price. `refusal` is None if the call may be routed."""

    refusal: Refusal | None
    peer: Peer | None = None
    caller: str = ""
    callee: str = ""
    destination_id: int = 0
    price: Priced | None = None
    caller_name: str = ""  # safe to pass on, or nothing
    withheld: bool = False  # the caller does not want to be shown
    detail: str = ""  # what made the refusal: which rule blocks, what is wrong with the number


class Decision(msgspec.Struct, frozen=True):
    """Where a call goes, or why it goes nowhere. `refusal` is None exactly if there are routes."""

    world: World
    request: Request
    inbound: Inbound
    refusal: Refusal | None
    routes: tuple[Route, ...] = ()
    matrix_code: int = NO_CODE  # in the index of the vendors' codes
    income_e8: int = 0  # the customer's comparable price
    most_cost_e8: int = NO_COST  # the dearest comparable cost that profit control allows
    plan: Plan | None = None
    now_ms: int = 0

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that decided."""
        return self.world.snapshot

    @property
    def peer(self) -> Peer | None:
        """The originator, where he is known."""
        return self.inbound.peer

    @property
    def route_class(self) -> str:
        """The name of the route class that was used, or nothing."""
        found = self.snapshot.classes.get(self.peer.route_class_id) if self.peer else None
        return found.name if found else ""
