"""What the end of a leg means, as the dialplan's context `release` has it. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from schemas import agi, release


class Meaning(NamedTuple):
    """Whether the hunt stops, and the cause the caller hears if no leg follows; 0: whatever he would have heard."""

    stops: bool
    heard_cause: int


def meaning(variables: Mapping[str, str], leg: int, *, cause: int, sip_code: int, gave_up: str) -> Meaning:
    """What the end of this leg means.

    `sip_code` 0: the vendor sent no final refusal. `gave_up`: release.NO_ANSWER or NO_PROGRESS where the leg was ended
    for its time, else nothing.
    """
    rule = _rule(variables, leg, (gave_up or str(sip_code), str(cause)))
    stops = rule[:1] == "s"
    if not rule:
        stops = str(cause) in variables.get(agi.STOP_CAUSES, "").split("-")
    stops = stops or variables.get(agi.route_variable(leg, agi.HUNTSTOP)) == "1"
    if rule[1:]:
        return Meaning(stops, int(rule[1:]))
    if gave_up:
        return Meaning(stops, agi.NO_ANSWER_CAUSE if gave_up == release.NO_ANSWER else agi.VENDORS_FAULT_CAUSE)
    if cause == 0:
        return Meaning(stops, 0)
    return Meaning(stops, agi.VENDORS_FAULT_CAUSE if cause in agi.VENDOR_ACCOUNT_CAUSES else cause)


def _rule(variables: Mapping[str, str], leg: int, keys: tuple[str, ...]) -> str:
    """The first rule that is there: the vendor's by each key, then the customer's; empty if there is none."""
    for name in (agi.route_variable(leg, agi.RULES), agi.CALL_RULES):
        fields = variables.get(name, "").split("-")
        for key in keys:
            if key in fields:
                return fields[fields.index(key) + 1]
    return ""
