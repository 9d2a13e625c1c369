"""A failing plan made short: elements of it are left out as long as it still fails in the same way."""

from collections.abc import Callable, Sequence
from typing import Final

from tests.simulation.history import History, run
from tests.simulation.plan import CallPlan, Config, Element, Plan

MOST_RUNS: Final = 600
_SIMPLE: Final = Config(
    batch_messages=50, batch_bytes=1 << 20, frame_events=500, workers=1, balance_micros=5_000_000
)  # fmt: skip


class Shrinker:
    """Tries shorter plans, up to a number of runs."""

    def __init__(self, plan: Plan, runs: Callable[[Plan], History] = run) -> None:
        self._runs = runs
        self.tried = 0
        history = runs(plan)
        if not history.failures:
            raise ValueError(f"the history of seed {plan.seed} does not fail")
        self.kind = history.failures[0][0]
        self.plan = plan

    def shrink(self) -> Plan:
        """The shortest plan that was found."""
        self._leave_out_elements()
        config = self.plan.config
        for name in Config._fields:
            self._try(self.plan._replace(config=config._replace(**{name: getattr(_SIMPLE, name)})))
            config = self.plan.config
        for number, element in enumerate(self.plan.elements):
            if isinstance(element, CallPlan) and len(element.legs) > 1:
                elements = [*self.plan.elements]
                elements[number] = element._replace(legs=element.legs[:1])
                self._try(self.plan._replace(elements=tuple(elements)))
        self._leave_out_elements()
        return self.plan

    def _leave_out_elements(self) -> None:
        """Halves, quarters, … and at last single elements, until none can be left out."""
        size = max(1, len(self.plan.elements) // 2)
        while True:
            shorter = False
            start = 0
            while start < len(self.plan.elements):
                elements = self.plan.elements
                if self._try(self.plan._replace(elements=_without(elements, start, size))):
                    shorter = True
                else:
                    start += size
            if size == 1 and not shorter:
                return
            size = max(1, size // 2)
            if self.tried >= MOST_RUNS:
                return

    def _try(self, plan: Plan) -> bool:
        if self.tried >= MOST_RUNS or plan == self.plan:
            return False
        self.tried += 1
        failures = self._runs(plan).failures
        if any(kind == self.kind for kind, _ in failures):
            self.plan = plan
            return True
        return False


def _without(elements: Sequence[Element], start: int, size: int) -> tuple[Element, ...]:
    return (*elements[:start], *elements[start + size :])
