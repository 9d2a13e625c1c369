"""The vendors' quality, pure: by vendor and destination, from the seed alone, so that a bad route stays a bad route.

A vendor has a grade; each destination (the first digits of the code as bought) moves it a little. What it does with one
INVITE is drawn from that, from what the called party would do, and from the incidents that go on.
"""

import random
from collections.abc import Mapping
from typing import Final, NamedTuple

from simulator.plans import CalleePlan, LegPlan

_DESTINATION_DIGITS: Final = 3
_MOST_QUALITIES: Final = 65_536
_LONGEST_PDD_MS: Final = 20_000


class Grade(NamedTuple):
    """A class of vendors: share of calls delivered, median PDD, share of false answers; and how common the class is."""

    delivered: float
    pdd_ms: int
    false_answers: float
    weight: int


GRADES: Final = {
    "premium": Grade(0.97, 1_100, 0.0, 3),
    "standard": Grade(0.90, 1_900, 0.002, 4),
    "grey": Grade(0.74, 3_200, 0.03, 3),
    "poor": Grade(0.48, 4_500, 0.05, 1),
}


class Failure(NamedTuple):
    """A way in which a vendor fails a call by itself: its SIP code (0: silence), after how long, how common."""

    sip_code: int
    from_ms: int
    to_ms: int
    weight: int


FAILURES: Final = (
    Failure(503, 20, 250, 52),
    Failure(503, 2_000, 6_000, 12),
    Failure(502, 100, 1_500, 8),
    Failure(500, 50, 800, 6),
    Failure(480, 300, 2_000, 6),
    Failure(404, 40, 400, 6),
    Failure(403, 20, 200, 4),
    Failure(408, 5_000, 9_000, 3),
    Failure(0, 0, 0, 3),
)
_FAILURE_WEIGHTS: Final = [failure.weight for failure in FAILURES]


class Quality(NamedTuple):
    """A vendor to one destination."""

    delivered: float
    pdd_ms: float  # median
    false_answers: float
    early_media: float  # share of calls with 183 before or instead of 180


class Effects(NamedTuple):
    """What the incidents that go on do to one leg."""

    down: bool = False
    unreachable: bool = False
    extra_ms: int = 0
    answers_kept: float = 1.0
    false_answers: float = 0.0


NO_EFFECTS: Final = Effects()


class Vendors:
    """The qualities of all vendors under one seed. `names`: peer id to name; `kestrel-grey` tells its grade."""

    def __init__(self, seed: int, names: Mapping[int, str]) -> None:
        self._seed = seed
        self.names = dict(names)
        self._qualities: dict[tuple[int, str], Quality] = {}

    def grade_of(self, peer_id: int) -> str:
        """The grade of a vendor: as its name says, else drawn; a name of GRADES."""
        named = self.names.get(peer_id, "").rpartition("-")[2]
        if named in GRADES:
            return named
        rng = random.Random(f"{self._seed}/vendor/{peer_id}")
        return rng.choices(list(GRADES), [grade.weight for grade in GRADES.values()])[0]

    def quality_of(self, peer_id: int, code: str) -> Quality:
        """The quality of a vendor to the destination that a code belongs to."""
        key = (peer_id, code[:_DESTINATION_DIGITS])
        quality = self._qualities.get(key)
        if quality is None:
            if len(self._qualities) >= _MOST_QUALITIES:
                self._qualities.clear()
            quality = self._qualities[key] = self._draw_quality(*key)
        return quality

    def _draw_quality(self, peer_id: int, destination: str) -> Quality:
        grade = GRADES[self.grade_of(peer_id)]
        rng = random.Random(f"{self._seed}/vendor/{peer_id}/{destination}")
        return Quality(
            delivered=min(0.995, max(0.05, grade.delivered * rng.uniform(0.88, 1.06))),
            pdd_ms=grade.pdd_ms * rng.uniform(0.6, 1.6),
            false_answers=grade.false_answers * rng.uniform(0.0, 2.0),
            early_media=rng.choice((0.1, 0.3, 0.7)),
        )


def plan_leg(rng: random.Random, quality: Quality, callee: CalleePlan, effects: Effects = NO_EFFECTS) -> LegPlan:
    """What the vendor does with one INVITE to this called party."""
    if effects.down:
        return LegPlan(final_ms=rng.randint(10, 80), sip_code=503)
    if effects.unreachable:
        return LegPlan()
    pdd_ms = min(_LONGEST_PDD_MS, int(quality.pdd_ms * rng.lognormvariate(0.0, 0.35))) + effects.extra_ms
    if rng.random() < max(quality.false_answers, effects.false_answers):
        return _false_answer(rng, pdd_ms)
    if rng.random() >= quality.delivered or (callee.answers and rng.random() >= effects.answers_kept):
        return _failure(rng, effects.extra_ms)
    return _delivered(rng, quality, callee, pdd_ms)


def _delivered(rng: random.Random, quality: Quality, callee: CalleePlan, pdd_ms: int) -> LegPlan:
    early_media = callee.rings and rng.random() < quality.early_media
    rings_too = callee.rings and (not early_media or rng.random() < 0.4)
    final_ms = pdd_ms + callee.wait_ms
    return LegPlan(
        ring_ms=pdd_ms if rings_too else None,
        progress_ms=pdd_ms + rng.randint(0, 300) if early_media else None,
        final_ms=final_ms,
        sip_code=200 if callee.answers else callee.sip_code,
        talk_ms=callee.talk_ms,
        ended_by=callee.ended_by,
    )


def _failure(rng: random.Random, extra_ms: int) -> LegPlan:
    failure = rng.choices(FAILURES, _FAILURE_WEIGHTS)[0]
    if failure.sip_code == 0:
        return LegPlan()
    return LegPlan(final_ms=rng.randint(failure.from_ms, failure.to_ms) + extra_ms, sip_code=failure.sip_code)


def _false_answer(rng: random.Random, pdd_ms: int) -> LegPlan:
    """The vendor answers by itself and plays ringing: the caller gives up after some billed seconds."""
    return LegPlan(
        ring_ms=pdd_ms,
        final_ms=pdd_ms + rng.randint(200, 1_500),
        sip_code=200,
        talk_ms=rng.randint(4_000, 16_000),
        ended_by="caller",
    )
