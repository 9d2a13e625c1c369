"""The page that tries patterns, without a browser: its question, its address, its words, the line that would save."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from configuration.entities.numbers import Translations
from dashboards.topics.translation_test.page import changed
from dashboards.topics.translation_test.question import PATH, Asked, link, read_asked, search_of
from dashboards.topics.translation_test.words import as_saved, idle_rules, means, summary
from router.check import SavedRules, TrialQuestion, TrialRule, try_rules
from tariffs.numbers import Country

SAVED = SavedRules("acme", "in", "77", Country("49", "0"), {"callee": (TrialRule("^011", "+"),)})
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
ASKED = st.builds(
    Asked,
    st.sampled_from(("", "acme", "a & b=c")),
    st.sampled_from(("callee", "caller", "caller_name")),
    st.sampled_from(("in", "out")),
    st.lists(st.builds(TrialRule, PRINTABLE.filter(bool), PRINTABLE), max_size=5).map(tuple),
    st.lists(PRINTABLE.map(str.strip).filter(bool), max_size=5).map(tuple),
)


@given(ASKED)
def test_the_address_holds_the_question(asked: Asked) -> None:
    assert read_asked(search_of(asked)) == asked


def test_an_address_that_would_be_too_long_goes_without_the_rules() -> None:
    asked = Asked.of("acme", "caller", "in", ["%" * 200] * 32, ["1"] * 32, "4930\n4931")
    search = search_of(asked)
    assert len(search) < 4_000
    assert read_asked(search) == asked._replace(rules=())
    assert len(search_of(asked._replace(numbers=("%" * 256,) * 50))) < 4_000


@pytest.mark.parametrize("search", ["", None, "?x=1", "?field=x&direction=y", "?" + "number=1&" * 500, "?pattern=%ff"])
def test_an_address_of_somebody_elses_making_is_a_question_all_the_same(search: str | None) -> None:
    asked = read_asked(search)
    assert (asked.field, asked.direction) == ("callee", "in")
    assert len(asked.numbers) <= 51


@pytest.mark.parametrize("value", [None, 7, ["x"], {"a": 1}, True])
def test_what_a_browser_would_not_send_is_nothing(value: Any) -> None:
    assert Asked.of(value, value, value, [value], [value], value) == Asked("", "callee", "in", (), ())


def test_too_much_stays_too_much_and_is_refused() -> None:
    asked = Asked.of("x" * 900, "callee", "in", ["1" * 900] * 90, ["2" * 900] * 90, "\n".join(["4" * 900] * 90))
    assert (len(asked.peer), len(asked.rules), len(asked.numbers)) == (64, 33, 51)
    assert (len(asked.rules[0].pattern), len(asked.rules[0].replacement), len(asked.numbers[0])) == (201, 65, 257)


def test_empty_lines_are_nothing_but_an_empty_rule_between_others_stays() -> None:
    asked = Asked.of(" acme ", "callee", "in", ["a", "", "b", "", ""], ["", "", "", "", ""], " 1 \n\n2\r\n")
    assert (asked.peer, asked.numbers) == ("acme", ("1", "2"))
    assert [rule.pattern for rule in asked.rules] == ["a", "", "b"]


def test_the_buttons_of_the_rules() -> None:
    a, b, new = TrialRule("a"), TrialRule("b"), TrialRule("")
    assert changed([a], "try-add") == [a, new]
    assert changed([a] * 32, "try-add") == [a] * 32
    assert changed([a, b], {"type": "try-remove", "at": 0}) == [b]
    assert changed([a, b], {"type": "try-up", "at": 1}) == [b, a]
    for at in (0, 2, 9):
        assert changed([a, b], {"type": "try-up", "at": at}) == [a, b]
    assert changed([a, b], {"type": "try-remove", "at": 9}) == [a, b]


def test_the_words() -> None:
    def tried(*numbers: str, rules: tuple[TrialRule, ...] | None = None) -> Any:
        return try_rules(TrialQuestion("acme", None, "callee", rules, numbers), SAVED)

    assert summary(tried("77030123")) == [(False, "This number goes through.")]
    found = tried("7701149301234", "771", "772")
    assert summary(found) == [(True, "2 of 3 numbers: the call is refused, BAD NUMBER.")]
    assert [means(one) for one in found.trials] == ["", *["the call is refused, BAD NUMBER"] * 2]
    assert idle_rules(found) == ""
    assert idle_rules(tried("77030123")) == "Rule 1 changes none of them."
    three = (TrialRule("^1", "2"), TrialRule("^0", "0049"), TrialRule("x"))
    assert idle_rules(tried("77030123", rules=three)) == "Rules 1, 3 change none of them."


@given(st.lists(st.builds(TrialRule, st.sampled_from(("^0", "a'b", "^\\+(1)", "#: {x}", " -")), PRINTABLE), max_size=4))
def test_the_line_is_read_as_what_was_tried(rules: list[TrialRule]) -> None:
    allowed = [rule for rule in rules if not set(rule.replacement) - set("0123456789+*#._- abcdefghijklmnopqrstuvwxyz")]
    read = Translations.model_validate(yaml.safe_load(as_saved("caller", allowed))["translations"])
    assert [(one.pattern, one.replacement) for one in read.caller] == [
        (one.pattern, one.replacement) for one in allowed
    ]


def test_a_link_leads_to_the_peers_own_rules() -> None:
    address = link("acme", "in", "callee", "77*31#1")
    assert address.startswith(PATH + "?peer=acme&")
    assert read_asked(address.partition("?")[2]) == Asked("acme", "callee", "in", (), ("77*31#1",))
