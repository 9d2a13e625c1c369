"""Why each vendor of a decision was taken or not: worked out from the same inputs when somebody asks. Pure.

Every call is explained, with every vendor of its class, in columns (schemas/decision.py): those that are the same for
all calls of a strategy are put into JSON once, and a call adds its own.
"""

from typing import Final, NamedTuple

import msgspec

from router.core.model import Decision, Sent, Strategy
from router.core.row import Row
from router.core.words import Values, sort_keys, values_of
from schemas.decision import CandidateColumns, candidates_of
from schemas.events import Candidate
from schemas.refusals import Verdict

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(CandidateColumns)
_TAKEN: Final = Verdict.TAKEN.value
_SURPLUS: Final = Verdict.SURPLUS.value
_NO_PROFIT: Final = Verdict.NO_PROFIT.value
_NO_CODE: Final = Verdict.NO_CODE.value
_BLOCKED_CODE: Final = Verdict.BLOCKED_CODE.value


class _Always(msgspec.Struct, frozen=True, gc=False):
    """The columns that are the same for every call."""

    vendor_company_ids: list[int]
    vendor_peer_ids: list[int]
    vendors: list[str]
    priorities: list[int]
    currencies: list[str]
    route_classes: list[str]  # empty for the originator's own


class _OfCall(msgspec.Struct, frozen=True, gc=False):
    """The columns of a call."""

    digits: list[int]
    price_ids: list[int]
    prices_e8: list[int]
    costs_e8: list[int]
    verdicts: list[str]
    taken: list[int]
    callers_sent: list[str]
    callees_sent: list[str]
    income_e8: int
    details: dict[int, str]


class Standings(NamedTuple):
    """All vendors of a plan, in its order."""

    text: str  # the columns that are the same for every call, in JSON, without their end
    keys: str  # what the order compares, in JSON; empty: that depends on the call
    numbers: list[int]
    places: dict[int, int]  # of the numbers
    left_out: list[str]  # the verdict of one that is not tried whatever it costs; else empty
    surplus: list[str]  # the same, else SURPLUS: the verdicts where all have a price and room
    values: list[Values]


def candidates(decision: Decision) -> list[Candidate]:
    """Every vendor of the route class and its bases: taken at which position, or why not. Taken first, then by cost."""
    if decision.strategy is None:
        return []
    number = decision.inbound.routing_number or decision.inbound.callee
    return candidates_of(_decoder.decode(candidates_json(decision)), number)


def candidates_json(decision: Decision) -> str:
    """The same as the JSON that an event carries."""
    strategy, row = decision.strategy, decision.row
    if strategy is None:
        return "[]"
    standings = _standings(strategy, decision)
    if row is None:
        count = len(standings.numbers)
        none, verdicts = [0] * count, [one or _NO_CODE for one in standings.left_out]
        of_call, keys = _OfCall(none, none, none, none, verdicts, [], [], [], 0, {}), _encode([[]] * count).decode()
    else:
        of_call = _of_call(standings, decision, row)
        keys = standings.keys or _keys(standings, row, of_call.digits)
    return f'{standings.text},"keys":{keys},{_encode(of_call).decode()[1:]}'


def _of_call(standings: Standings, decision: Decision, row: Row) -> _OfCall:
    routes, places, verdicts = decision.routes, standings.places, standings.surplus.copy()
    digits, price_ids, prices_e8, costs_e8 = columns = row.columns(standings.numbers)
    details: dict[int, str] = {}
    taken = [places[route.number] for route in routes]
    if row.has_rules or min(prices_e8, default=0) < 0 or max(costs_e8, default=0) > decision.most_cost_e8:
        _judge(standings, decision, row, columns, verdicts, details, frozenset(taken))
    for place in taken:
        verdicts[place] = _TAKEN
    return _OfCall(
        digits,
        price_ids,
        prices_e8,
        costs_e8,
        verdicts,
        taken,
        [route.sent.caller for route in routes],
        [route.vendor.tech_prefix + route.sent.callee for route in routes],
        decision.income_e8,
        details,
    )


def _judge(
    standings: Standings,
    decision: Decision,
    row: Row,
    columns: tuple[list[int], list[int], list[int], list[int]],
    verdicts: list[str],
    details: dict[int, str],
    taken: frozenset[int],
) -> None:
    """Set the verdicts of those that were not taken for another reason than their place."""
    digits, price_ids, prices_e8, costs_e8 = columns
    has_rules, most_cost_e8 = row.has_rules, decision.most_cost_e8
    for place, left_out in enumerate(standings.left_out):
        if prices_e8[place] < 0:
            verdicts[place] = left_out or (_BLOCKED_CODE if digits[place] else _NO_CODE)
            digits[place] = price_ids[place] = prices_e8[place] = costs_e8[place] = 0
        elif left_out or place in taken:
            continue
        elif costs_e8[place] > most_cost_e8:
            verdicts[place] = _NO_PROFIT
        elif has_rules:
            verdicts[place], detail = _why_passed_over(row, decision, standings.numbers[place])
            if detail:
                details[place] = detail


def _why_passed_over(row: Row, decision: Decision, number: int) -> tuple[Verdict, str]:
    """(verdict, which rule of the vendor's it was, where that is not clear from the verdict)."""
    sent = row.sent(number)
    if not isinstance(sent, Sent):
        return sent.verdict, sent.detail
    if why := row.why_unreachable(number):
        return Verdict.UNREACHABLE, why
    if not decision.world.full or not row.is_full(number):
        return Verdict.SURPLUS, ""
    if row.is_stopped(number):
        return Verdict.DEAD_LETTERS, ""
    return (Verdict.BLOCKED_BY_CONTROL if row.is_held(number) else Verdict.LIMIT), ""


def _keys(standings: Standings, row: Row, digits: list[int]) -> str:
    each = zip(standings.numbers, digits, standings.values, strict=True)
    return _encode(
        [sort_keys(row, number, row.callee[:length], values) if length else [] for number, length, values in each]
    ).decode()


def _standings(strategy: Strategy, decision: Decision) -> Standings:
    """From the strategy's cache: filling it twice at once would do no harm."""
    found = strategy.caches.standings
    if found is None:
        found = strategy.caches.standings = _make_standings(strategy, decision)
    return found


def _make_standings(strategy: Strategy, decision: Decision) -> Standings:
    plan = strategy.plan
    numbers, placed = list(plan.placed), list(plan.placed.values())
    vendors = [plan.vendors[number] for number in numbers]
    left_out = [str(plan.left_out.get(number, "")) for number in numbers]
    values = [values_of(strategy, decision.snapshot, number) for number in numbers]
    always = _Always(
        [vendor.company_id for vendor in vendors],
        [vendor.peer_id for vendor in vendors],
        [vendor.name for vendor in vendors],
        [one.entry.priority for one in placed],
        [vendor.pack.currency for vendor in vendors],
        [one.route_class.name if one.depth else "" for one in placed],
    )
    same = all(not one.by_code and one.usual is not None for one in values)
    return Standings(
        text=_encode(always).decode().removesuffix("}"),
        keys=_encode([one.usual for one in values]).decode() if same else "",
        numbers=numbers,
        places={number: place for place, number in enumerate(numbers)},
        left_out=left_out,
        surplus=[one or _SURPLUS for one in left_out],
        values=values,
    )
