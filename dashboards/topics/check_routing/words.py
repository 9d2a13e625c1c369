"""A decision in words, for pages and the command line alike. Pure; imports no page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from dashboards.kit import formats
from schemas.events import Candidate, ExplainedCall, SortKey
from schemas.refusals import REFUSAL_CAUSE, SIP_OF_CAUSE, Refusal, Verdict

if TYPE_CHECKING:  # `streamco why` shows what is stored: it does without the router's core
    from router.check import Checked

_TOLD: Final = 3  # routes named in the first line; the others are counted

WHY: Final[Mapping[str, str]] = {
    Verdict.TAKEN: "in the hunt",
    Verdict.SURPLUS: "good, but behind the longest hunt allowed",
    Verdict.DISABLED: "the vendor or its entry in the route class is disabled",
    Verdict.BLOCKED_CODE: "its deck blocks this code",
    Verdict.NO_CODE: "its deck has no price for this number",
    Verdict.OTHER_CURRENCY: "sells in a currency that no exchange rate is known of",
    Verdict.NO_PROFIT: "costs more than the profit rule allows",
    Verdict.OWN_COMPANY: "the caller's own company",
    Verdict.BLOCKED_BY_CONTROL: "held back by a controller, until it releases it",
    Verdict.UNREACHABLE: "skipped, as it does not answer",
    Verdict.DEAD_LETTERS: "too many of its dead letters are open: its legs would not be billed",
    Verdict.LIMIT: "its limit of calls is reached",
    Verdict.BLOCKED: "one of its rules blocks the call",
    Verdict.NO_COMMON_CODEC: "it and the call have no codec in common",
    Verdict.BAD_TRANSLATION: "its patterns make no number of this one",
    Verdict.NOT_ACTIVE: "its entry in the route class is not active at this moment",
    Verdict.CLASS_NOT_ACTIVE: "its route class is not active at this moment",
    Verdict.OUTSIDE_TIMETABLE: "outside the timetable of its entry or route class",
}
REFUSED: Final[Mapping[str, str]] = {
    Refusal.UNAUTHORISED: "no enabled originator sends from this address with this number's first digits",
    Refusal.DISABLED: "the originator or its company is disabled",
    Refusal.BLOCKED: "the number is not open to this originator: its deck blocks the code, or it is a special number",
    Refusal.NO_BALANCE: "the account's balance does not pay for the least call",
    Refusal.TOO_MANY_HOPS: "the call has come through as many switches as its Max-Forwards allows: a loop",
    Refusal.BAD_NUMBER: "the number dialled is none: 3 to 15 digits after its prefixes",
    Refusal.NO_ROUTE: "no vendor of the route class that may be tried has this code",
    Refusal.NOT_BILLABLE: "the originator's deck has no price for this number",
    Refusal.NO_PROFITABLE_ROUTE: "every vendor costs more than the profit rule allows",
    Refusal.LIMIT: "a limit of calls is reached",
    Refusal.VENDORS_UNREACHABLE: "no vendor that may be tried answers",
    Refusal.NO_COMMON_CODEC: "every vendor that would be tried has none of the caller's codecs",
    Refusal.DEAD_LETTERS: "too many dead letters of the originator are open: its calls would not be billed",
    Refusal.LOOKUP_FAILED: "the look-up of the number failed, and this look-up refuses then",
}

_LOOKED_UP: Final[Mapping[str, str]] = {
    "found": "ported, or on another network: vendors' codes are matched on {routing_number}",
    "same": "not ported: routed by the number called",
    "unknown network": "of a network that has no code here: routed by the number called",
    "no answer": "no connection, or no answer in its time",
    "bad answer": "its answer cannot be read",
    "busy": "as many questions are open as there may be, so it was not asked",
    "resting": "it failed several times running, so nobody asks for some seconds",
}


def look_up_line(checked: "Checked") -> str:
    """What there is to say of the look-up that such a call would ask; nothing where it would ask none."""
    found = checked.looked_up
    if found is None:
        return ""
    if found.outcome in ("not asked", "given"):
        instead = f"{found.routing_number} was given in its place" if found.outcome == "given" else "not asked here"
        return f"A call would first ask {found.lookup} about {found.number}: {instead}."
    words = _LOOKED_UP[found.outcome].format(routing_number=found.routing_number)
    if look_up_failed(checked):
        refused = checked.decision.reason == Refusal.LOOKUP_FAILED
        words += "; this look-up refuses then" if refused else "; so it goes by the number called"
    kept = ", kept from before" if found.cached else f", {found.micros / 1000:.0f} ms"
    return f"{found.lookup} was asked about {found.number}{kept}: {words}."


def look_up_failed(checked: "Checked") -> bool:
    """Whether a look-up was asked in vain."""
    from router.core.portability import FAILED

    return checked.looked_up is not None and checked.looked_up.outcome in FAILED


def why_not(candidate: Candidate) -> str:
    """Why a vendor was not taken, with the rule of its that it was where the verdict does not say it."""
    return WHY.get(candidate.verdict, "") + (f": {candidate.detail}" if candidate.detail else "")


def compared(candidate: Candidate) -> str:
    """What the order compared of a vendor beside priority and cost, and the base class that it is from."""
    parts = [f"{one.metric.replace('_', ' ')} {_value(one)}" for one in candidate.keys]
    return ", ".join([*parts, *([f"by base class {candidate.route_class}"] if candidate.route_class else [])])


def _value(key: SortKey) -> str:
    sample = "" if key.sample is None or key.neutral == "no sample" else f" of {key.sample}"
    return key.value + sample + (f" ({key.neutral})" if key.neutral else "")


def sent(decision: ExplainedCall, candidate: Candidate) -> str:
    """What a vendor in the hunt is sent, where that is not what is billed."""
    if not candidate.callee_sent or (candidate.callee_sent, candidate.caller_sent) == (
        decision.callee,
        decision.caller,
    ):
        return ""
    return f"{candidate.callee_sent} from {candidate.caller_sent or 'anonymous'}"


def answer_line(decision: ExplainedCall) -> str:
    """The answer in one line: where the call goes and what was not taken, or why it goes nowhere."""
    taken = sorted((one for one in decision.candidates if one.position), key=lambda one: one.position)
    others = _others([one for one in decision.candidates if not one.position])
    if decision.reason:
        heard = sip_of(decision.reason)
        sip = f" (the caller hears {heard})" if heard else ""
        because = decision.detail or REFUSED.get(decision.reason, "")
        return (
            f"Refused, {decision.reason}{sip}"
            + (f": {because}." if because else ".")
            + (f" {others}" if others else "")
        )
    told = [f"{one.vendor} at {formats.price(one.price_e8)} {one.currency}" for one in taken[:_TOLD]]
    more = f", then {len(taken) - _TOLD} more" if len(taken) > _TOLD else ""
    return f"Goes to {', then '.join(told)}{more}." + (f" {others}" if others else "")


def _others(candidates: Sequence[Candidate]) -> str:
    if not candidates:
        return ""
    counted = Counter(one.verdict.lower() for one in candidates)
    reasons = ", ".join(
        f"{number} {verdict}" for verdict, number in sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    )
    return f"{len(candidates)} {'vendor' if len(candidates) == 1 else 'vendors'} not taken: {reasons}."


def sip_of(reason: str) -> int | None:
    """The SIP code that a caller hears for a refusal, or None for a reason that is none of ours."""
    if reason not in REFUSAL_CAUSE:
        return None
    return SIP_OF_CAUSE.get(REFUSAL_CAUSE[Refusal(reason)], 503)


def looked_up_line(decision: ExplainedCall) -> str:
    """What was found of the number and what is vouched for of the caller; nothing where that is nothing."""
    routed = f"Routed as {decision.routing_number}" if decision.routing_number else ""
    told = ", ".join(part for part in (routed, decision.lookup) if part)
    vouched = f"Caller vouched for: {decision.attestation}" if decision.attestation else ""
    return " ".join(f"{part}." for part in (told, vouched) if part)


def sold_line(decision: ExplainedCall) -> str:
    """The caller's side: at what price, by which code and route class; nothing where there was no price."""
    if decision.price_e8 is None:
        return ""
    through = f", route class {decision.route_class}" if decision.route_class else ""
    looked_up = looked_up_line(decision)
    sold = f"Sold at {formats.price(decision.price_e8)} {decision.currency} a minute (code {decision.code}){through}."
    return f"{sold} {looked_up}".rstrip()
