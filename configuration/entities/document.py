"""A world as a file says it: pydantic models that refuse what makes no sense, field by field, before any database.

Everything refers to everything by name. The seed makes the same models, so that both ways go through one door
(configuration/load/apply.py).

    nodes: [ast1]
    packs:
      - {name: Retail 1/1, currency: USD, notation: 1/1, connect_fee: 0.001}
    route_classes:
      - {name: Standard, entries: [{peer: vendor-a, priority: 1}]}
    companies:
      - name: Acme Telecom
        accounts: [{name: Acme prepaid, kind: customer, currency: USD}]
        peers: [{name: acme, role: originator, host: 192.0.2.10, pack: Retail 1/1, route_class: Standard}]
"""

import re
from collections import Counter
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from configuration.entities.classes import Entry, ExchangeRate, HuntingClass, Ordered, RouteClass
from configuration.entities.code_limits import CodeLimit, twice
from configuration.entities.controls import OriginationControl, TerminationControl
from configuration.entities.lookups import DidBlock, Looked, LookupService, MobileNetwork
from configuration.entities.numbers import AllowOnly, Blocks, PeerNumbers
from configuration.entities.parts import (
    Amount,
    Codecs,
    Country,
    Currency,
    Endpoint,
    Host,
    Margin,
    Name,
    NodeName,
    Notation,
    Part,
    PeerName,
    TechPrefix,
    TimeZone,
    Whole,
)
from configuration.entities.release import ReleaseTable

__all__ = ["Account", "Company", "Entry", "Pack", "Part", "Peer", "RouteClass", "World"]
_MAX_TWICE = 100
DEFAULT_PDD_SECONDS = 10  # a vendor that is dead or slow costs a hunt no more, unless it is given more
_PEER_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Pack(Part):
    """How a duration becomes money. `notation` is minimum/increment or minimum/increment/free, in seconds."""

    name: Name
    currency: Currency
    notation: Notation
    connect_fee: Annotated[Amount, Field(le=1000)] = Decimal(0)
    rounding_decimals: Annotated[Whole, Field(ge=0, le=6)] = 6
    duration_rounding: Literal["up", "nearest", "none"] = "up"
    time_zone: TimeZone = "UTC"
    allow_free_codes: bool = False

    @property
    def seconds(self) -> tuple[int, int, int]:
        """(minimum, increment, free)."""
        minimum, increment, free = ([*map(int, self.notation.split("/")), 0])[:3]
        return minimum, increment, free

    @model_validator(mode="after")
    def _possible(self) -> Self:
        minimum, increment, free = self.seconds
        if max(minimum, free) > 3600 or not 1 <= increment <= 3600:
            raise ValueError(
                f"notation {self.notation!r}: minimum and free are 0 to 3600 seconds, the increment 1 to 3600"
            )
        return self


class Account(Part):
    """Where a company's money is. One of each kind and currency for a company."""

    name: Name
    kind: Literal["customer", "vendor"]
    currency: Currency
    payment: Literal["prepaid", "postpaid"] = "prepaid"
    credit_limit: Amount = Decimal(0)
    when_database_away: Literal["refuse", "allow"] = "refuse"
    hold: bool = True  # postpaid may go without: nothing is held, no limit of credit is kept

    @model_validator(mode="after")
    def _prepaid_is_refused(self) -> Self:
        if self.payment == "prepaid" and self.when_database_away == "allow":
            raise ValueError(
                "when_database_away 'allow': a prepaid account is always refused when the database is away"
            )
        if self.payment == "prepaid" and not self.hold:
            raise ValueError("hold False: a prepaid account is never without holds")
        return self


