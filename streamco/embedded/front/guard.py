"""What a statement may do: the engine reads it, the rules (rules.py) are applied to what the engine has read.

The engine itself parses: first it writes the statement anew, in its own words, on one line (`formatQuerySingleLine`, to
which the statement is only text), then it shows the syntax tree of that (`EXPLAIN AST`). What was checked is what is
run: the engine's own words, not the client's. So comments, several statements, and quotes that two readers read in two
ways cannot hide anything. What the engine cannot parse is refused, and what no rule here names.

    SELECT/**/x FROM FILE('/etc/passwd')     the client's
    SELECT x FROM FILE('/etc/passwd')        the engine's
    … TableExpression → Function FILE        refused: no table function that only counts
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from streamco.clickhouse_access.rights import ANALYST
from streamco.embedded.front.rules import (
    Scope,
    Unsettled,
    check_shown,
    check_structure,
    check_tree,
    check_words,
    has_settings,
    named_by_parameters,
    refused,
    shows_settings,
)
from streamco.embedded.front.sql import literal
from streamco.embedded.front.tree import Node, TreeError, read_tree
from streamco.embedded.front.wire import EngineError

_LONGEST_KEPT: Final = 16_384
_IN_OUR_OWN: Final = ": In scope SELECT formatQuerySingleLine("  # a statement that its author has not written


@dataclass(frozen=True)
class Verdict:
    """What may be run: `text`, the engine's own words.

    `readonly`: what a login that only reads has the engine's setting of this name at. 1 is the stricter one: the engine
    itself then refuses most of what reaches out; but it refuses every setting too, and says so of each.
    """

    text: str
    readonly: str


class Guard:
    """Checks statements. `ask` runs a statement of ours with parameters on the engine; its answer is in TSVRaw."""

    def __init__(self, ask: Callable[[str, Mapping[str, str]], str], database: str, most_kept: int) -> None:
        self._ask = ask
        self.database = database
        self._most_kept = most_kept
        self._own: dict[str, str] = {}
        self._kept: dict[tuple[Scope, str, tuple[tuple[str, str], ...]], Verdict] = {}

    def __len__(self) -> int:
        return max(len(self._own), len(self._kept))

    def admit(self, scope: Scope, text: str, parameters: Mapping[str, str]) -> Verdict:
        """What may be run of a statement. Raises EngineError: why not.

        Most statements come again and again, with other parameters: what the engine made of a text is kept, and the
        verdict on it, for the same names where parameters are names. The other parameters are values only.
        """
        own = self._own.get(text) or self._rewritten(text)
        key = (scope, own, named_by_parameters(own, parameters))
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        verdict, unsettled = self._verdict(scope, own, parameters)
        if unsettled.strangers or unsettled.databases:
            self._settle(scope, unsettled)  # each time: a table may be made meanwhile
        elif len(text) <= _LONGEST_KEPT:
            for cache in (self._own, self._kept):
                if len(cache) >= self._most_kept:
                    cache.clear()
            self._own[text], self._kept[key] = own, verdict
        return verdict

    def admit_structure(self, structure: str) -> str:
        """The structure of a table that is uploaded, in the engine's own words. Raises EngineError: why not."""
        head = "CREATE TEMPORARY TABLE uploaded ("
        own = self._rewritten(f"{head}{structure})")
        check_words(ANALYST, own)
        check_structure(self._tree(own, {}))
        return own.removeprefix(head).removesuffix(")")

    def _rewritten(self, text: str) -> str:
        try:
            own = self._ask(f"SELECT formatQuerySingleLine({literal(text)})", {}).removesuffix("\n")
        except EngineError as error:
            said, ours, rest = str(error).partition(_IN_OUR_OWN)
            raise (EngineError(f"{said}. ({rest.rpartition(' (')[2]}") if ours else error) from error
        if "\n" in own:
            raise refused("a statement that the engine writes in several lines")
        return own

    def _tree(self, own: str, parameters: Mapping[str, str]) -> Node:
        try:
            return read_tree(self._ask(f"EXPLAIN AST {own}", parameters))
        except TreeError as error:
            raise refused(f"a statement whose syntax tree cannot be read ({error})") from error

    def _verdict(self, scope: Scope, own: str, parameters: Mapping[str, str]) -> tuple[Verdict, Unsettled]:
        sets = check_words(scope.rights, own)
        root = self._tree(own, parameters)
        if not sets and has_settings(root):
            raise refused("settings that cannot be read here")
        unsettled = check_tree(scope, root)
        if scope.rights.read_only:
            check_shown(scope, root, own)
        return Verdict(own, "2" if sets or shows_settings(root) else "1"), unsettled

    def _settle(self, scope: Scope, unsettled: Unsettled) -> None:
        names = ", ".join(map(literal, sorted(unsettled.strangers | unsettled.databases)))
        sql = (
            f"SELECT 'database', name FROM system.databases WHERE name IN ({names}) UNION ALL "  # noqa: S608 - literals
            f"SELECT 'table', name FROM system.tables WHERE database = {literal(scope.database)} AND name IN ({names})"
        )
        found = {tuple(line.split("\t")) for line in self._ask(sql, {}).splitlines()}
        databases = {name for kind, name in found if kind == "database"}
        if taken := unsettled.strangers & {name for _, name in found}:
            raise refused(f"the table {min(taken)}")
        if unknown := unsettled.databases - databases:
            raise EngineError(f"Code: 81. DB::Exception: Database {min(unknown)} does not exist. (UNKNOWN_DATABASE)")
