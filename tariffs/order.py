"""In which order routes are tried: the text of a hunting class, read. Pure.

Metrics with ", " between them, the weightiest first. `metric/step` compares in steps: values that are equal after
rounding to the nearest one leave it to the next metric. `metric else VALUE` says what a vendor is taken to have that no
sample is known of. Behind all of them stands the cost, then the vendor's age (its number).

    route_priority, cost/0.001, asr/5 else 45, random
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

DEFAULT_ORDER: Final = "route_priority, cost"
MAX_ORDER: Final = 500  # characters
PPM: Final = 10_000  # of ratios, in a percent
# What one unit of a metric's text is in the core's units. Ratios: ppm; ACD and PDD: ms; cost: 10⁻⁸ a minute.
UNITS: Final = {
    "cost": 10**8, "peer_priority": 1, "route_priority": 1, "price_priority": 1, "code_length": 1, "random": 1,
    "portion": 1, "target": 1,
    "asr": PPM, "acd": 1000, "ner": PPM, "pdd": 1000,
    "asr_code": PPM, "acd_code": 1000, "ner_code": PPM, "pdd_code": 1000,
}  # fmt: skip
# What is taken for a vendor without a sample, where the order says nothing: an ordinary wholesale route.
ASSUMED: Final = {"asr": 50 * PPM, "ner": 90 * PPM, "acd": 180_000, "pdd": 3_000}
_METRIC: Final = re.compile(
    rf"({'|'.join(sorted(UNITS, key=len, reverse=True))})"
    r"(?:/([0-9]{1,6})(?:\.([0-9]{1,8}))?)?(?: else ([0-9]{1,6})(?:\.([0-9]{1,4}))?)?",
    re.ASCII,
)
_QUALITY: Final = frozenset(ASSUMED)


class OrderError(ValueError):
    """A text that is no order: says which metric and which rule."""


class Metric(NamedTuple):
    """One metric of an order. Steps and assumed values are in 10⁻⁸ of the text's unit: see `units`."""

    name: str
    step_e8: int = 0  # 0: strict
    assumed_e8: int | None = None

    @property
    def figure(self) -> str:
        """`asr`, `acd`, `ner` or `pdd` of a metric of quality; else nothing."""
        base = self.name.removesuffix("_code")
        return base if base in _QUALITY else ""

    @property
    def by_code(self) -> bool:
        """Whether it is looked up by the vendor's code, too."""
        return self.name.endswith("_code")

    def step(self, unit: int) -> int:
        """The step in a unit's core units, at least 1."""
        return max(1, self.step_e8 * unit // 10**8)

    def assumed(self, figure: str) -> int:
        """What a vendor without a sample is taken to have, in core units."""
        if self.assumed_e8 is None:
            return ASSUMED[figure]
        return self.assumed_e8 * UNITS[figure] // 10**8


@lru_cache(maxsize=1024)
def parse_order(text: str) -> tuple[Metric, ...]:
    """The metrics of an order's text. Raises OrderError."""
    if len(text) > MAX_ORDER:
        raise OrderError(f"order of {len(text)} characters: must be {MAX_ORDER} at most")
    metrics: list[Metric] = []
    for part in text.split(", "):
        match = _METRIC.fullmatch(part)
        if match is None:
            raise OrderError(
                f"metric {part[:60]!r}: must be one of {', '.join(UNITS)}, with /STEP where it is compared in steps"
            )
        name, step, step_digits, assumed, assumed_digits = match.groups()
        metric = Metric(
            name,
            _e8(step, step_digits) or 0,
            _e8(assumed, assumed_digits),
        )
        if name in ("random", "portion") and step is not None:
            raise OrderError(f"metric {part!r}: {name} has no steps")
        if assumed is not None and not metric.figure and name != "target":
            raise OrderError(f"metric {part!r}: 'else' is for quality only")
        if any(metric.name == other.name for other in metrics):
            raise OrderError(f"metric {name!r}: is there twice")
        metrics.append(metric)
    return tuple(metrics)


def _e8(whole: str | None, digits: str | None) -> int | None:
    if whole is None:
        return None
    return int(whole) * 10**8 + int((digits or "").ljust(8, "0"))
