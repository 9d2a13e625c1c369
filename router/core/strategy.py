"""An originator's order, made ready: what is the same for every call is worked out once, per quality and plan. Pure.

Metrics that do not depend on the number called (priorities, a vendor's quality, the target) stand in front of an order
as a rule. They cut the vendors into tiers, once. What is left is then either cost first, and a decision walks the
tiers along the row of the matrix that is sorted by cost already; or anything else, and a decision sorts the row.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy
from numpy.typing import NDArray

from router.core import draws
from router.core.figures import Figure, Rules, Target, figure_of, rank_of, rounded, rules_of, target_of, vendor_key
from router.core.model import Part, Plan, Strategy, StrategyCaches, Tier, World
from router.core.plan import plan_of
from router.snapshot.comparable import exchanged, terms_of
from router.snapshot.config import PAR, HuntingClass, Peer
from router.snapshot.prices import NO_VENDOR
from router.snapshot.store import Snapshot, VendorMatrix
from schemas.quality import Quality
from tariffs.order import DEFAULT_ORDER, UNITS, Metric, parse_order

_ALL_VENDORS: Final = frozenset(range(NO_VENDOR + 1))
_PRIORITIES: Final = frozenset(("peer_priority", "route_priority"))
_COST: Final = Metric("cost")
_NO_CLASS: Final = HuntingClass(0, "", DEFAULT_ORDER)


def strategy_of(world: World, peer: Peer, now_ms: int, expected_seconds: int) -> Strategy:
    """The strategy that holds at `now_ms` with this quality, from the snapshot's cache."""
    caches = world.snapshot.caches
    mine = (peer.peer_id, peer.route_class_id)  # his class is another where the number leads inward
    found = caches.strategies.get(mine)
    if found is not None and _holds(found, world, now_ms):
        return found
    # Originators of one company, class and order differ in their terms alone, unless one has a target of his own.
    pack = peer.pack
    key = (peer.route_class_id, peer.company_id, pack.currency, peer.hunting_class_id)
    shared = None if peer.target_metric else caches.shared_strategies.get(key)
    if shared is None or not _holds(shared, world, now_ms):
        shared = make_strategy(world, peer, now_ms, expected_seconds)
        if not peer.target_metric:
            caches.shared_strategies[key] = shared
    rate = world.snapshot.config.rates.get(pack.currency, PAR)
    found = caches.strategies[mine] = msgspec.structs.replace(
        shared,
        terms=terms_of(pack, expected_seconds, rate),
        minimum_margin_e8=exchanged(peer.minimum_margin_e8, rate, up=True),
    )
    return found


def _holds(strategy: Strategy, world: World, now_ms: int) -> bool:
    return strategy.from_ms <= now_ms < strategy.until_ms and not (
        strategy.by_quality and strategy.quality is not world.quality
    )


def make_strategy(world: World, peer: Peer, now_ms: int, expected_seconds: int) -> Strategy:
    """The strategy, anew."""
    snapshot = world.snapshot
    plan = plan_of(snapshot, peer, now_ms)
    hunting = next(
        (one for one in snapshot.config.hunting_classes if one.hunting_class_id == peer.hunting_class_id), _NO_CLASS
    )
    order = parse_order(hunting.order_by)
    rules = rules_of(hunting)
    target = target_of(peer, world.quality, now_ms, rules) if any(one.name == "target" for one in order) else None
    figures = {
        metric.name: _figures(metric, plan, target, world.quality, now_ms, rules)
        for metric in order
        if (metric.figure or metric.name == "target") and not metric.by_code
    }
    stale_ms = [
        one.until_ms for by_number in figures.values() for one in by_number.values() if one.until_ms is not None
    ]
    if target is not None and target.own.until_ms is not None:
        stale_ms.append(target.own.until_ms)
    ranks = {metric.name: _ranks(metric, plan, figures, target) for metric in order if _is_fixed(metric)}
    split = next((at for at, metric in enumerate(order) if not _is_fixed(metric)), len(order))
    tiers, tier_of = _tiers(snapshot, plan, [ranks[metric.name] for metric in order[:split]])
    rest = order[split:] or (_COST,)
    rate = snapshot.config.rates.get(peer.pack.currency, PAR)
    return Strategy(
        plan=plan,
        order=order,
        rules=rules,
        target=target,
        figures=figures,
        tiers=tiers,
        rest=rest,
        walks=rest[0] == _COST,
        ties=len(rest) > 1,
        keys=_sorted_by(rest),
        tier_of=tier_of,
        ranks={name: _by_number(plan, by_number) for name, by_number in ranks.items()},
        shares=_shares(plan),
        salts=_salts(snapshot),
        code_prefixes=_code_prefixes(snapshot),
        caches=StrategyCaches(code_ranks={metric.name: {} for metric in order if metric.by_code}),
        usable=numpy.isin(numpy.arange(len(plan.vendors)), plan.usable),
        quality=world.quality,
        by_quality=bool(figures) or any(metric.by_code for metric in order),
        from_ms=max(plan.from_ms, now_ms if figures else plan.from_ms),
        until_ms=min([plan.until_ms, *stale_ms]),
        terms=terms_of(peer.pack, expected_seconds, rate),
        minimum_margin_e8=exchanged(peer.minimum_margin_e8, rate, up=True),
    )


