"""What vendors and customers have done lately, from the stream: what the controllers judge by. Pure.

Vendors: the figures of their legs (quality.py), each at the moment of its outcome: answered, or failed. By the moment
of its end a leg that talks would come after those that failed at the same time, and a vendor who has just got his first
calls would look bad; so answered legs that go on are there too, from the live view. Only talk is counted at its end.
Customers: attempts from the router's decisions, minutes and money from
rated legs, calls going on from the live view, and which destinations each of them calls.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.events import AnyEvent, CallEnded, CallRouted, LegEnded, RatedLeg
from schemas.ids import make_leg_id
from schemas.live import LiveCall
from streams.folds import quality
from streams.folds.controls import E6, Metric, OriginationControl
from streams.folds.quality import Figures, Key
from streams.folds.window import Window

MOST_LEGS: Final = 1_000_000
MOST_KEYS: Final = 100_000
MOST_CALLS: Final = 50_000
MOST_DESTINATIONS: Final = 500_000
_DAY_MS: Final = 86_400_000
HISTORY_MS: Final = 30 * _DAY_MS  # what was not called for so long is new again


class Seen(NamedTuple):
    """Since when a customer calls a destination without a long pause, and when last."""

    first_ms: int
    last_ms: int


class Going(NamedTuple):
    """A call that goes on: whose, since when it is answered, and the vendor's side of that."""

    peer_id: int
    answered_at_ms: int | None
    leg_id: str = ""
    keys: tuple[Key, ...] = ()


