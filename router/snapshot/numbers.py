"""The rules of numbers as a decision reads them: by peer, patterns compiled at their first use, pools mapped."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from router.snapshot.blocks import NO_RULES, BlockSet
from router.snapshot.pools import NumberSet, load_pools
from router.snapshot.rules import GLOBAL, BlockRule, Field, Kind, NumberRules, Translation
from tariffs.patterns import Pattern, compile_pattern


class PeerPatterns:
    """The patterns of one peer. Compiling takes some 50 µs each: done when the first call needs them."""

    def __init__(self, translations: Iterable[Translation]) -> None:
        self._translations = tuple(translations)

    @cached_property
    def callee(self) -> tuple[Pattern, ...]:
        """Of the dialled number."""
        return self._compiled("callee")

    @cached_property
    def caller(self) -> tuple[Pattern, ...]:
        """Of the caller's number."""
        return self._compiled("caller")

    @cached_property
    def caller_name(self) -> tuple[Pattern, ...]:
        """Of the caller's name."""
        return self._compiled("caller_name")

    def _compiled(self, field: Field) -> tuple[Pattern, ...]:
        return tuple(compile_pattern(one.pattern, one.replacement) for one in self._translations if one.field == field)


NO_PATTERNS = PeerPatterns(())


class Numbers:
    """All rules of a snapshot. `ruled`: the peers that have patterns or blocks, `vendors`: those of them that are no
    originators; others need no look.
    """

    def __init__(
        self, rules: NumberRules, pools: Mapping[int, NumberSet], originators: frozenset[int] = frozenset()
    ) -> None:
        """Raises PatternError for a pattern that RE2 does not accept."""
        translations: dict[int, list[Translation]] = {}
        for one in rules.translations:
            translations.setdefault(one.peer_id, []).append(one)
        blocks: dict[int, list[BlockRule]] = {allow_list.peer_id: [] for allow_list in rules.allow_lists}
        allow_only: dict[int, list[Kind]] = {}
        for allow_list in rules.allow_lists:
            allow_only.setdefault(allow_list.peer_id, []).append(allow_list.kind)
        for rule in rules.blocks:
            blocks.setdefault(rule.peer_id, []).append(rule)
        self.patterns = {peer_id: PeerPatterns(found) for peer_id, found in translations.items()}
        self.blocks = {
            peer_id: BlockSet(found, pools, allow_only.get(peer_id, ())) for peer_id, found in blocks.items()
        }
        self.for_all = self.blocks.get(GLOBAL, NO_RULES)
        self.ruled = frozenset(self.patterns.keys() | self.blocks.keys())
        self.vendors = self.ruled - originators - {GLOBAL}


def load_numbers(directory: Path, rules: NumberRules, originators: frozenset[int]) -> Numbers:
    """The rules of a snapshot, its pools mapped. Raises OSError."""
    return Numbers(rules, load_pools(directory, rules.pools), originators)
