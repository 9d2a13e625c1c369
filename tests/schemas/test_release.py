"""Release rules as text: the dialplan's way of looking them up finds exactly the rule that is meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import agi
from schemas.release import MAX_RULES, NO_ANSWER, NO_PROGRESS, ReleaseError, Rule, encode_rules
from simulator.release import Meaning, meaning

# Few codes, so that rules meet legs.
CODES = {"cause": (1, 17, 34, 127), "sip": (302, 404, 486, 503), "no_answer": (0,), "no_progress": (0,)}


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    kinds = st.sampled_from([(kind, code) for kind, codes in CODES.items() for code in codes])
    found = draw(st.lists(kinds, unique=True, max_size=len(CODES) * 4))
    action = st.sampled_from(("continue", "stop"))
    return [Rule(kind, code, draw(action), draw(st.sampled_from((0, 17, 21, 34)))) for kind, code in found]  # type: ignore[arg-type]


def slow(
    vendor: list[Rule], customer: list[Rule], stops: tuple[int, ...], huntstop: bool, cause: int, sip: int, gave_up: str
) -> Meaning:
    """The handbook's order, read aloud: the vendor's word, the customer's, everybody's."""
    rule: Rule | None = None
    for table in (vendor, customer):
        ended_by = [one for one in table if one.kind == "sip" and sip and one.code == sip]
        ended_by += [one for one in table if one.kind == "no_answer" and gave_up == NO_ANSWER]
        ended_by += [one for one in table if one.kind == "no_progress" and gave_up == NO_PROGRESS]
        by_cause = [one for one in table if one.kind == "cause" and one.code == cause]
        for one in [*ended_by, *by_cause]:
            rule = rule or one
    does_stop = rule.action == "stop" if rule else cause in stops
    if rule and rule.caller_cause:
        heard = rule.caller_cause
    elif gave_up:
        heard = 19 if gave_up == NO_ANSWER else 34
    elif cause == 0:
        heard = 0
    else:
        heard = 34 if cause in (1, 2, 3, 21, 23, 25, 127) else cause
    return Meaning(does_stop or huntstop, heard)


LEGS = st.one_of(
    st.tuples(
        st.sampled_from((1, 3, 17, 21, 25, 34, 127)),
        st.sampled_from((0, 302, 400, 404, 483, 486, 487, 500, 503)),
        st.just(""),
    ),
    st.just((0, 0, NO_ANSWER)),
    st.just((18, 0, NO_PROGRESS)),
)


@given(vendor=rules(), customer=rules(), huntstop=st.booleans(), leg=LEGS, number=st.integers(1, agi.MAX_ROUTES))
def test_the_meaning_of_a_legs_end(
    vendor: list[Rule], customer: list[Rule], huntstop: bool, leg: tuple[int, int, str], number: int
) -> None:
    cause, sip, gave_up = leg
    said = {agi.STOP_CAUSES: "17-19-22-28", agi.CALL_RULES: encode_rules(customer)}
    said[agi.route_variable(number, agi.RULES)] = encode_rules(vendor)
    if huntstop:
        said[agi.route_variable(number, agi.HUNTSTOP)] = "1"
    found = meaning(said, number, cause=cause, sip_code=sip, gave_up=gave_up)
    assert found == slow(vendor, customer, (17, 19, 22, 28), huntstop, cause, sip, gave_up)


@given(rules())
def test_a_key_is_never_taken_for_a_rule(table: list[Rule]) -> None:
    fields = encode_rules(table).split("-")
    assert fields[0] == ""
    assert all(key.isdigit() or key in (NO_ANSWER, NO_PROGRESS) for key in fields[1::2])
    assert all(rule[0] in "cs" and (rule[1:] == "" or rule[1:].isdigit()) for rule in fields[2::2])
    assert len(fields[1::2]) == len(fields[2::2]) == len(table)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ([Rule("cause", 0, "stop")], "code 0 of kind cause: must be 1 to 127"),
        ([Rule("sip", 200, "stop")], "code 200 of kind sip: must be 300 to 699"),
        ([Rule("no_answer", 5, "stop")], "code 5 of kind no_answer: must be 0 to 0"),
        ([Rule("cause", 17, "stop", 128)], "caller_cause 128: must be a Q.850 cause"),
        ([Rule("cause", 17, "stop"), Rule("cause", 17, "continue")], "code 17 of kind cause: there are two rules"),
        ([Rule("sip", 300 + n, "stop") for n in range(MAX_RULES + 1)], "101 rules: a table has at most 100"),
    ],
)
def test_what_cannot_be_is_refused(wrong: list[Rule], text: str) -> None:
    with pytest.raises(ReleaseError, match=text):
        encode_rules(wrong)


def test_the_longest_table_fits_a_command() -> None:
    longest = encode_rules(Rule("sip", 300 + n, "stop", 127) for n in range(MAX_RULES))
    assert len(longest) == 900
    assert len(longest) < agi.MAX_COMMAND_CHARACTERS
