"""What a router's command line sets on a channel: hostile values arrive whole when they are escaped, and only then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.agi_commands import MAX_MSET_PAIRS, answer_command, split_pairs, split_words

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,12}", fullmatch=True)
# What cannot go through an AGI line at all is a line end; everything else can be escaped.
VALUES = st.text(st.characters(blacklist_characters="\r\n\x00", blacklist_categories=("Cs",)), max_size=40)


def escape_argument(value: str) -> str:
    """For MSet: what separates, quotes or nests is made literal."""
    return "".join("\\" + character if character in '\\",()[]' else character for character in value)


def escape_word(argument: str) -> str:
    """For the AGI line: one quoted word."""
    return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=20))
def test_mset_of_hostile_values_round_trips(pairs: list[tuple[str, str]]) -> None:
    argument = ",".join(f"{name}={escape_argument(value)}" for name, value in pairs)
    reply = answer_command("EXEC MSet " + escape_word(argument))
    assert reply.line == "200 result=0"
    assert list(reply.variables) == pairs


@given(st.text(max_size=80))
def test_any_line_is_answered(line: str) -> None:
    reply = answer_command(line)
    assert reply.line.split()[0].removesuffix("-Invalid") in ("200", "510", "520")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("EXEC  MSet\tA=1", ["EXEC", "MSet", "A=1"]),
        ('SET VARIABLE X "a b"', ["SET", "VARIABLE", "X", "a b"]),
        ('SET VARIABLE X ""', ["SET", "VARIABLE", "X", ""]),
        ('X a"b c"d', ["X", "ab cd"]),
        (r"X a\ b \"c\\", ["X", "a b", '"c\\']),
        ("", []),
        (" " * 9, []),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize(
    ("argument", "pairs"),
    [
        ("A=1,B=2", [("A", "1"), ("B", "2")]),
        ("A=1=2,B=", [("A", "1=2"), ("B", "")]),
        ("A,B=2", [("B", "2")]),
        ("A=f(1,2),B=[3,4],C=5", [("A", "f(1,2)"), ("B", "[3,4]"), ("C", "5")]),
        ('A="1,2",B=3', [("A", "1,2"), ("B", "3")]),
        (r"A=1\,2,B=3", [("A", "1,2"), ("B", "3")]),
        ("A=)1,B=2", [("A", ")1"), ("B", "2")]),
        ("", []),
    ],
)
def test_pairs(argument: str, pairs: list[tuple[str, str]]) -> None:
    assert split_pairs(argument) == pairs


def test_an_unquoted_blank_cuts_the_argument_as_in_asterisk() -> None:
    assert answer_command("EXEC MSet A=1 2,B=3").variables == (("A", "1"),)


def test_the_last_pair_beyond_the_limit_swallows_the_rest() -> None:
    argument = ",".join(f"V{number}=x" for number in range(MAX_MSET_PAIRS + 5))
    pairs = split_pairs(argument)
    assert len(pairs) == MAX_MSET_PAIRS
    assert pairs[-1] == ("V99", "x,V100=x,V101=x,V102=x,V103=x,V104=x")


def test_other_commands() -> None:
    assert answer_command('SET VARIABLE A "1"').variables == (("A", "1"),)
    assert answer_command("SET VARIABLE A").line.startswith("520-")
    assert answer_command("NOOP hello").line == "200 result=0"
    assert answer_command("EXEC Frobnicate x").line == "200 result=-2"
    assert answer_command("FROBNICATE").line.startswith("510 ")
