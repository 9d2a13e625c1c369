"""Routing by the definitions, slowly: all raw prices scanned, exact fractions, one Python key for each vendor."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy
from snapshots import EXPECTED_SECONDS, PriceRow, RawWorld

from router.core import draws
from router.snapshot.config import Peer, RouteClass, RouteEntry
from schemas.agi import MAX_ROUTES
from schemas.facts import Facts
from schemas.quality import Quality
from tariffs.rating import billed_seconds, rate

_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_ASSUMED = {"asr": Fraction(50), "ner": Fraction(90), "acd": Fraction(180), "pdd": Fraction(3)}
Known = Mapping[str, Quality]


class Usable(NamedTuple):
    """A vendor that may be tried, with what orders ask."""

    vendor: Peer
    place: int
    depth: int
    entry: RouteEntry
    code: str
    cost_e8: int


def price_in_force(
    rows: Sequence[PriceRow], number: str, now_ms: int, allow_free: bool
) -> tuple[str, int | None] | None:
    """The longest code with a row in force, and its newest price (None: blocked), by scanning all rows."""
    for end in range(len(number), 0, -1):
        begun = [row for row in rows if row[0] == number[:end] and row[1] <= now_ms]
        if begun:
            price = max(begun, key=lambda row: row[1])[2]
            return number[:end], None if price == 0 and not allow_free else price
    return None


def bill_micros(one: Peer, price_e8: int) -> int:
    """What a call of the expected length is billed, by the rating function itself."""
    pack = one.pack
    facts = Facts(
        side="payable", customer_company_id=0, customer_peer_id=0, vendor_company_id=0, vendor_peer_id=0, account_id=0,
        generation=0, currency=pack.currency, code="1", price_id=0, destination_id=0, price_e8=price_e8,
        connect_fee_micros=pack.connect_fee_micros, minimum_seconds=pack.minimum_seconds,
        increment_seconds=pack.increment_seconds, free_seconds=pack.free_seconds,
        rounding_decimals=pack.rounding_decimals, duration_rounding=pack.duration_rounding, caller="", callee="1",
    )  # fmt: skip
    return rate(facts, EXPECTED_SECONDS * 1000, True).amount_micros


def per_minute(one: Peer, price_e8: int) -> tuple[Fraction, Fraction]:
    """The price per minute, in 10⁻⁸ of the pack's currency, of a call of the expected length: exact, and as billed."""
    pack = one.pack
    billed = billed_seconds(EXPECTED_SECONDS, pack.minimum_seconds, pack.increment_seconds, pack.free_seconds)
    if not billed:
        return Fraction(0), Fraction(0)
    exact = (Fraction(pack.connect_fee_micros * 100) + Fraction(billed * price_e8, 60)) * 60 / EXPECTED_SECONDS
    return exact, Fraction(bill_micros(one, price_e8) * 100 * 60, EXPECTED_SECONDS)


def ceil(value: Fraction) -> int:
    """Rounded up."""
    return -int(-value // 1)


def rate_of(world: RawWorld, currency: str) -> Fraction:
    """What a currency is in the comparable one."""
    return Fraction(*world.rates.get(currency, (1, 1)))


def is_active(one: RouteClass | RouteEntry, zone: str, now_ms: int) -> bool:
    """Whether a class or an entry is in use, by the wall clock."""
    if now_ms < one.active_from_ms or (one.active_until_ms and now_ms >= one.active_until_ms):
        return False
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now_ms)).astimezone(ZoneInfo(zone))
    clock = f"{local.hour:02}:{local.minute:02}"
    for rule in filter(None, one.timetable.split(", ")):  # in these tests: `DAY HH:MM-HH:MM` within a day
        day, hours = rule.split(" ")
        start, end = hours.split("-")
        if local.weekday() == _DAYS.index(day) and start <= clock < end:
            return True
    return not one.timetable


def placed(world: RawWorld, now_ms: int) -> list[tuple[int, RouteEntry]]:
    """(depth, entry) of each vendor of the customer's class and its bases that is there now."""
    classes = {one.route_class_id: one for one in world.classes} or {
        1: RouteClass(1, "all", tuple(RouteEntry(*entry) for entry in world.entries))
    }
    found: dict[int, tuple[int, RouteEntry]] = {}
    class_id, depth = world.peers[0].route_class_id, 0
    while class_id:
        route_class = classes[class_id]
        if is_active(route_class, route_class.time_zone, now_ms):
            for entry in route_class.entries:
                if entry.peer_id not in found and is_active(entry, route_class.time_zone, now_ms):
                    found[entry.peer_id] = (depth, entry)
        class_id, depth = route_class.base_class_id, depth + 1
    return list(found.values())