class Behaviour:
    """Folds events of `rated-legs` and `decisions`, and the values of `active-calls`. Repeats change nothing."""

    def __init__(self, window_ms: int, destinations: Mapping[tuple[int, int], Seen]) -> None:
        """`destinations`: what is known of (customer's peer, destination)."""
        bounds = {"most_legs": MOST_LEGS, "most_keys": MOST_KEYS}
        self.vendors: Window[Key] = Window(window_ms, quality.WIDTH, **bounds)
        self.talk: Window[Key] = Window(window_ms, quality.WIDTH, **bounds)
        self.bills: Window[int] = Window(window_ms, 2, **bounds)  # talk in ms, amount in micros
        self.attempts: Window[int] = Window(window_ms, 1, **bounds)
        self.going: dict[bytes, Going] = {}
        self.destinations = dict(destinations)
        self.lost = 0
        self._changed: set[tuple[int, int]] = set()
        self._answers: dict[Key, list[int]] | None = None

    def take(self, event: AnyEvent, now_ms: int) -> None:
        """One event; what tells of nobody's behaviour is passed over."""
        if isinstance(event, RatedLeg):
            ended = event.ended
            if isinstance(ended, LegEnded):
                self._count_leg(event.leg_id, ended, now_ms)
            if isinstance(ended, CallEnded) and ended.facts is not None and not ended.estimated:
                values = (ended.duration_ms, event.amount_micros)
                parts = [(ended.facts.customer_peer_id, values)] if ended.facts.customer_peer_id else []
                self.bills.add(event.leg_id, ended.ended_at_ms, parts, now_ms)
        elif isinstance(event, CallRouted) and event.customer_peer_id:
            attempt = [(event.customer_peer_id, (1,))]
            if self.attempts.add(event.call_id, event.routed_at_ms, attempt, now_ms) and event.destination_id:
                self._see((event.customer_peer_id, event.destination_id), event.routed_at_ms)

    def take_live(self, key: bytes, call: LiveCall | None) -> None:
        """What the live view says of a call; None: nothing any more."""
        self._answers = None
        if call is None or call.ended_at_ms is not None or call.call_facts is None:
            self.going.pop(key, None)
        elif key in self.going or len(self.going) < MOST_CALLS:
            self.going[key] = _going(call, call.call_facts.customer_peer_id)
        else:
            self.lost += 1

    def expire(self, now_ms: int) -> None:
        """Take away what is older than the window."""
        for window in (self.vendors, self.talk, self.bills, self.attempts):
            window.expire(now_ms)

    def figures(self, metric: Metric, key: Key, from_ms: int, until_ms: int) -> Figures:
        """A vendor's figures, as a metric wants them, of the outcomes (of acd: the ends) in [from_ms, until_ms)."""
        if metric == "acd":
            return Figures(*self.talk.between(key, from_ms, until_ms))
        figures = Figures(*self.vendors.between(key, from_ms, until_ms))
        answers = self._live_answers().get(key)
        if not answers:
            return figures
        live = bisect_left(answers, until_ms) - bisect_left(answers, from_ms)
        return figures._replace(
            attempts=figures.attempts + live,
            answered=figures.answered + live,
            effective=figures.effective + live,
            effective_of=figures.effective_of + live,
        )

    def _count_leg(self, leg_id: str, ended: LegEnded, now_ms: int) -> None:
        self._answers = None
        figures = quality.figures_of(ended)
        parts = [(key, figures) for key in quality.keys_of(ended)]
        if parts:
            outcome_ms = ended.answered_at_ms if ended.answered_at_ms is not None else ended.ended_at_ms
            self.vendors.add(leg_id, outcome_ms, parts, now_ms)
            self.talk.add(leg_id, ended.ended_at_ms, parts, now_ms)

    def _live_answers(self) -> dict[Key, list[int]]:
        """When the legs that go on were answered, of each vendor and code, ascending; those not counted as ended."""
        if self._answers is None:
            found: dict[Key, list[int]] = {}
            for call in self.going.values():
                if call.answered_at_ms is not None and not self.vendors.has(call.leg_id, call.answered_at_ms):
                    for key in call.keys:
                        found.setdefault(key, []).append(call.answered_at_ms)
            for answers in found.values():
                answers.sort()
            self._answers = found
        return self._answers

    def _see(self, place: tuple[int, int], at_ms: int) -> None:
        seen = self.destinations.get(place)
        if seen is None and len(self.destinations) >= MOST_DESTINATIONS:
            self.lost += 1
            return
        if seen is None or at_ms - seen.last_ms > HISTORY_MS:
            self.destinations[place] = Seen(at_ms, at_ms)
        elif seen.first_ms - HISTORY_MS <= at_ms < seen.first_ms or at_ms > seen.last_ms:
            self.destinations[place] = Seen(min(seen.first_ms, at_ms), max(seen.last_ms, at_ms))
        else:
            return
        self._changed.add(place)

    def take_changed(self) -> dict[tuple[int, int], Seen]:
        """What is known anew of destinations since this was asked last."""
        changed, self._changed = self._changed, set()
        return {place: self.destinations[place] for place in changed}

    def measured(self, control: OriginationControl, moment_ms: int) -> dict[int, int]:
        """The control's measure of every customer's peer at `moment_ms`, in millionths."""
        window_ms = control.window_seconds * 1000
        from_ms = moment_ms - window_ms
        if control.measure == "concurrent":
            found: dict[int, int] = {}
            for call in self.going.values():
                found[call.peer_id] = found.get(call.peer_id, 0) + E6
            return found
        if control.measure == "cps":
            return {
                peer_id: self.attempts.between(peer_id, from_ms, moment_ms)[0] * E6 // control.window_seconds
                for peer_id in self.attempts.totals()
            }
        if control.measure == "new_destinations":
            return self._new_destinations(from_ms, moment_ms)
        if control.measure == "spend":
            return {peer_id: self.bills.between(peer_id, from_ms, moment_ms)[1] for peer_id in self.bills.totals()}
        talk_ms = {peer_id: self.bills.between(peer_id, from_ms, moment_ms)[0] for peer_id in self.bills.totals()}
        for call in self.going.values():
            if call.answered_at_ms is not None and call.answered_at_ms < moment_ms:
                running_ms = moment_ms - max(from_ms, call.answered_at_ms)
                talk_ms[call.peer_id] = talk_ms.get(call.peer_id, 0) + running_ms
        return {peer_id: ms * E6 // 60_000 for peer_id, ms in talk_ms.items()}

    def _new_destinations(self, from_ms: int, moment_ms: int) -> dict[int, int]:
        """To whoever has called us for less than a day everything is new: he is not judged yet."""
        oldest: dict[int, int] = {}
        fresh: dict[int, int] = {}
        for (peer_id, _), seen in self.destinations.items():
            oldest[peer_id] = min(oldest.get(peer_id, seen.first_ms), seen.first_ms)
            if from_ms <= seen.first_ms < moment_ms:
                fresh[peer_id] = fresh.get(peer_id, 0) + E6
        return {peer_id: count for peer_id, count in fresh.items() if oldest[peer_id] <= moment_ms - _DAY_MS}


def _going(call: LiveCall, customer_peer_id: int) -> Going:
    for leg in call.legs:
        if leg.answered_at_ms is not None and leg.ended_at_ms is None:
            facts = leg.facts
            keys = quality.vendor_keys(facts) if facts is not None else []
            return Going(customer_peer_id, leg.answered_at_ms, make_leg_id(call.call_id, leg.leg), tuple(keys))
    return Going(customer_peer_id, None)