class Peer(Ordered, PeerNumbers, Looked):
    """A SIP party of a company. `account` may be left out where the company has one account of the kind; `deck` is the
    peer's name unless it is given, and `endpoint` the name after `c-` (originator) or `v-` (terminator)."""

    name: PeerName
    role: Literal["originator", "terminator"]
    host: Host
    pack: Name
    enabled: bool = True
    endpoint: Endpoint = ""
    port: Annotated[Whole, Field(ge=1, le=65_535)] = 5060
    tech_prefix: TechPrefix = ""
    account: Name | None = None
    deck: Name = ""
    route_class: Name | None = None
    nodes: tuple[NodeName, ...] = ()
    max_concurrent: Annotated[Whole, Field(ge=0, le=100_000)] = 0
    max_cps: Annotated[Whole, Field(ge=0, le=10_000)] = 0
    code_limits: tuple[CodeLimit, ...] = ()
    max_call_seconds: Annotated[Whole, Field(ge=1, le=86_400)] = 14_400
    profit: Literal["profit_only", "no_losses", "allow_losses"] = "no_losses"
    minimum_margin: Margin = Decimal(0)
    ring_seconds: Annotated[Whole, Field(ge=1, le=300)] = 60
    allow_special: bool = False
    release_table: Name | None = None
    huntstop: bool = False
    pdd_timeout_seconds: Annotated[Whole, Field(ge=0, le=300)] = 0  # DEFAULT_PDD_SECONDS of a terminator
    probe: bool = False
    max_setup_seconds: Annotated[Whole, Field(ge=2, le=600)] = 120
    ringback: Literal["pass", "generate"] = "pass"
    codecs: Codecs = "alaw,ulaw"
    rtp_timeout_seconds: Annotated[Whole, Field(ge=0, le=3600)] = 120
    rtp_timeout_hold_seconds: Annotated[Whole, Field(ge=0, le=86_400)] = 1800

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        name = str(value.get("name", ""))
        if _PEER_NAME.fullmatch(name) is None:  # one fault is one message: the name's
            return value
        letter = "c" if value.get("role") == "originator" else "v"
        of_role = {"pdd_timeout_seconds": DEFAULT_PDD_SECONDS} if value.get("role") == "terminator" else {}
        return {"endpoint": f"{letter}-{name}", "deck": name, **of_role, **value}

    @model_validator(mode="after")
    def _roles(self) -> Self:
        if (self.role == "originator") != (self.route_class is not None):
            needs = "needs" if self.role == "originator" else "has no"
            raise ValueError(f"route_class {self.route_class!r}: a peer that is {self.role} {needs} route class")
        if self.role == "terminator" and (self.hunting_class is not None or self.target_metric is not None):
            field = "hunting_class" if self.hunting_class is not None else "target_metric"
            raise ValueError(f"{field} {getattr(self, field)!r}: a peer that is terminator has none")
        if self.role == "terminator" and "/" in self.host:
            raise ValueError(f"host {self.host!r}: a terminator is one address")
        other = {
            "terminator": ("huntstop", "pdd_timeout_seconds", "probe"),
            "originator": ("max_setup_seconds", "ringback"),
        }
        for role, fields in other.items():
            for field in fields:
                if role != self.role and getattr(self, field) != type(self).model_fields[field].default:
                    raise ValueError(f"{field} {getattr(self, field)!r}: is for peers that are {role}")
        if len(set(self.nodes)) != len(self.nodes):
            raise ValueError(f"nodes {list(self.nodes)}: one of them is named twice")
        if code := twice(self.code_limits):
            raise ValueError(f"code_limits: code {code!r} is there twice")
        if self.role == "terminator" and (self.country_code or self.anonymous != "allow"):
            field = "country_code" if self.country_code else "anonymous"
            raise ValueError(f"{field} {getattr(self, field)!r}: only an originator has one")
        return self


class Company(Part):
    """A partner: a customer, a vendor, or both."""

    name: Name
    country: Country | None = None
    enabled: bool = True
    accounts: tuple[Account, ...] = ()
    peers: tuple[Peer, ...] = ()


class World(Part):
    """What a file holds. Names that it does not mention stay in the database as they are."""

    nodes: tuple[NodeName, ...] = ()
    packs: tuple[Pack, ...] = ()
    release_tables: tuple[ReleaseTable, ...] = ()
    lookups: tuple[LookupService, ...] = ()
    mobile_networks: tuple[MobileNetwork, ...] = ()
    dids: tuple[DidBlock, ...] = ()
    system_currency: Currency | None = None
    exchange_rates: tuple[ExchangeRate, ...] = ()
    hunting_classes: tuple[HuntingClass, ...] = ()
    route_classes: tuple[RouteClass, ...] = ()
    companies: tuple[Company, ...] = ()
    termination_controls: tuple[TerminationControl, ...] = ()
    origination_controls: tuple[OriginationControl, ...] = ()
    pools: tuple[Name, ...] = ()
    blocks: Blocks | None = None  # of all calls
    allow_only: AllowOnly | None = None  # of all calls

    @model_validator(mode="after")
    def _once(self, _info: ValidationInfo) -> Self:
        named: list[tuple[str, str]] = [("nodes", name) for name in self.nodes]
        named += [("packs", pack.name) for pack in self.packs] + [("pools", name) for name in self.pools]
        named += [("release_tables", table.name) for table in self.release_tables]
        named += [("lookups", lookup.name) for lookup in self.lookups]
        named += [("mobile_networks", network.mccmnc) for network in self.mobile_networks]
        named += [("dids", did.number) for did in self.dids]
        named += [("exchange_rates", f"{rate.currency} from {rate.effective_from}") for rate in self.exchange_rates]
        named += [("hunting_classes", hunting.name) for hunting in self.hunting_classes]
        named += [("route_classes", route_class.name) for route_class in self.route_classes]
        for route_class in self.route_classes:
            named += [(f"route_classes {route_class.name!r}: entries", entry.peer) for entry in route_class.entries]
        named += [("companies", company.name) for company in self.companies]
        named += [("accounts", account.name) for company in self.companies for account in company.accounts]
        peers = [peer for company in self.companies for peer in company.peers]
        named += [("peers", peer.name) for peer in peers] + [("endpoints", peer.endpoint) for peer in peers]
        named += [("termination_controls", control.name) for control in self.termination_controls]
        named += [("origination_controls", control.name) for control in self.origination_controls]
        twice = sorted(
            f"{what}: {name!r} is there twice" for (what, name), times in Counter(named).items() if times > 1
        )
        if twice:
            raise ValueError("; ".join(twice[:_MAX_TWICE]))
        return self
