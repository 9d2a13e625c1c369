"""The part of the seeded world that SIPp plays on the real node: fixed names and addresses, whatever the seed.

Each beginning of a dialled number makes one hunt, because the vendors' decks hold nothing else (vendors below are the
numbers of sipp-vendor-N):

    99921  vendor 2 answers                    99925  4 is unreachable, then 2
    99922  1 refuses (cheaper), then 2         99926  1 and 6 refuse: all fail
    99923  3 is busy: the hunt stops           99927  5 rings long, early media
    99924  4 alone: nobody listens             99929  no vendor has the code
    9993   the customer has no price
"""

from decimal import Decimal
from typing import Final, Literal

from configuration.entities.document import Account, Company, Entry, Pack, Peer, RouteClass
from simulator.market.pricing import Price

NODE: Final = "ast1"
ROUTE_CLASS: Final = "sipp"
CUSTOMER_DECK: Final = "sipp-customers"
PACKS: Final = (
    Pack(name="SIPp 1/1", currency="USD", notation="1/1/0"),
    Pack(name="SIPp 30/6 with a connect fee", currency="USD", notation="30/6/0", connect_fee=Decimal("0.001")),
)
CUSTOMER_PRICES: Final = (Price("9992", 6_000_000),)
# vendor: {code: price in 10⁻⁸ per minute}
_VENDOR_PRICES: Final = {
    1: {"99922": 2_000_000, "99926": 2_000_000},
    2: {"99921": 2_500_000, "99922": 2_500_000, "99923": 2_500_000, "99925": 2_500_000},
    3: {"99923": 2_000_000},
    4: {"99924": 2_000_000, "99925": 2_000_000},
    5: {"99927": 3_000_000},
    6: {"99926": 3_000_000},
}
_UNREACHABLE: Final = 4
_UNREACHABLE_RING_SECONDS: Final = 4  # how long the hunt waits for it


def sipp_route_class() -> RouteClass:
    """All SIPp vendors, by price."""
    return RouteClass(name=ROUTE_CLASS, entries=tuple(Entry(peer=f"sipp-vendor-{n}") for n in _VENDOR_PRICES))


def sipp_companies() -> list[Company]:
    """Customers 1 (rich), 2 (prepaid, nothing paid in), 3 (one call at a time); vendors 1 to 6."""
    customers = [_customer(1, "postpaid"), _customer(2, "prepaid"), _customer(3, "postpaid", max_concurrent=1)]
    return customers + [_vendor(number) for number in _VENDOR_PRICES]


def sipp_decks() -> dict[str, tuple[Price, ...]]:
    """The prices of their decks, by the deck's name."""
    decks = {
        f"sipp-vendor-{n}": tuple(Price(code, price_e8) for code, price_e8 in prices.items())
        for n, prices in _VENDOR_PRICES.items()
    }
    return {CUSTOMER_DECK: CUSTOMER_PRICES, **decks}


def _customer(number: int, payment: Literal["prepaid", "postpaid"], max_concurrent: int = 0) -> Company:
    limit = Decimal(1_000_000) if payment == "postpaid" else Decimal(0)
    account = Account(
        name=f"SIPp Customer {number} USD", kind="customer", currency="USD", payment=payment, credit_limit=limit
    )
    peer = Peer(
        name=f"sipp-customer-{number}",
        role="originator",
        host=f"127.0.0.{9 + number}",
        pack=PACKS[0].name,
        deck=CUSTOMER_DECK,
        route_class=ROUTE_CLASS,
        nodes=(NODE,),
        max_concurrent=max_concurrent,
    )
    return Company(name=f"SIPp Customer {number}", accounts=(account,), peers=(peer,))


def _vendor(number: int) -> Company:
    account = Account(name=f"SIPp Vendor {number} USD", kind="vendor", currency="USD", payment="postpaid")
    peer = Peer(
        name=f"sipp-vendor-{number}",
        role="terminator",
        host=f"127.0.0.{20 + number}",
        pack=PACKS[number == 2].name,
        nodes=(NODE,),
        probe=True,
        ring_seconds=_UNREACHABLE_RING_SECONDS if number == _UNREACHABLE else 60,
    )
    return Company(name=f"SIPp Vendor {number}", accounts=(account,), peers=(peer,))
