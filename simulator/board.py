"""Which incidents strike one leg: pure, asked for every INVITE to a vendor.

An incident without a target is given one when it first strikes: the vendor that has carried the most legs by then.
"""

from collections.abc import Callable, Sequence

from simulator.incidents import KINDS, Incident
from simulator.vendors import NO_EFFECTS, Effects


class Board:
    """The incidents of one run. `busiest_vendor` names the vendor with the most legs so far ('': none yet)."""

    def __init__(self, incidents: Sequence[Incident], busiest_vendor: Callable[[], str]) -> None:
        self._incidents = [incident for incident in incidents if KINDS[incident.kind].target in ("vendor", "code")]
        self._busiest_vendor = busiest_vendor
        self._chosen: dict[int, str] = {}

    def effects_on(self, vendor: str, number: str, elapsed_seconds: float) -> Effects:
        """What goes wrong with a leg to this vendor and number, so many seconds after the start."""
        effects = NO_EFFECTS
        for index, incident in enumerate(self._incidents):
            if incident.is_on(elapsed_seconds) and self._strikes(index, incident, vendor, number):
                effects = _with(effects, incident)
        return effects

    def chosen(self) -> dict[str, str]:
        """The incidents that were given a vendor, by their kind."""
        return {self._incidents[index].kind: vendor for index, vendor in self._chosen.items()}

    def _strikes(self, index: int, incident: Incident, vendor: str, number: str) -> bool:
        if KINDS[incident.kind].target == "code":
            return number.startswith(incident.target)
        target = incident.target or self._chosen.get(index, "")
        if not target and (busiest := self._busiest_vendor()):
            target = self._chosen[index] = busiest
        return target == vendor


def _with(effects: Effects, incident: Incident) -> Effects:
    if incident.kind in ("vendor-down", "destination-down"):
        return effects._replace(down=True)
    if incident.kind == "vendor-unreachable":
        return effects._replace(unreachable=True)
    if incident.kind == "vendor-slow":
        return effects._replace(extra_ms=effects.extra_ms + int(incident.value * 1_000))
    if incident.kind == "asr-drop":
        return effects._replace(answers_kept=effects.answers_kept * incident.value)
    return effects._replace(false_answers=max(effects.false_answers, incident.value))
