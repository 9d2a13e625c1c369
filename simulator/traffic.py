"""Who calls whom, when: pure and seeded. Poisson arrivals, customers with hours of the day, numbers of known codes.

Every call is drawn from its own generator (seed and number of the call), so that a call is the same whatever became of
the calls before it. Most calls are ordinary; a few are what a switch sees too: numbers that are none, destinations that
nobody prices, strangers, customers that were switched off.
"""

import itertools
import math
import random
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from simulator import people
from simulator.incidents import Incident
from simulator.plans import CallIntent
from simulator.world import Customer, World

Profile = Literal["flat", "daily"]
ANONYMOUS_ENDPOINT: Final = "anonymous"

# Relative traffic by hour of the customer's own day.
_HOURS: Final = {
    "business": (1, 1, 1, 1, 2, 4, 10, 35, 75, 95, 100, 98, 80, 88, 97, 95, 85, 60, 35, 20, 12, 8, 4, 2),
    "residential": (20, 10, 6, 4, 4, 6, 12, 20, 28, 35, 40, 44, 48, 48, 46, 48, 55, 66, 80, 94, 100, 90, 65, 40),
    "wholesale": (45, 36, 30, 28, 28, 32, 42, 56, 72, 84, 92, 96, 95, 96, 98, 100, 98, 94, 90, 86, 82, 76, 66, 55),
}
_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_SLICE_MS: Final = 1_000  # for how long the rate is taken as constant

_BAD_NUMBER, _UNKNOWN_CODE, _STRANGER, _UNROUTED, _DISABLED = 0.015, 0.012, 0.004, 0.010, 0.010
_DIALLED_AS: Final = (("", 70), ("+", 20), ("00", 10))
_BAD_NUMBERS: Final = (
    "12",
    "0",
    "44abc7700",
    "4477009001234567",
    "447700900123;phone-context=x",
    "",
    "**21*",
    "+",
    "s",
)


class Arrival(NamedTuple):
    """The next moment of interest: a call is made then (`is_call`), or the rate has to be looked at again."""

    at_ms: int
    is_call: bool


