"""The parts of a world that say which way calls go: route classes, orders, exchange rates, and a peer's share in them.

hunting_classes:
  - {name: Best first, order_by: "route_priority, asr/5 else 45, cost"}
route_classes:
  - {name: Standard, entries: [{peer: vendor-a}]}
  - name: Daytime
    base: Standard
    time_zone: Europe/Berlin
    timetable: mon-fri 08:00-18:00, sat 09:00-13:00
    entries: [{peer: vendor-b, portion: 70}, {peer: vendor-c, portion: 30, huntstop: true}]
system_currency: USD
exchange_rates:
  - {currency: EUR, effective_from: 2026-01-01T00:00:00Z, rate: 1.0845}
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from configuration.entities.parts import Currency, Name, Part, PeerName, TimeZone, Whole, exact
from tariffs.order import DEFAULT_ORDER, OrderError, parse_order
from tariffs.timetable import TimetableError, parse_timetable

_LAST_YEAR = 2100


def _moment(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError as error:
        raise ValueError("must be a moment, as 2026-01-31T08:00:00Z or 2026-01-31T08:00:00+01:00") from error
    if moment is None:
        raise ValueError("must be a moment, as 2026-01-31T08:00:00Z")
    if moment.tzinfo is None:
        raise ValueError("must say its offset from UTC, as 2026-01-31T08:00:00Z or 2026-01-31T08:00:00+01:00")
    moment = moment.astimezone(UTC)
    if not 1970 <= moment.year < _LAST_YEAR:
        raise ValueError(f"must be from 1970 to {_LAST_YEAR - 1}")
    return moment


def _timetable(value: str) -> str:
    try:
        parse_timetable(value)
    except TimetableError as error:
        raise ValueError(str(error)) from error
    return value


def _order(value: str) -> str:
    try:
        parse_order(value)
    except OrderError as error:
        raise ValueError(str(error)) from error
    return value


Moment = Annotated[datetime, BeforeValidator(_moment)]
Timetable = Annotated[str, Field(max_length=500), BeforeValidator(lambda value: _timetable(str(value)))]
Order = Annotated[str, Field(max_length=500), BeforeValidator(lambda value: _order(str(value)))]
Percent = Annotated[Decimal, BeforeValidator(exact), Field(ge=0, le=100, max_digits=7, decimal_places=4)]
TargetValue = Annotated[Decimal, BeforeValidator(exact), Field(gt=0, le=3600, max_digits=8, decimal_places=2)]
Rate = Annotated[Decimal, BeforeValidator(exact), Field(gt=0, lt=1_000_000, max_digits=18, decimal_places=12)]


class Timed(Part):
    """What is in use from a moment on, until another, and at the hours of its timetable."""

    active_from: Moment | None = None
    active_until: Moment | None = None
    timetable: Timetable = ""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.active_from is not None and self.active_until is not None and self.active_from >= self.active_until:
            raise ValueError(f"active_until {self.active_until}: must be after active_from")
        return self


class Entry(Timed):
    """A terminator in a route class. Lower priorities are tried first. 0: no limit, no time limit, the vendor's own."""

    peer: PeerName
    priority: Annotated[Whole, Field(ge=0, le=65_535)] = 1
    enabled: bool = True
    portion: Annotated[Whole, Field(ge=0, le=100)] = 0
    max_concurrent: Annotated[Whole, Field(ge=0, le=100_000)] = 0
    max_cps: Annotated[Whole, Field(ge=0, le=10_000)] = 0
    pdd_timeout_seconds: Annotated[Whole, Field(ge=0, le=60)] = 0
    ring_seconds: Annotated[Whole, Field(ge=0, le=300)] = 0
    huntstop: bool = False


class RouteClass(Timed):
    """Which terminators an originator's calls may go to, and the class behind it. The entries are the whole list."""

    name: Name
    base: Name | None = None
    time_zone: TimeZone = "UTC"
    entries: tuple[Entry, ...] = ()


class HuntingClass(Part):
    """How the routes of an originator are ordered."""

    name: Name
    order_by: Order = DEFAULT_ORDER
    minimum_sample: Annotated[Whole, Field(ge=1, le=1_000_000)] = 30
    quality_max_age_seconds: Annotated[Whole, Field(ge=10, le=604_800)] = 900


class ExchangeRate(Part):
    """One unit of the currency is `rate` units of the system's, from that moment until the next."""

    currency: Currency
    effective_from: Moment
    rate: Rate


class Ordered(Part):
    """What a peer has to do with orders: a terminator its priority, an originator his hunting class and target."""

    priority: Annotated[Whole, Field(ge=0, le=65_535)] = 1
    hunting_class: Name | None = None
    minimum_margin_percent: Percent = Decimal(0)
    target_metric: Literal["asr", "acd", "ner"] | None = None
    target_value: TargetValue | None = None

    @model_validator(mode="after")
    def _target(self) -> Self:
        if (self.target_metric is None) != (self.target_value is None):
            raise ValueError(f"target_value {self.target_value}: a target is a metric and its value")
        if self.target_metric in ("asr", "ner") and self.target_value is not None and self.target_value > 100:
            raise ValueError(f"target_value {self.target_value}: must be 100 (percent) at most")
        return self