def _is_fixed(metric: Metric) -> bool:
    """Whether a metric is the same for every number called."""
    return metric.name in _PRIORITIES or metric.name == "target" or (bool(metric.figure) and not metric.by_code)


def _figures(
    metric: Metric, plan: Plan, target: Target | None, quality: Mapping[str, Quality], now_ms: int, rules: Rules
) -> dict[int, Figure]:
    name = metric.figure
    if metric.name == "target":
        if target is None:
            return {}
        name = target.figure
    return {
        number: figure_of(quality.get(vendor_key(plan.vendors[number].peer_id)), name, now_ms, rules)
        for number in plan.placed
    }


def _ranks(
    metric: Metric, plan: Plan, figures: Mapping[str, Mapping[int, Figure]], target: Target | None
) -> dict[int, int]:
    step = metric.step(UNITS[metric.name])
    if metric.name == "route_priority":
        return {number: rounded(one.entry.priority, step) for number, one in plan.placed.items()}
    if metric.name == "peer_priority":
        return {number: rounded(plan.vendors[number].priority, step) for number in plan.placed}
    return {number: rank_of(metric, figure, target) for number, figure in figures[metric.name].items()}


def _tiers(snapshot: Snapshot, plan: Plan, ranks: list[dict[int, int]]) -> tuple[tuple[Tier, ...], NDArray[Any]]:
    members: dict[tuple[int, ...], list[int]] = {}
    for number in plan.usable:
        place = (plan.placed[number].depth, *(by_number.get(number, 0) for by_number in ranks))
        members.setdefault(place, []).append(number)
    tier_of = numpy.zeros(len(plan.vendors), dtype=numpy.int64)
    tiers: list[Tier] = []
    for _, numbers in sorted(members.items()):
        tier_of[numbers] = len(tiers)
        only = numbers[0] if len(numbers) == 1 else -1
        tiers.append(Tier(_parts(snapshot, numbers), only))
    return tuple(tiers), tier_of


def _sorted_by(rest: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """The metrics up to a random one, with the cost behind all where it is not among them yet."""
    end = next((at for at, metric in enumerate(rest, start=1) if metric.name == "random"), 0)
    if end:
        return rest[:end]
    return rest if _COST in rest else (*rest, _COST)


def _salts(snapshot: Snapshot) -> NDArray[Any]:
    """What stands for the vendors in draws, once for a snapshot."""
    found = snapshot.caches.salts
    if found is None:
        found = snapshot.caches.salts = draws.salts([vendor.peer_id for vendor in snapshot.vendors])
    return found


def _code_prefixes(snapshot: Snapshot) -> tuple[str, ...]:
    found = snapshot.caches.code_prefixes
    if found is None:
        found = tuple(vendor_key(vendor.peer_id, by_code=True) for vendor in snapshot.vendors)
        snapshot.caches.code_prefixes = found
    return found


def _shares(plan: Plan) -> NDArray[Any]:
    shares = numpy.full(len(plan.vendors), numpy.inf)
    for number, one in plan.placed.items():
        if one.entry.portion:
            shares[number] = 1 / one.entry.portion
    return shares


def _parts(snapshot: Snapshot, numbers: list[int]) -> tuple[Part, ...]:
    found: dict[int, tuple[VendorMatrix, set[int]]] = {}
    for number in numbers:
        matrix = snapshot.matrix_of(number)
        if len(numbers) == 1:
            return ((matrix, b""),)  # it is looked at alone
        found.setdefault(matrix.first, (matrix, set()))[1].add(number - matrix.first)
    return tuple((matrix, bytes(sorted(_ALL_VENDORS - members))) for matrix, members in found.values())


def _by_number(plan: Plan, values: Mapping[int, int]) -> NDArray[Any]:
    found = numpy.zeros(len(plan.vendors), dtype=numpy.int64)
    for number, value in values.items():
        found[number] = value
    return found
