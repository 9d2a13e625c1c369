"""The values of the routing core: what is asked, what is known, what is decided."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from numpy.typing import NDArray

from router.core.attestation import Level
from router.core.figures import Figure, Rules, Target
from router.core.portability import Dip
from router.snapshot.comparable import Terms
from router.snapshot.config import Peer, RouteClass, RouteEntry
from router.snapshot.prices import NO_COST
from router.snapshot.store import Snapshot, VendorMatrix
from schemas.quality import Quality
from schemas.refusals import Refusal, Verdict
from tariffs.order import Metric

if TYPE_CHECKING:
    from router.core.explain import Standings
    from router.core.route_texts import Told
    from router.core.row import Row

_NOTHING: Final[Mapping[str, Quality]] = MappingProxyType({})


class World(NamedTuple):
    """What a decision is made from. Each part is frozen, and read once at the start.

    `quality` by Quality.key, of whatever age: the core compares `at_ms` with now. `full` holds the keys of the limits
    that have no room now on the node that asks: advice, a second old; the exact word is Asterisk's. `unreachable` holds
    vendors that do not answer that node, by peer id, with how that is known. `closed` holds the keys of whoever gets no
    call, which is no advice.
    """

    snapshot: Snapshot
    quality: Mapping[str, Quality] = _NOTHING
    full: frozenset[str] = frozenset()
    unreachable: Mapping[int, str] = MappingProxyType({})
    closed: frozenset[str] = frozenset()


class Request(NamedTuple):
    """An attempt as the dialplan asks: texts from the wire, not yet trusted. `seed` decides what is left to chance."""

    endpoint: str
    remote_address: str
    callee: str
    caller: str
    seed: int = 0  # draws.seed_of the call's id
    caller_name: str = ""
    asserted: str = ""  # the header P-Asserted-Identity
    privacy: str = ""  # the header Privacy
    sender: str = ""  # the header From
    max_forwards: str = ""  # the header Max-Forwards
    dip: Dip | None = None  # what a look-up came to, where one was asked
    codecs: str = ""  # what Asterisk could answer the caller with, commas between them; nothing: not known


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


class Placed(NamedTuple):
    """A vendor's entry that counts, the class that it stands in, and how far that is from the originator's own."""

    entry: RouteEntry
    route_class: RouteClass
    depth: int


class Route(msgspec.Struct, frozen=True, gc=False):
    """A vendor to try, in hunt order, and the place in the route class that it comes from."""

    vendor: Peer
    row: "Row"  # that the decision read
    number: int  # the vendor's
    comparable_e8: int
    placed: Placed
    sent: Sent

    @property
    def price(self) -> Priced:
        """What the vendor asks. It is looked up when it is wanted: to choose a route its comparable cost is enough."""
        found = self.row.price(self.number)
        assert found is not None  # noqa: S101 (it would be no route)
        return found

    @property
    def entry(self) -> RouteEntry:
        """What the route gives its calls."""
        return self.placed.entry


class Plan(NamedTuple):
    """How an originator's company uses a route class and its bases, at moments from `from_ms` to before `until_ms`.

    Vendors have numbers: their places in `vendors`, which are all the snapshot's.
    """

    vendors: tuple[Peer, ...]
    placed: dict[int, Placed]
    left_out: dict[int, Verdict]
    usable: tuple[int, ...]  # the others, ascending
    from_ms: int
    until_ms: int


Part = tuple[VendorMatrix, bytes]  # of a matrix that vendors stand in: all its other vendors, for translate


class Tier(NamedTuple):
    """Vendors that are equal by all that is the same for every call."""

    parts: tuple[Part, ...]
    only: int  # the vendor, where it is one; else -1


class StrategyCaches(msgspec.Struct, gc=False):
    """What is worked out with a strategy, and kept with it: functions of the frozen strategy.

    `code_ranks` by metric and key of a vendor's quality: the rank, and until when it holds. `standings`: explain.py's.
    `told`: route_texts.py's, by the vendor's number.
    """

    code_ranks: dict[str, dict[str, tuple[int, int]]]
    standings: "Standings | None" = None
    told: dict[int, "Told"] = {}


class Strategy(msgspec.Struct, frozen=True, gc=False):
    """See router/core/strategy.py. Arrays are by the vendor's number."""

    plan: Plan
    order: tuple[Metric, ...]
    rules: Rules
    target: Target | None
    figures: dict[str, dict[int, Figure]]  # of the metrics of a vendor's quality
    tiers: tuple[Tier, ...]
    rest: tuple[Metric, ...]  # what orders a tier
    walks: bool  # the first of them is the cost, without a step
    ties: bool  # and there are others, for equal costs
    keys: tuple[Metric, ...]  # what any order is sorted by: `rest` with the cost behind, up to where nothing is equal
    tier_of: NDArray[Any]
    ranks: dict[str, NDArray[Any]]  # of the metrics that are the same for every call
    shares: NDArray[Any]  # one by the portion of the traffic; infinite where there is none
    salts: NDArray[Any]
    code_prefixes: tuple[str, ...]  # of the keys of a vendor's quality by code
    caches: "StrategyCaches"
    usable: NDArray[Any]
    quality: Mapping[str, Quality]  # that it was made with
    by_quality: bool
    from_ms: int
    until_ms: int
    terms: Terms  # of the originator's pack
    minimum_margin_e8: int  # in the comparable currency


class Inbound(msgspec.Struct, frozen=True, gc=False):
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
    routing_number: str = ""  # what vendors' codes are matched on, where that is not the callee
    attestation: Level = ""  # what we vouch for outward: A, B, C, or nothing


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Where a call goes, or why it goes nowhere. `refusal` is None exactly if there are routes."""

    world: World
    request: Request
    inbound: Inbound
    refusal: Refusal | None
    routes: tuple[Route, ...] = ()
    row: "Row | None" = None  # of the matrices that it read, where one has the number
    income_e8: int = 0  # the customer's comparable price
    most_cost_e8: int = NO_COST  # the dearest comparable cost that profit control allows
    strategy: Strategy | None = None

    @property
    def plan(self) -> Plan | None:
        """Who stands where, where it came to that."""
        return self.strategy.plan if self.strategy else None

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
