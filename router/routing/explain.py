"""Why each vendor of a decision was taken or not: worked out from the same inputs when somebody asks. Pure.

Every call is explained, with every vendor of its class: what is the same for all calls of a strategy is made once, and
a candidate is a copy of that with the call's own values.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy
from msgspec.structs import replace
from numpy.typing import NDArray

from router.routing.model import Decision, Placed, Route, Sent, Strategy
from router.routing.row import Row
from router.routing.words import Values, sort_keys, values_of
from schemas.events import Candidate
from schemas.refusals import Verdict


class _Standing(NamedTuple):
    """A vendor as every call sees it."""

    bare: Candidate  # as a call sees it that the vendor has no price for
    priced: Candidate  # as one that it has a price for, but for the price
    left_out: Verdict | None
    comparable: bool
    values: Values  # what the order compares
    same: bool  # whether that is the same for every call: then it is in `priced`


class _Standings(NamedTuple):
    """All vendors of a plan. Arrays are in its order."""

    by_number: dict[int, _Standing]
    numbers: NDArray[Any]
    priorities: NDArray[Any] | None  # None: all the same
    names: NDArray[Any]  # the place of each among the others' names


def candidates(decision: Decision) -> list[Candidate]:
    """Every vendor of the route class and its bases: taken at which position, or why not. Taken first, then by cost."""
    strategy, row = decision.strategy, decision.row
    if strategy is None:
        return []
    standings = _standings(strategy, decision)
    by_number = standings.by_number
    if row is None:
        return [by_number[number].bare for number in _by_cost(standings, None)]
    found = [_taken(row, decision, by_number[one.number], one, at) for at, one in enumerate(decision.routes, start=1)]
    found.extend(_not_taken(row, decision, standings))
    return found


def _by_cost(standings: _Standings, row: Row | None) -> list[int]:
    """The vendors' numbers by priority, cost (those without a price last), name."""
    keys = [standings.names]
    if row is not None:
        keys.append(row.costs(standings.numbers))
    if standings.priorities is not None:
        keys.append(standings.priorities)
    numbers: list[int] = standings.numbers[numpy.lexsort(keys)].tolist()
    return numbers


def _taken(row: Row, decision: Decision, standing: _Standing, route: Route, position: int) -> Candidate:
    price = route.price
    return replace(
        standing.priced,
        code=price.code,
        price_id=price.price_id,
        price_e8=price.price_e8,
        comparable_cost_e8=route.comparable_e8,
        margin_e8=decision.income_e8 - route.comparable_e8 if standing.comparable else None,
        verdict=Verdict.TAKEN,
        position=position,
        keys=standing.priced.keys if standing.same else sort_keys(row, route.number, price.code, standing.values),
        caller_sent=route.sent.caller,
        callee_sent=route.vendor.tech_prefix + route.sent.callee,
    )


def _not_taken(row: Row, decision: Decision, standings: _Standings) -> Iterator[Candidate]:
    taken = {route.number for route in decision.routes}
    income_e8, most_cost_e8 = decision.income_e8, decision.most_cost_e8
    has_rules = row.has_rules
    numbers = [number for number in _by_cost(standings, row) if number not in taken]
    for number, price, cost_e8 in row.all_prices(numbers):
        standing = standings.by_number[number]
        if price is None:
            blocked = standing.left_out is None and row.is_blocked(number)
            yield replace(standing.bare, verdict=Verdict.BLOCKED_CODE) if blocked else standing.bare
            continue
        detail = ""
        if standing.left_out is not None:
            verdict = standing.left_out
        elif cost_e8 > most_cost_e8:
            verdict = Verdict.NO_PROFIT
        elif has_rules:
            verdict, detail = _why_passed_over(row, decision, number)
        else:
            verdict = Verdict.SURPLUS
        code, price_id, price_e8 = price
        yield replace(
            standing.priced,
            code=code,
            price_id=price_id,
            price_e8=price_e8,
            comparable_cost_e8=cost_e8,
            margin_e8=income_e8 - cost_e8 if standing.comparable else None,
            verdict=verdict,
            detail=detail,
            keys=standing.priced.keys if standing.same else sort_keys(row, number, code, standing.values),
        )


def _why_passed_over(row: Row, decision: Decision, number: int) -> tuple[Verdict, str]:
    """(verdict, which rule of the vendor's it was, where that is not clear from the verdict)."""
    sent = row.sent(number)
    if not isinstance(sent, Sent):
        return sent.verdict, sent.detail
    if not decision.world.full or not row.is_full(number):
        return Verdict.SURPLUS, ""
    return (Verdict.BLOCKED_BY_CONTROL if row.is_held(number) else Verdict.LIMIT), ""


def _standings(strategy: Strategy, decision: Decision) -> _Standings:
    """From the strategy's cache: filling it twice at once would do no harm."""
    explained = strategy.explained
    if not explained:
        explained.append(_make_standings(strategy, decision))
    found: _Standings = explained[0]
    return found


def _make_standings(strategy: Strategy, decision: Decision) -> _Standings:
    placed = strategy.plan.placed
    priorities = [one.entry.priority for one in placed.values()]
    by_name = sorted(range(len(placed)), key=[strategy.plan.vendors[number].name for number in placed].__getitem__)
    names = numpy.empty(len(placed), dtype=numpy.int64)
    names[by_name] = numpy.arange(len(placed))
    return _Standings(
        {number: _standing(strategy, decision, number, one) for number, one in placed.items()},
        numpy.array(list(placed), dtype=numpy.int64),
        numpy.array(priorities, dtype=numpy.int64) if len(set(priorities)) > 1 else None,
        names,
    )


def _standing(strategy: Strategy, decision: Decision, number: int, placed: Placed) -> _Standing:
    vendor, left_out = strategy.plan.vendors[number], strategy.plan.left_out.get(number)
    values = values_of(strategy, decision.snapshot, number)
    same = not values.by_code and values.usual is not None
    bare = Candidate(
        vendor_company_id=vendor.company_id,
        vendor_peer_id=vendor.peer_id,
        vendor=vendor.name,
        priority=placed.entry.priority,
        code="",
        price_id=0,
        currency=vendor.pack.currency,
        price_e8=None,
        comparable_cost_e8=None,
        margin_e8=None,
        verdict=left_out or Verdict.NO_CODE,
        position=0,
        route_class=placed.route_class.name if placed.depth else "",  # empty for the originator's own
    )
    return _Standing(
        bare,
        replace(bare, keys=values.usual if same else []),
        left_out,
        left_out is not Verdict.OTHER_CURRENCY,
        values,
        same,
    )
