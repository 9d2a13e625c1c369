"""The small part of a snapshot: peers, accounts, packs, route classes and destinations, as frozen values."""

from typing import Final, Literal

import msgspec

from schemas.facts import DurationRounding

CONFIG_VERSION: Final = 2


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
    lookup_id: int = 0  # 0: none
    trust_lrn: bool = False
    rate_by: Literal["dialled", "routing"] = "dialled"
    verification: Literal["ignore", "refuse_failed", "require"] = "ignore"
    least_attestation: str = ""
    attestation: str = ""
    send_routing_number: bool = False


class RouteEntry(msgspec.Struct, frozen=True):
    """A terminator in a route class; lower priorities are tried first."""

    peer_id: int
    priority: int
    enabled: bool


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


class Lookup(msgspec.Struct, frozen=True):
    """A service that is asked about a number before it is routed. `codes`: only numbers under these; none: all."""

    lookup_id: int
    name: str
    kind: Literal["lrn", "hlr"]
    url: str
    answer_field: str
    codes: tuple[str, ...]
    timeout_ms: int
    cache_seconds: int
    max_parallel: int
    when_failed: Literal["route", "refuse"]


class Did(msgspec.Struct, frozen=True):
    """A number, or a block of numbers, that leads to one terminator."""

    code: str
    peer_id: int


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
    lookups: tuple[Lookup, ...] = ()
    mobile_networks: tuple[tuple[str, str], ...] = ()  # (MCC and MNC, code)
    dids: tuple[Did, ...] = ()


CONFIG_DECODER: Final = msgspec.msgpack.Decoder(Config)
