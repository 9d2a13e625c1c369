"""The made-up world by a seed number, pure: who the companies are, what they pay with, how good the vendors are.

A vendor's peer is named after its company and grade, as `meridian-premium`, `kestrel-standard`, `zenith-grey` or
`delta-poor`; whoever simulates the vendors may read the grade from there. Customers have `-1`, `-2` after the name.
Simulated customers are in 127.1.0.0/16, simulated vendors in 127.2.0.0/16.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from configuration.entities.countries import destinations
from configuration.entities.document import Account, Company, Entry, Pack, Peer, RouteClass, World
from simulator.market.pricing import Price, customer_deck, market_price_e8, seeded, vendor_deck
from simulator.market.sipp_world import NODE, PACKS, sipp_companies, sipp_decks, sipp_route_class

SIMULATED_NODES: Final = ("sim1", "sim2")
MEXICO: Final = "52"

_STEMS: Final = (
    "Meridian", "Kestrel", "Halcyon", "Northgate", "Zenith", "Cobalt", "Larkspur", "Sable", "Aurora", "Tidewater",
    "Granite", "Solstice", "Marlin", "Juniper", "Vantage", "Orchid", "Pinnacle", "Quartz", "Redwood", "Saffron",
    "Tamarind", "Umbra", "Verdant", "Willow", "Yarrow", "Alder", "Basalt", "Cascade", "Delta", "Ember",
    "Falcon", "Gale", "Harbour", "Iris", "Jade", "Keystone", "Lumen", "Mistral", "Nimbus", "Onyx",
    "Pelican", "Quill", "Raven", "Summit", "Topaz", "Ursa", "Vega", "Walnut", "Xenon", "Yukon",
    "Zephyr", "Amber", "Birch", "Cedar", "Dune", "Elm", "Fjord", "Glacier", "Heron", "Indigo",
    "Jasper", "Krypton", "Lagoon", "Maple", "Nova", "Opal", "Poplar", "Quasar", "Ridge", "Spruce",
    "Tundra", "Umber", "Violet", "Wharf", "Yonder", "Zircon", "Acacia", "Bramble", "Coral", "Drift",
    "Estuary", "Fern", "Grove", "Hazel", "Inlet", "Juno", "Kite", "Laurel", "Moss", "Nectar",
    "Oasis", "Prairie", "Quarry", "Rowan", "Sierra", "Thistle", "Upland", "Vale", "Wren", "Yew",
)  # fmt: skip
_VENDOR_SUFFIXES: Final = ("Carrier Services", "Global Voice", "Transit", "Networks", "Wholesale", "Interconnect")
_CUSTOMER_SUFFIXES: Final = ("Telecom", "Communications", "Calls", "VoIP", "Mobile", "Business Voice", "Cloud PBX")
_HOMES: Final = ("US", "GB", "DE", "NL", "FR", "ES", "IT", "PL", "SG", "HK", "AE", "IN", "ZA", "NG", "BR", "MX", "CA")

# Grade: (share in ten, price in percent of the market from, to, countries covered in percent)
_GRADES: Final[dict[str, tuple[int, tuple[int, int], int]]] = {
    "premium": (3, (98, 116), 97),
    "standard": (3, (88, 104), 92),
    "grey": (3, (68, 90), 80),
    "poor": (1, (60, 80), 60),
}
_PRIORITIES: Final[dict[str, dict[str, int]]] = {  # route class: grade: priority
    "Premium": {"premium": 1, "standard": 2},
    "Standard": {"standard": 1, "premium": 2, "grey": 3},
    "Economy": {"premium": 1, "standard": 1, "grey": 1, "poor": 1},
}
_SIMULATED_PACKS: Final = (
    Pack(name="Customer 1/1", currency="USD", notation="1/1/0"),
    Pack(name="Customer 30/6", currency="USD", notation="30/6/0"),
    Pack(name="Customer 60/60", currency="USD", notation="60/60/0", rounding_decimals=4),
    Pack(name="Customer 1/1 free 3 s", currency="USD", notation="1/1/3"),
    Pack(name="Customer 1/1 EUR", currency="EUR", notation="1/1/0", time_zone="Europe/Berlin"),
    Pack(name="Vendor 1/1", currency="USD", notation="1/1/0"),
    Pack(name="Vendor 30/6", currency="USD", notation="30/6/0"),
    Pack(name="Vendor 60/60", currency="USD", notation="60/60/0", rounding_decimals=4),
    Pack(name="Vendor 1/1 with a connect fee", currency="USD", notation="1/1/0", connect_fee=Decimal("0.0005")),
    Pack(name="Vendor Mexico 60/1", currency="USD", notation="60/1/0"),
    Pack(name="Vendor 1/1 EUR", currency="EUR", notation="1/1/0", time_zone="Europe/Berlin"),
)
_CUSTOMER_PACKS: Final = ("Customer 1/1", "Customer 1/1", "Customer 30/6", "Customer 60/60", "Customer 1/1 free 3 s")
_VENDOR_PACKS: Final = ("Vendor 1/1", "Vendor 1/1", "Vendor 30/6", "Vendor 60/60", "Vendor 1/1 with a connect fee")


@dataclass(frozen=True)
class Size:
    """How large a world is. `vendors` and `customers` are companies.

    Each vendor sells `vendor_codes` codes, but the one that sells Mexico alone: a tenth.
    """

    vendors: int
    vendor_codes: int
    customers: int


SIZES: Final = {"small": Size(12, 2_500, 16), "medium": Size(41, 25_000, 40)}


@dataclass(frozen=True)
class Plan:
    """A world and what comes on top of it: opening payments by account, and what makes each deck."""

    world: World
    payments: dict[str, Decimal]
    _seed: int
    _vendors: dict[str, tuple[str, int]]  # deck: (grade, codes)
    _customers: dict[str, tuple[int, int]]  # deck: percent of the market from, to

    def decks(self) -> Iterator[tuple[str, Iterator[Price]]]:
        """Every deck's name and its prices, made as they are read."""
        market = {place: market_price_e8(self._seed, place) for place in destinations()}
        for name, prices in sipp_decks().items():
            yield name, iter(prices)
        for name, percent in self._customers.items():
            yield name, customer_deck(seeded(self._seed, "deck", name), market, percent)
        for name, (grade, codes) in self._vendors.items():
            _, percent, coverage = _GRADES[grade]
            places = market
            if name.endswith("-mexico"):
                places = {place: price for place, price in market.items() if place.code.startswith(MEXICO)}
                codes //= 10
            yield name, vendor_deck(seeded(self._seed, "deck", name), places, codes, percent, coverage)


