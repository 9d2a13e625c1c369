"""Blocks against a slow oracle that looks at every rule, and by hand for what an operator would ask."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.snapshot.blocks import NO_RULES, BlockSet, Subject, blocked_by, describe
from router.snapshot.pools import contains, key_of
from router.snapshot.rules import BlockRule

NOW = 1_000
POOLS = {1: ("491", "492"), 2: ("441", "49301", "491")}
ARRAYS = {pool_id: sorted(map(key_of, numbers)) for pool_id, numbers in POOLS.items()}
NUMBERS = st.text("149", max_size=5)
TIMES = st.sampled_from([None, 500, 999, 1_000, 1_001, 2_000])
ACTIONS = st.sampled_from(["deny", "allow"])


@st.composite
def rules(draw: st.DrawFn) -> BlockRule:
    kind = draw(st.sampled_from(["callee", "zone", "caller", "callee_pool", "caller_pool"]))
    values = {"action": draw(ACTIONS), "from_ms": draw(TIMES), "until_ms": draw(TIMES)}
    if kind in ("callee", "caller"):
        prefix = draw(NUMBERS)
        return BlockRule(1, kind, prefix, rank=len(prefix), **values)
    if kind == "zone":
        destinations = tuple(draw(st.sets(st.integers(1, 4), max_size=3)))
        return BlockRule(1, kind, "zone", rank=draw(st.integers(1, 3)), destinations=destinations, **values)
    pool_id = draw(st.sampled_from([1, 2]))
    return BlockRule(1, kind, f"pool {pool_id}", pool_id=pool_id, **values)


def matches(rule: BlockRule, subject: Subject) -> bool:
    number = subject.caller if rule.kind.startswith("caller") else subject.callee
    if rule.kind == "zone":
        return subject.destination_id in rule.destinations
    return number in POOLS[rule.pool_id] if rule.pool_id else number.startswith(rule.value)


def oracle(own: Sequence[BlockRule], everybodys: Sequence[BlockRule], subject: Subject) -> bool:
    """Whether the call is blocked."""
    for kind in ("callee", "zone", "caller", "callee_pool", "caller_pool"):
        for side in (own, everybodys):
            here = [
                rule
                for rule in side
                if rule.kind == kind
                and (rule.from_ms is None or rule.from_ms <= NOW)
                and (rule.until_ms is None or rule.until_ms > NOW)
            ]
            hit = [rule for rule in here if matches(rule, subject)]
            if hit:
                most = max(rule.rank for rule in hit)
                if any(rule.rank == most and rule.action == "deny" for rule in hit):
                    return True
                break  # this side allows it: the other is not asked
            if any(rule.action == "allow" for rule in here):
                return True
    return False


@given(
    st.lists(rules(), max_size=8),
    st.lists(rules(), max_size=8),
    NUMBERS,
    st.sampled_from(["491", "492", "441", "49301", "999"]) | NUMBERS.filter(bool),
    st.integers(0, 4),
)
def test_like_the_oracle(
    own: list[BlockRule], everybodys: list[BlockRule], caller: str, callee: str, destination_id: int
) -> None:
    subject = Subject(caller, callee, destination_id)
    detail = blocked_by(BlockSet(own, ARRAYS), BlockSet(everybodys, ARRAYS), subject, NOW)
    assert bool(detail) == oracle(own, everybodys, subject)


def callee(prefix: str, action: str = "deny", **more: object) -> BlockRule:
    return BlockRule(1, "callee", prefix, action, rank=len(prefix), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "everybodys", "number", "detail"),
    [
        ([], [], "447", ""),
        ([callee("44")], [], "447", "callee prefix 44"),
        ([callee("44", reason="fraud")], [], "447", "callee prefix 44: fraud"),
        ([callee("44"), callee("447", "allow")], [], "4477", ""),
        ([callee("44"), callee("447", "allow")], [], "4412", "callee prefix 44"),
        ([callee("44"), callee("447", "allow")], [], "3312", "callee prefix: not among those allowed"),
        ([callee("44"), callee("44", "allow")], [], "4412", "callee prefix 44"),
        ([callee("44", "allow")], [callee("447")], "4477", ""),  # the peer's word goes before everybody's
        ([callee("33")], [callee("447")], "4477", "callee prefix 447"),
        ([callee("")], [], "4477", "callee prefix (all)"),
        ([callee("44", until_ms=NOW)], [], "4477", ""), ([callee("44", from_ms=NOW + 1)], [], "4477", ""),
        ([callee("44", from_ms=NOW, until_ms=NOW + 1)], [], "4477", "callee prefix 44"),
    ],
)  # fmt: skip
def test_by_hand(own: list[BlockRule], everybodys: list[BlockRule], number: str, detail: str) -> None:
    subject = Subject("1", number, 1)
    assert blocked_by(BlockSet(own, {}), BlockSet(everybodys, {}), subject, NOW) == detail


def test_leave_of_one_kind_is_no_leave_of_another() -> None:
    own = BlockSet([callee("44", "allow"), BlockRule(1, "zone", "GB", destinations=(7,), rank=1)], {})
    assert blocked_by(own, NO_RULES, Subject("1", "447", 7), NOW) == "zone 'GB'"


@given(st.sets(st.text("0123456789", min_size=1, max_size=15), max_size=30), st.text("0123456789", max_size=17))
def test_a_pool_holds_what_was_put_there_and_nothing_else(numbers: set[str], asked: str) -> None:
    keys = sorted(map(key_of, numbers))
    assert all(contains(keys, number) for number in numbers)
    assert contains(keys, asked) == (asked in numbers)


def test_what_people_read_is_bounded() -> None:
    assert len(describe(BlockRule(1, "callee_pool", "x" * 64, pool_id=1, reason="y" * 120))) <= 200
    assert describe(BlockRule(1, "callee_pool", "fraud numbers", pool_id=1, reason="by hand")) == (
        "callee pool 'fraud numbers': by hand"
    )
