"""The small part of a snapshot: peers, accounts, packs, route classes and destinations, as frozen values."""

from typing import Final, Literal

import msgspec

from router.snapshot.lookups import LookupRules
from router.snapshot.rules import NumberRules
from schemas.facts import DurationRounding

CONFIG_VERSION: Final = 6
Rate = tuple[int, int]  # so many units of the comparable currency for so many of another
PAR: Final[Rate] = (1, 1)


class Pack(msgspec.Struct, frozen=True, gc=False):
    """A billing pack: how a duration becomes money."""

    pack_id: int
    currency: str
    minimum_seconds: int
    increment_seconds: int
    free_seconds: int
    connect_fee_micros: int
    rounding_decimals: int
    duration_rounding: DurationRounding
    allow_free_codes: bool


class Account(msgspec.Struct, frozen=True, gc=False):
    """An account, without its balance: that is asked at admission."""

    account_id: int
    prepaid: bool
    allow_when_database_away: bool


class Peer(msgspec.Struct, frozen=True, gc=False):
    """An originator or a terminator. `enabled` only if its company is, too. `host` may be a network."""

    peer_id: int
    company_id: int
    name: str
    originator: bool
    enabled: bool
    endpoint: str
    host: str
    tech_prefix: str
    account: Account
    pack: Pack
    deck_id: int
    route_class_id: int  # 0: none (a terminator)
    max_concurrent: int
    max_cps: int
    max_call_seconds: int
    profit: Literal["profit_only", "no_losses", "allow_losses"]
    minimum_margin_e8: int
    ring_seconds: int
    allow_special: bool
    country_code: str = ""  # of an originator whose national numbers are understood
    national_prefix: str = ""
    trusted: bool = False  # its word on callers is believed; callers who withhold their numbers are named to it
    pass_diversion: bool = False  # its Diversion and History-Info go on to, or come from, peers that have it too
    anonymous: Literal["allow", "refuse"] = "allow"  # callers without a number, or who withhold it
    huntstop: bool = False
    pdd_timeout_seconds: int = 0  # 0: none
    max_setup_seconds: int = 120
    ringback: Literal["pass", "generate"] = "pass"
    release_rules: str = ""  # as schemas/release.py encodes them
    priority: int = 1  # of a terminator, in any route class; lower is tried first where the order asks for it
    hunting_class_id: int = 0  # of an originator; 0: the order that stands for none
    minimum_margin_ppm: int = 0  # of the customer's price, beside minimum_margin_e8: the higher one counts
    target_metric: Literal["", "asr", "acd", "ner"] = ""
    target_value_e2: int = 0  # percent, of acd seconds, in hundredths
    lookup_id: int = 0  # 0: none
    trust_lrn: bool = False
    rate_by: Literal["dialled", "routing"] = "dialled"
    verification: Literal["ignore", "refuse_failed", "require"] = "ignore"
    least_attestation: Literal["", "A", "B", "C"] = ""
    attestation: Literal["", "A", "B", "C", "pass"] = ""
    send_routing_number: bool = False
    codecs: str = "alaw,ulaw"  # by preference, with commas between them


class RouteEntry(msgspec.Struct, frozen=True, gc=False):
    """A terminator in a route class, and what that route gives its calls; lower priorities are tried first.

    Moments: 0 is none. `timetable` as routing.timetable reads it, in the class's time zone; empty: always.
    """

    peer_id: int
    priority: int
    enabled: bool
    active_from_ms: int = 0
    active_until_ms: int = 0
    timetable: str = ""
    portion: int = 0  # percent of the traffic
    max_concurrent: int = 0  # 0: no limit
    max_cps: int = 0  # 0: no limit
    pdd_timeout_seconds: int = 0  # 0: none
    ring_seconds: int = 0  # 0: the vendor's
    huntstop: bool = False


class RouteClass(msgspec.Struct, frozen=True, gc=False):
    """A named list of terminators, and the class that is fallen back to behind it."""

    route_class_id: int
    name: str
    entries: tuple[RouteEntry, ...]
    base_class_id: int = 0  # 0: none
    active_from_ms: int = 0
    active_until_ms: int = 0
    timetable: str = ""
    time_zone: str = "UTC"


class HuntingClass(msgspec.Struct, frozen=True, gc=False):
    """How routes are ordered: `order_by` as tariffs.order reads it."""

    hunting_class_id: int
    name: str
    order_by: str
    minimum_sample: int = 30
    quality_max_age_seconds: int = 900


class ExchangeRate(msgspec.Struct, frozen=True, gc=False):
    """What a currency is in the system's, from a moment on."""

    currency: str
    effective_ms: int
    rate: Rate


class Destination(msgspec.Struct, frozen=True, gc=False):
    """What a code is, for the kinds that need leave."""

    destination_id: int
    code: str
    kind: str


class CodeLimit(msgspec.Struct, frozen=True, gc=False):
    """What a peer may carry of the numbers that begin with a code, where that is the longest of his; 0: no limit."""

    peer_id: int
    code: str
    max_concurrent: int
    max_cps: int


class ControlBlock(msgspec.Struct, frozen=True, gc=False):
    """What a controller holds in force against a peer, or one code of a vendor; until its moment, 0: until released."""

    action_id: str
    control: str
    peer_id: int
    code: str
    action: Literal["block", "demote", "cap"]
    cap_concurrent: int
    until_ms: int


class Config(msgspec.Struct, frozen=True, gc=False):
    """Everything but prices. `decks` are (deck_id, version) as they were read.

    `rates`: what a currency is in the system's, in force at `taken_at_ms`, and the system's own; where it lacks one,
    no rate is known. `exchange_rates` are those of all times.
    """

    version: int
    generation: int
    taken_at_ms: int
    next_change_at_ms: int | None  # when the next future price or exchange rate comes into force
    peers: tuple[Peer, ...]
    route_classes: tuple[RouteClass, ...]
    destinations: tuple[Destination, ...]
    decks: tuple[tuple[int, int], ...]
    numbers: NumberRules = NumberRules()
    hunting_classes: tuple[HuntingClass, ...] = ()
    price_priorities: dict[int, int] = {}  # by price id, of those that are not 0
    system_currency: str = ""
    exchange_rates: tuple[ExchangeRate, ...] = ()
    rates: dict[str, Rate] = {}
    code_limits: tuple[CodeLimit, ...] = ()
    control_blocks: tuple[ControlBlock, ...] = ()
    lookups: LookupRules = LookupRules()