class Traffic:
    """The stream of calls of one run. `start_ms`: the simulator's start, unix milliseconds on its own clock."""

    def __init__(
        self,
        world: World,
        *,
        seed: int,
        cps: float,
        start_ms: int,
        profile: Profile = "flat",
        talk_seconds: float = 35.0,
        incidents: Sequence[Incident] = (),
    ) -> None:
        self._world = world
        self._seed = seed
        self._cps = cps
        self._start_ms = start_ms
        self._profile = profile
        self._talk_seconds = talk_seconds
        self._surges = [incident for incident in incidents if incident.kind == "surge"]
        self._gaps = random.Random(f"{seed}/arrivals")
        self._active = [customer for customer in world.customers if customer.enabled and customer.codes]
        self._disabled = [customer for customer in world.customers if not customer.enabled]
        self._nodes = sorted({node for customer in world.customers for node in customer.nodes})
        self._sizes = customer_sizes(self._active, seed, cps, talk_seconds)
        self._hours = [_hours_of(customer, seed) for customer in self._active]
        self._slice = -1
        self._cumulative: list[float] = []
        self._rate = 0.0

    def rate_at(self, at_ms: int) -> float:
        """Calls a second at a moment, surges included."""
        self._look(at_ms)
        return self._rate

    def next_arrival(self, now_ms: int) -> Arrival:
        """When the next call comes, or when to ask again (the rate may have changed by then)."""
        rate = self.rate_at(now_ms)
        slice_end_ms = (now_ms // _SLICE_MS + 1) * _SLICE_MS
        if rate <= 0:
            return Arrival(slice_end_ms, False)
        at_ms = now_ms + self._gap_ms(rate)
        # Poisson arrivals have no memory: what lies beyond the slice is drawn again with the rate of then.
        return Arrival(at_ms, True) if at_ms < slice_end_ms else Arrival(slice_end_ms, False)

    def make_call(self, number: int, at_ms: int) -> CallIntent:
        """The call number `number` (from 1), made at `at_ms`."""
        self._look(at_ms)
        rng = random.Random(f"{self._seed}/call/{number}")
        kind = rng.random()
        customer = self._active[_pick(rng, self._cumulative)]
        if kind < _DISABLED and self._disabled:
            customer = rng.choice(self._disabled)
        node = rng.choice(customer.nodes)
        callee = self._callee(rng, customer)
        endpoint, address = customer.endpoint, customer.remote_address
        if _DISABLED <= kind < _DISABLED + _STRANGER:
            node, endpoint = rng.choice(self._nodes), ANONYMOUS_ENDPOINT
            address = f"127.9.{rng.randint(0, 255)}.{rng.randint(1, 254)}:{rng.randint(1024, 65535)}"
        return CallIntent(
            number=number,
            node=node,
            endpoint=endpoint,
            remote_address=address,
            callee=callee,
            caller=people.draw_caller(rng, customer.codes[0] if customer.codes else "1212"),
            patience_ms=people.draw_patience_ms(rng),
            callee_plan=people.draw_callee_plan(rng, self._talk_seconds),
        )

    def _gap_ms(self, rate: float) -> int:
        # Rounded at random, not down: at 1,000 calls a second a lost half millisecond is half the gap.
        exact = self._gaps.expovariate(rate) * 1_000
        whole = int(exact)
        return whole + (self._gaps.random() < exact - whole)

    def _look(self, at_ms: int) -> None:
        """The shares and the rate of the slice that a moment lies in."""
        if at_ms // _SLICE_MS == self._slice:
            return
        self._slice = at_ms // _SLICE_MS
        elapsed_seconds = (at_ms - self._start_ms) / 1_000
        hour = at_ms % _DAY_MS / _HOUR_MS
        usual = [size * _curve(hours, hour) for size, hours in zip(self._sizes, self._hours, strict=True)]
        weights = list(usual)
        everybody = 1.0
        for surge in self._surges:
            if surge.is_on(elapsed_seconds):
                if not surge.target:
                    everybody *= surge.value
                else:
                    weights = [
                        weight * (surge.value if customer.name == surge.target else 1.0)
                        for weight, customer in zip(weights, self._active, strict=True)
                    ]
        busiest = sum(self._sizes) if self._profile == "daily" else sum(usual)
        self._rate = self._cps * everybody * sum(weights) / busiest
        self._cumulative = list(itertools.accumulate(weights))

    def _callee(self, rng: random.Random, customer: Customer) -> str:
        kind = rng.random()
        if kind < _BAD_NUMBER:
            return rng.choice(_BAD_NUMBERS)
        if kind < _BAD_NUMBER + _UNKNOWN_CODE and self._world.unknown_codes:
            code = rng.choice(self._world.unknown_codes)
        elif kind < _BAD_NUMBER + _UNKNOWN_CODE + _UNROUTED and customer.unrouted_codes:
            code = rng.choice(customer.unrouted_codes)
        elif customer.codes:
            code = customer.codes[_popular(rng, len(customer.codes))]
        else:
            code = "1212"
        number = people.draw_number(rng, code)
        if customer.tech_prefix:
            return customer.tech_prefix + number
        written = rng.choices(_DIALLED_AS, [weight for _, weight in _DIALLED_AS])[0][0]
        return written + number


def customer_sizes(customers: Sequence[Customer], seed: int, cps: float, talk_seconds: float) -> list[float]:
    """Each customer's share of the traffic (they sum to 1): a few are large; most stay within their own limits.

    One that has a limit gets at most what fills it nine tenths on average, so that it is refused at its peaks; what is
    cut off goes to those without limits, or back to all where nobody is without.
    """
    raw = [random.Random(f"{seed}/size/{customer.peer_id}").paretovariate(1.2) for customer in customers]
    total = sum(raw)
    shares = [size / total for size in raw]
    most = [_most_share(customer, cps, talk_seconds) for customer in customers]
    capped = [min(share, limit) for share, limit in zip(shares, most, strict=True)]
    free = [share if math.isinf(limit) else 0.0 for share, limit in zip(shares, most, strict=True)]
    spare = 1.0 - sum(capped)
    receivers = free if sum(free) > 0 else shares
    return [share + spare * part / sum(receivers) for share, part in zip(capped, receivers, strict=True)]


def _most_share(customer: Customer, cps: float, talk_seconds: float) -> float:
    limits = [math.inf]
    if customer.max_cps:
        limits.append(customer.max_cps * 0.6 / cps)
    if customer.max_concurrent:
        held_seconds = talk_seconds * 0.6 + 10.0  # of a call, answered or not
        limits.append(customer.max_concurrent * 0.9 / held_seconds / cps)
    return min(limits)


def _hours_of(customer: Customer, seed: int) -> tuple[float, ...]:
    """The customer's day in UTC, as shares of its busiest hour."""
    rng = random.Random(f"{seed}/hours/{customer.peer_id}")
    hours = _HOURS[rng.choice(list(_HOURS))]
    shift = rng.randint(-8, 9)
    return tuple(hours[(hour + shift) % 24] / 100 for hour in range(24))


def _curve(hours: Sequence[float], hour: float) -> float:
    low = int(hour)
    part = hour - low
    return hours[low % 24] * (1 - part) + hours[(low + 1) % 24] * part


def _pick(rng: random.Random, cumulative: Sequence[float]) -> int:
    return rng.choices(range(len(cumulative)), cum_weights=cumulative)[0]


def _popular(rng: random.Random, count: int) -> int:
    """An index from 0: the first ones far more often than the last."""
    return min(count - 1, int(count * rng.random() ** 2.5))
