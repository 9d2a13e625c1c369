"""Blocks against a slow oracle that looks at every rule, and by hand for what an operator would ask."""

from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.snapshot.blocks import NO_RULES, BlockSet, Subject, blocked_by, describe
from router.snapshot.pools import contains, key_of
from router.snapshot.rules import BlockRule, Kind

NOW = 1_000
POOLS = {1: ("491", "492"), 2: ("441", "49301", "491")}
ARRAYS = {pool_id: sorted(map(key_of, numbers)) for pool_id, numbers in POOLS.items()}
NUMBERS = st.text("149", max_size=5)
TIMES = st.sampled_from([None, 500, 999, 1_000, 1_001, 2_000])
ACTIONS = st.sampled_from(["deny", "allow"])
KINDS: tuple[Kind, ...] = ("callee", "zone", "caller", "callee_pool", "caller_pool")
ALLOW_ONLY = st.sets(st.sampled_from(KINDS), max_size=2)


@st.composite
def rules(draw: st.DrawFn) -> BlockRule:
    kind = draw(st.sampled_from(KINDS))
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


Side = tuple[Sequence[BlockRule], Collection[Kind]]  # rules, and which kinds are allow-lists


def oracle(own: Side, everybodys: Side, subject: Subject) -> bool:
    """Whether the call is blocked."""
    for kind in KINDS:
        for side, allow_only in (own, everybodys):
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
            if kind in allow_only:
                return True
    return False


@given(
    st.tuples(st.lists(rules(), max_size=8), ALLOW_ONLY),
    st.tuples(st.lists(rules(), max_size=8), ALLOW_ONLY),
    NUMBERS,
    st.sampled_from(["491", "492", "441", "49301", "999"]) | NUMBERS.filter(bool),
    st.integers(0, 4),
)
def test_like_the_oracle(own: Side, everybodys: Side, caller: str, callee: str, destination_id: int) -> None:
    subject = Subject(caller, callee, destination_id)
    sets = [BlockSet(side, ARRAYS, allow_only) for side, allow_only in (own, everybodys)]
    detail = blocked_by(*sets, subject, NOW)
    assert bool(detail) == oracle(own, everybodys, subject)


@given(st.dictionaries(NUMBERS, ACTIONS, max_size=8), NUMBERS.filter(bool), st.booleans())
def test_of_prefixes_the_longest_decides(actions: dict[str, str], number: str, allow_only: bool) -> None:
    """The longest prefix of the number that is there; without one it passes, but for an allow-list."""
    there = [actions[number[:length]] for length in range(len(number), -1, -1) if number[:length] in actions]
    expected = there[0] == "deny" if there else allow_only
    own = BlockSet([callee(prefix, action) for prefix, action in actions.items()], {}, ["callee"] if allow_only else [])
    assert bool(blocked_by(own, NO_RULES, Subject("", number, 0), NOW)) == expected


OTHER = "callee prefix: not among those allowed"


def callee(prefix: str, action: str = "deny", **more: object) -> BlockRule:
    return BlockRule(1, "callee", prefix, action, rank=len(prefix), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("allow_only", [False, True])
@pytest.mark.parametrize(
    ("own", "everybodys", "number", "detail", "of_allow_list"),
    [
        ([], [], "447", "", OTHER),
        ([callee("44")], [], "447", "callee prefix 44", None),
        ([callee("44", reason="fraud")], [], "447", "callee prefix 44: fraud", None),
        ([callee("44"), callee("447", "allow")], [], "4477", "", None),
        ([callee("44"), callee("447", "allow")], [], "4412", "callee prefix 44", None),
        ([callee("44"), callee("447", "allow")], [], "3312", "", OTHER),  # an exception closes nothing
        ([callee("447", "allow")], [], "3312", "", OTHER),
        ([callee("44"), callee("44", "allow")], [], "4412", "callee prefix 44", None),
        ([callee("44", "allow")], [callee("447")], "4477", "", None),  # the peer's word goes before everybody's
        ([callee("33")], [callee("447")], "4477", "callee prefix 447", OTHER),
        ([callee("")], [], "4477", "callee prefix (all)", None),
        ([callee("44", until_ms=NOW)], [], "4477", "", OTHER),
        ([callee("44", from_ms=NOW + 1)], [], "4477", "", OTHER),
        ([callee("44", from_ms=NOW, until_ms=NOW + 1)], [], "4477", "callee prefix 44", None),
        ([callee("44", "allow", until_ms=NOW)], [], "4477", "", OTHER),  # an allow-list does not end with its rules
    ],
)  # fmt: skip
def test_by_hand(
    own: list[BlockRule], everybodys: list[BlockRule], number: str, detail: str, of_allow_list: str | None,
    allow_only: bool,
) -> None:  # fmt: skip
    """`of_allow_list`: what is read where the peer's kind is an allow-list; None: the same."""
    expected = of_allow_list if allow_only and of_allow_list is not None else detail
    own_set = BlockSet(own, {}, ["callee"] if allow_only else [])
    assert blocked_by(own_set, BlockSet(everybodys, {}), Subject("1", number, 1), NOW) == expected


def test_an_allow_list_for_all_is_opened_by_a_peers_leave() -> None:
    everybodys = BlockSet([callee("49", "allow")], {}, ["callee"])
    numbers = {number: blocked_by(BlockSet([callee("44", "allow")], {}), everybodys, Subject("1", number, 1), NOW)
               for number in ("4477", "4930", "3312")}  # fmt: skip
    assert numbers == {"4477": "", "4930": "", "3312": OTHER}


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
