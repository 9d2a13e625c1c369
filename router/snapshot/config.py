"""The small part of a snapshot: peers, accounts, packs, route classes and destinations, as frozen values."""

from typing import Final, Literal

import msgspec

from router.snapshot.rules import NumberRules
from schemas.facts import DurationRounding

CONFIG_VERSION: Final = 3


class Pack(msgspec.Struct, frozen=True):
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


class Account(msgspec.Struct, frozen=True):
    """An account, without its balance: that is asked at admission."""

    account_id: int
    prepaid: bool
    allow_when_database_away: bool


class Peer(msgspec.Struct, frozen=True):
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
    anonymous: Literal["allow", "refuse"] = "allow"  # callers without a number, or who withhold it
    huntstop: bool = False
    pdd_timeout_seconds: int = 0  # 0: none
    max_setup_seconds: int = 120
    ringback: Literal["pass", "generate"] = "pass"
    release_rules: str = ""  # as schemas/release.py encodes them


class RouteEntry(msgspec.Struct, frozen=True):
    """A terminator in a route class; lower priorities are tried first."""

    peer_id: int
    priority: int
    enabled: bool
    max_concurrent: int = 0  # 0: no limit
    max_cps: int = 0  # 0: no limit


class RouteClass(msgspec.Struct, frozen=True):
    """A named list of terminators."""

    route_class_id: int
    name: str
    entries: tuple[RouteEntry, ...]


class Destination(msgspec.Struct, frozen=True):
    """What a code is, for the kinds that need leave."""

    destination_id: int
    code: str
    kind: str


class CodeLimit(msgspec.Struct, frozen=True):
    """What a peer may carry of the numbers that begin with a code, where that is the longest of his; 0: no limit."""

    peer_id: int
    code: str
    max_concurrent: int
    max_cps: int


class Config(msgspec.Struct, frozen=True):
    """Everything but prices. `decks` are (deck_id, version) as they were read."""

    version: int
    generation: int
    taken_at_ms: int
    next_change_at_ms: int | None  # when the next future price comes into force
    peers: tuple[Peer, ...]
    route_classes: tuple[RouteClass, ...]
    destinations: tuple[Destination, ...]
    decks: tuple[tuple[int, int], ...]
    numbers: NumberRules = NumberRules()
    code_limits: tuple[CodeLimit, ...] = ()


CONFIG_DECODER: Final = msgspec.msgpack.Decoder(Config)
