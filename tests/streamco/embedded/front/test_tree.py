"""Syntax trees as the engine shows them: read back as they are, or refused."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamco.embedded.front.tree import Node, TreeError, read_tree

NAMES = st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=12).filter(
    lambda name: "(alias" not in name and "(children" not in name and name == name.strip()
)
NODES = st.recursive(
    st.builds(Node, st.sampled_from(["Function", "Identifier", "Literal"]), NAMES),
    lambda inner: st.builds(
        Node, st.sampled_from(["Function", "ExpressionList"]), NAMES, st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=12,
)


def shown(node: Node, depth: int = 0) -> str:
    """As EXPLAIN AST writes it."""
    line = " " * depth + node.kind + (f" {node.name}" if node.name else "")
    line += f" (children {len(node.children)})" if node.children else ""
    return f"{line}\n" + "".join(shown(child, depth + 1) for child in node.children)


@given(NODES)
def test_a_tree_is_read_as_it_is(node: Node) -> None:
    assert read_tree(shown(node)) == node
    assert next(node.walk()) is node
    assert len(list(node.walk())) == shown(node).count("\n")


def test_an_alias_belongs_to_no_name() -> None:
    tree = read_tree(
        "Function file (alias numbers) (children 1)\n ExpressionList (children 1)\n  Literal 'x' (alias y)"
    )
    assert (tree.kind, tree.name, len(tree.children)) == ("Function", "file", 1)
    assert tree.children[0].children[0].name == "'x'"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        " Function f",
        "Function f\nFunction g",
        "Function f (children 1)",
        "Function f\n Literal 1",
        "Function f (children 2)\n Literal 1",
        "Function f (children 1)\n  Literal 1",
        "Function f (children 1)\n Literal 1\n Literal 2",
        "Function f (children 1)\n\n Literal 1",
        "1 Function f",
    ],
)
def test_what_does_not_agree_with_itself_is_no_tree(text: str) -> None:
    with pytest.raises(TreeError):
        read_tree(text)


def test_a_tree_without_end_is_refused() -> None:
    lines = [f"{' ' * depth}Function f (children 1)" for depth in range(600)]
    with pytest.raises(TreeError, match="too deep"):
        read_tree("\n".join([*lines, " " * 600 + "Literal 1"]))


@pytest.mark.parametrize("part", [" (alias )", " (children 1)", " (children ", " (alias x) (children 1)", ")", " "])
def test_a_long_name_is_read_in_one_pass(part: str) -> None:
    begun = time.process_time()
    assert read_tree("Literal '" + part * (40_000 // len(part)) + "'").kind == "Literal"
    assert (
        time.process_time() - begun < 1.0
    )  # in several a longer one takes minutes, and stops whoever else asks meanwhile
