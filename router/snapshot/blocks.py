"""Blocks: whether rules let a call through, and which rule does not. Pure.

Every kind of rule (callee prefix, zone, caller prefix, callee pool, caller pool) has its own word, and one no is a no.
Within a kind the peer's rules come before those for all. Of rules that match, the most specific decides (the longest
prefix; a named zone, then a kind, then a country), and denial at equal rank. So a rule that allows is an exception
from a less specific one that denies: deny 44, allow 447, and of the numbers under 44 only 447… may be called, beside
all that are not under 44. Where none matches, the call passes, unless the kind is an allow-list (`allow_only`): then
only what is allowed passes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from router.snapshot.pools import NumberSet, contains
from router.snapshot.rules import BlockRule, Kind

_KINDS: Final[tuple[Kind, ...]] = ("callee", "zone", "caller", "callee_pool", "caller_pool")
_WORDS: Final[dict[Kind, str]] = {
    "callee": "callee prefix",
    "zone": "zone",
    "caller": "caller prefix",
    "callee_pool": "callee pool",
    "caller_pool": "caller pool",
}
MOST_DETAIL: Final = 200


class Subject(NamedTuple):
    """What rules look at: E.164 digits; the caller's may be empty; destination 0 is none."""

    caller: str
    callee: str
    destination_id: int


class KindRules:
    """The rules of one peer and kind, so that those that match a call are found without looking at the others."""

    __slots__ = ("_allow_only", "_by_destination", "_by_prefix", "_kind", "_lengths", "_pools")

    def __init__(
        self, kind: Kind, rules: Iterable[BlockRule], pools: Mapping[int, NumberSet], *, allow_only: bool = False
    ) -> None:
        """`allow_only`: what no rule matches may not pass."""
        ordered = sorted(rules, key=lambda rule: (-rule.rank, rule.action != "deny"))
        self._kind: Kind = kind
        self._allow_only = allow_only
        self._by_prefix: dict[str, list[BlockRule]] = {}
        self._by_destination: dict[int, list[BlockRule]] = {}
        self._pools: list[tuple[BlockRule, NumberSet]] = []
        for rule in ordered:
            if kind in ("callee", "caller"):
                self._by_prefix.setdefault(rule.value, []).append(rule)
            elif kind == "zone":
                for destination_id in rule.destinations:
                    self._by_destination.setdefault(destination_id, []).append(rule)
            else:
                self._pools.append((rule, pools.get(rule.pool_id, ())))
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)

    def word(self, subject: Subject, now_ms: int) -> tuple[bool, str] | None:
        """(whether it may pass, what people read of a no), or None: these rules say nothing of it."""
        for rule in self._matching(subject):
            if in_force(rule, now_ms):
                return (True, "") if rule.action == "allow" else (False, describe(rule))
        if self._allow_only:
            return False, f"{_WORDS[self._kind]}: not among those allowed"
        return None

    def _matching(self, subject: Subject) -> Iterator[BlockRule]:
        """Rules that match, the most specific first, denial before leave."""
        if self._kind == "zone":
            yield from self._by_destination.get(subject.destination_id, ())
            return
        number = subject.caller if self._kind in ("caller", "caller_pool") else subject.callee
        if self._pools:
            yield from (rule for rule, numbers in self._pools if contains(numbers, number))
            return
        for length in self._lengths:
            if length <= len(number):
                yield from self._by_prefix.get(number[:length], ())


class BlockSet:
    """All rules of one peer, or all that hold for everybody."""

    __slots__ = ("kinds",)

    def __init__(
        self, rules: Iterable[BlockRule], pools: Mapping[int, NumberSet], allow_only: Iterable[Kind] = ()
    ) -> None:
        """`allow_only`: the kinds that are allow-lists; one without rules lets nothing pass."""
        allow_lists = frozenset(allow_only)
        by_kind: dict[Kind, list[BlockRule]] = {kind: [] for kind in allow_lists}
        for rule in rules:
            by_kind.setdefault(rule.kind, []).append(rule)
        self.kinds = {
            kind: KindRules(kind, found, pools, allow_only=kind in allow_lists) for kind, found in by_kind.items()
        }


NO_RULES: Final = BlockSet((), {})


def blocked_by(own: BlockSet, everybodys: BlockSet, subject: Subject, now_ms: int) -> str:
    """What people read of the rule that blocks, or nothing: the call may pass."""
    for kind in _KINDS:
        of_own, of_all = own.kinds.get(kind), everybodys.kinds.get(kind)
        word = of_own.word(subject, now_ms) if of_own is not None else None
        if word is None and of_all is not None:
            word = of_all.word(subject, now_ms)
        if word is not None and not word[0]:
            return word[1]
    return ""


def in_force(rule: BlockRule, now_ms: int) -> bool:
    """Whether a rule holds at a moment."""
    return (rule.from_ms is None or rule.from_ms <= now_ms) and (rule.until_ms is None or now_ms < rule.until_ms)


def describe(rule: BlockRule) -> str:
    """A rule in words: `callee pool 'fraud numbers': list of the fraud desk`."""
    value = f"'{rule.value}'" if rule.pool_id or rule.kind == "zone" else rule.value or "(all)"
    return (f"{_WORDS[rule.kind]} {value}" + (f": {rule.reason}" if rule.reason else ""))[:MOST_DETAIL]