def make_plan(size_name: str, seed: int) -> Plan:
    """The plan of a world of a size (a key of SIZES) and a seed number."""
    size = SIZES[size_name]
    rng = seeded(seed, "companies", size_name)
    stems = rng.sample(_STEMS, size.vendors + size.customers)
    vendors = [_vendor(seed, at, stem, size) for at, stem in enumerate(stems[: size.vendors])]
    customers = [_customer(seed, at, stem) for at, stem in enumerate(stems[size.vendors :])]
    # One partner buys and sells: his own calls never go back to him.
    both = vendors[3]
    customers[3] = _customer(seed, 3, stems[3], company=both)
    vendors[3] = customers[3]
    companies = vendors + [company for at, company in enumerate(customers) if at != 3]
    terminators = [peer for company in vendors for peer in company.peers if peer.role == "terminator"]
    world = World(
        nodes=(NODE, *SIMULATED_NODES),
        packs=(*PACKS, *_SIMULATED_PACKS),
        route_classes=(*_route_classes(terminators), sipp_route_class()),
        companies=(*companies, *sipp_companies()),
    )
    originators = [peer for company in companies for peer in company.peers if peer.role == "originator"]
    return Plan(
        world,
        _payments(seed, companies),
        seed,
        {peer.deck: (_grade_of(peer.name), size.vendor_codes) for peer in terminators},
        {peer.deck: _markup(seed, peer.deck) for peer in originators},
    )


