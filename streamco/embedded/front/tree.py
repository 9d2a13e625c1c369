"""A statement's syntax tree, read from the engine's own EXPLAIN AST. Pure.

    SelectWithUnionQuery (children 1)
     ExpressionList (children 1)
      SelectQuery (children 1)
       ExpressionList (children 1)
        Function file (alias x) (children 1)

One node a line; its depth is the number of spaces before it. Names stand there as they are, so a name with a line end
could pretend to be nodes: statements with such names are refused before (guard.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_LINE: Final = re.compile(r"(?P<depth> *)(?P<kind>[A-Za-z_][\w:]*)(?P<rest>(?: .*)?)")
_ALIAS: Final = " (alias "
_CHILDREN: Final = " (children "
_MOST_DIGITS: Final = 9
_DEEPEST: Final = 500


class TreeError(ValueError):
    """What was read is no tree."""


@dataclass(frozen=True)
class Node:
    """`kind`: Function, Identifier, …; `name`: what follows it; `alias` is not kept."""

    kind: str
    name: str
    children: tuple["Node", ...] = ()

    def walk(self) -> Iterator["Node"]:
        """This node and all below it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


@dataclass
class _Open:
    """A node whose children are being read."""

    kind: str
    name: str
    count: int
    children: list[Node] = field(default_factory=list)

    def closed(self) -> Node:
        if len(self.children) != self.count:
            raise TreeError(f"{self.kind} has {len(self.children)} children of {self.count}")
        return Node(self.kind, self.name, tuple(self.children))


def _name_and_count(rest: str) -> tuple[str, int]:
    """Of ` NAME (alias TEXT) (children N)`, each part of which may be missing. In one pass: a name may be long."""
    count = 0
    before, mark, digits = rest.rpartition(_CHILDREN)
    if mark and digits[-1:] == ")" and digits[:-1].isdecimal() and len(digits) <= _MOST_DIGITS:
        rest, count = before, int(digits[:-1])
    name, mark, _ = rest.partition(_ALIAS)
    return (name if mark and rest.endswith(")") else rest).removeprefix(" "), count


def read_tree(text: str) -> Node:
    """The tree of EXPLAIN AST's lines. Raises TreeError when lines, depths and numbers of children do not agree."""
    path: list[_Open] = []
    root: Node | None = None

    def close_to(depth: int) -> None:
        nonlocal root
        while len(path) > depth:
            node = path.pop().closed()
            if path:
                path[-1].children.append(node)
            else:
                root = node

    for line in text.removesuffix("\n").split("\n"):
        found = _LINE.fullmatch(line)
        if found is None or root is not None:
            raise TreeError(f"{line[:80]!r} is no line of a tree")
        depth = len(found["depth"])
        if depth > len(path) or depth > _DEEPEST or (path and depth == 0):
            raise TreeError(f"{line[:80]!r} stands too deep")
        close_to(depth)
        path.append(_Open(found["kind"], *_name_and_count(found["rest"])))
    close_to(0)
    if root is None:
        raise TreeError("there is no line")
    return root