def oracle(
    world: RawWorld, number: str, now_ms: int, known: Known | None = None, seed: int = 0, at_ms: int | None = None
) -> tuple[str, list[tuple[int, str]]]:
    """(refusal or '', [(vendor, code) in order]). Prices are those at `now_ms`, times of classes those at `at_ms`."""
    at_ms = now_ms if at_ms is None else at_ms
    customer = world.peers[0]
    sold = price_in_force(world.prices[customer.deck_id], number, now_ms, allow_free=True)
    if sold is None:
        return "NOT BILLABLE", []
    if sold[1] is None:
        return "BLOCKED", []
    if sold[1] == 0 and not customer.pack.allow_free_codes:
        return "NOT BILLABLE", []
    rate = rate_of(world, customer.pack.currency)
    income = int(int(min(per_minute(customer, sold[1])) // 1) * rate // 1)
    usable = _usable(world, customer, number, now_ms, at_ms)
    if not usable:
        return "NO ROUTE", []
    margin = max(
        ceil(customer.minimum_margin_e8 * rate),
        ceil(Fraction(income * customer.minimum_margin_ppm, 1_000_000)),
        1 if customer.profit == "profit_only" else 0,
    )
    good = [one for one in usable if customer.profit == "allow_losses" or income - one.cost_e8 >= margin]
    ordered = sorted(good, key=lambda one: order_key(world, one, known or {}, at_ms, seed))
    routes = [(one.vendor.peer_id, one.code) for one in ordered][:MAX_ROUTES]
    return ("" if routes else "NO PROFITABLE ROUTE"), routes


def _usable(world: RawWorld, customer: Peer, number: str, now_ms: int, at_ms: int) -> list[Usable]:
    by_id = {one.peer_id: one for one in world.peers}
    places = {one.peer_id: place for place, one in enumerate(world.peers)}
    usable = []
    for depth, entry in placed(world, at_ms):
        one = by_id[entry.peer_id]
        bought, sold = one.pack.currency, customer.pack.currency
        if (
            not (entry.enabled and one.enabled)
            or one.company_id == customer.company_id
            or (bought != sold and not {bought, sold} <= set(world.rates))
        ):
            continue
        found = price_in_force(world.prices[one.deck_id], number, now_ms, one.pack.allow_free_codes)
        if found is not None and found[1] is not None:
            cost = ceil(ceil(max(per_minute(one, found[1]))) * rate_of(world, bought))
            usable.append(Usable(one, places[one.peer_id], depth, entry, found[0], cost))
    return usable


def order_key(world: RawWorld, one: Usable, known: Known, now_ms: int, seed: int) -> tuple[Any, ...]:
    """What a vendor is sorted by: less is tried first."""
    customer = world.peers[0]
    hunting = next((h for h in world.hunting_classes if h.hunting_class_id == customer.hunting_class_id), None)
    keys: list[Any] = [one.depth]
    for part in (hunting.order_by if hunting else "route_priority, cost").split(", "):
        text, _, other = part.partition(" else ")
        name, _, step = text.partition("/")

        def figure(quality: Quality | None, of: str) -> Fraction | None:
            assert hunting is not None
            if quality is None or now_ms - quality.at_ms > hunting.quality_max_age_seconds * 1000:
                return None
            whole, sample = {
                "asr": (Fraction(100 * quality.answered), quality.attempts),
                "ner": (Fraction(100 * quality.effective), quality.effective_of),
                "acd": (Fraction(quality.talk_ms, 1000), quality.answered),
                "pdd": (Fraction(quality.pdd_ms, 1000), quality.pdd_legs),
            }[of]
            if sample < hunting.minimum_sample:
                return None
            unit = 10_000 if of in ("asr", "ner") else 1000  # whole ppm, whole milliseconds
            return Fraction(int(whole * unit / sample), unit)

        def key(value: Fraction, better: int, step: str = step) -> Fraction:
            return better * (value if not step else (value / Fraction(step) + Fraction(1, 2)) // 1)

        base = name.removesuffix("_code")
        if name == "cost":
            keys.append(key(Fraction(one.cost_e8, 10**8), 1))
        elif name == "route_priority":
            keys.append(key(Fraction(one.entry.priority), 1))
        elif name == "peer_priority":
            keys.append(key(Fraction(one.vendor.priority), 1))
        elif name == "code_length":
            keys.append(key(Fraction(len(one.code)), -1))
        elif name == "price_priority":
            keys.append(0)
        elif name == "random":
            keys.append(int(draws.draws(draws.salts([one.vendor.peer_id]), seed, draws.RANDOM)[0]))
        elif name == "portion":
            wait = float(draws.waits(draws.salts([one.vendor.peer_id]), seed)[0])
            keys.append(numpy.float64(wait) * (1 / one.entry.portion if one.entry.portion else numpy.inf))
        elif name == "target":
            keys.append(_target_key(customer, one, known, figure, key, other))
        else:
            code = one.code if name.endswith("_code") else ""
            side = "vendor_code" if code else "vendor"
            found = figure(known.get(f"{side}/{one.vendor.peer_id}/{code}"), base)
            value = found if found is not None else Fraction(other) if other else _ASSUMED[base]
            keys.append(key(value, 1 if base == "pdd" else -1))
    return (*keys, one.cost_e8, one.place)


def _target_key(customer: Peer, one: Usable, known: Known, figure: Any, key: Any, other: str) -> Any:
    of = customer.target_metric
    own = figure(known.get(f"customer/{customer.peer_id}/"), of) if of else None
    if own is None:
        return 0
    wanted = min(
        Fraction(3600 if of == "acd" else 100), max(Fraction(0), 2 * Fraction(customer.target_value_e2, 100) - own)
    )
    found = figure(known.get(f"vendor/{one.vendor.peer_id}/"), of)
    value = found if found is not None else Fraction(other) if other else _ASSUMED[of]
    return key(abs(value - wanted), 1)