def _vendor(seed: int, at: int, stem: str, size: Size) -> Company:
    rng = seeded(seed, "vendor", at)
    # The last vendor is in euro, the one before sells nothing but Mexico: the others follow the shares in turn.
    euro, mexico = at == size.vendors - 1, at == size.vendors - 2
    shares = [grade for grade, (share, _, _) in _GRADES.items() for _ in range(share)]
    grade = "standard" if euro else "mexico" if mexico else shares[(at * 3) % len(shares)]
    currency = "EUR" if euro else "USD"
    name = f"{stem} {rng.choice(_VENDOR_SUFFIXES)}"
    pack = "Vendor 1/1 EUR" if euro else "Vendor Mexico 60/1" if mexico else rng.choice(_VENDOR_PACKS)
    peer = Peer(
        name=f"{stem.lower()}-{grade}",
        role="terminator",
        host=f"127.2.{at // 250}.{at % 250 + 1}",
        pack=pack,
        nodes=SIMULATED_NODES,
        ring_seconds=rng.choice((45, 60, 60, 75)),
        max_concurrent=rng.choice((0, 0, 0, 2_000)),
    )
    account = Account(name=f"{name} vendor {currency}", kind="vendor", currency=currency, payment="postpaid")
    return Company(name=name, country=rng.choice(_HOMES), accounts=(account,), peers=(peer,))


def _customer(seed: int, at: int, stem: str, company: Company | None = None) -> Company:
    rng = seeded(seed, "customer", at)
    name = company.name if company else f"{stem} {rng.choice(_CUSTOMER_SUFFIXES)}"
    currency = "EUR" if at == 5 else "USD"
    payment: Literal["prepaid", "postpaid"] = "prepaid" if at % 2 else "postpaid"
    limit = Decimal(0) if payment == "prepaid" else Decimal(rng.choice((20_000, 50_000, 100_000)))
    account = Account(
        name=f"{name} {currency}",
        kind="customer",
        currency=currency,
        payment=payment,
        credit_limit=limit,
        when_database_away="allow" if payment == "postpaid" and at % 4 == 0 else "refuse",
    )
    common: dict[str, Any] = {
        "role": "originator",
        "host": f"127.1.{at // 250}.{at % 250 + 1}",
        "pack": "Customer 1/1 EUR" if currency == "EUR" else rng.choice(_CUSTOMER_PACKS),
        "nodes": SIMULATED_NODES,
    }
    classes = ("Economy", "Standard", "Premium")
    peers = [
        Peer(
            name=f"{stem.lower()}-1",
            route_class="Economy" if currency == "EUR" else classes[at % 3],
            max_concurrent={6: 12}.get(at, rng.choice((0, 0, 1_500, 3_000))),
            max_cps={7: 2}.get(at, 0),
            profit=rng.choice(("no_losses", "no_losses", "profit_only", "allow_losses")),
            **common,
        )
    ]
    if at in (0, 9):  # the same address, told apart by a tech prefix: the cheap routes
        peers.append(Peer(name=f"{stem.lower()}-2", route_class="Economy", tech_prefix="7701", **common))
    if at == 8:
        peers[0] = peers[0].model_copy(update={"enabled": False})
    kept = company or Company(name=name, country=rng.choice(_HOMES))
    return kept.model_copy(update={"accounts": (*kept.accounts, account), "peers": (*kept.peers, *peers)})


def _route_classes(terminators: list[Peer]) -> list[RouteClass]:
    classes = []
    for name, priorities in _PRIORITIES.items():
        entries = [
            Entry(peer=peer.name, priority=priorities[_grade_of(peer.name)])
            for peer in terminators
            if _grade_of(peer.name) in priorities
        ]
        classes.append(RouteClass(name=name, entries=tuple(entries)))
    return classes


def _grade_of(peer_name: str) -> str:
    grade = peer_name.rpartition("-")[2]
    return grade if grade in _GRADES else "standard"


def _markup(seed: int, deck: str) -> tuple[int, int]:
    low = seeded(seed, "markup", deck).randrange(106, 124)
    return low, low + 14


def _payments(seed: int, companies: list[Company]) -> dict[str, Decimal]:
    """What prepaid customers have paid in. One of them has nearly used it up."""
    prepaid = [
        account
        for company in companies
        for account in company.accounts
        if account.kind == "customer" and account.payment == "prepaid"
    ]
    amounts = {
        account.name: Decimal(seeded(seed, "payment", account.name).randrange(4_000, 20_000)) for account in prepaid
    }
    amounts[prepaid[1].name] = Decimal("1.500000")
    return amounts
