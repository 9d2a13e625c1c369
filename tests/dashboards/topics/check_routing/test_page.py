"""The question in the page's address."""

import pytest
from made_traffic import Try, make_call

from dashboards.topics.check_routing.page import link, question_of, search_of
from router.core import seed_of

DECISION = make_call(1, 1_795_000_000_000, [Try(12, "ANSWER", talk_ms=1_000)]).decision


@pytest.mark.parametrize(
    "question",
    [
        {"from": "acme", "callee": "+447700900123"},
        {
            "from": "acme",
            "callee": "00 &=?#%",
            "caller": '"><script>',
            "at": "2026-12-01T00:00:00+01:00",
            "node": "ast1",
            "caller_name": "Anna Ä",
            "asserted": '"Anna" <sip:+441@host;user=phone>',
            "privacy": "id;critical",
            "codecs": "g729,alaw",
            "seed": "4294967295",
            "routing_number": "12015550000",
        },
        {},
    ],
)
def test_the_address_keeps_the_question(question: dict[str, str]) -> None:
    empty = dict.fromkeys(question_of(""), "")
    assert len(empty) == 11
    assert question_of(search_of(question)) == empty | question


def test_an_address_by_hand_is_cut_and_never_an_error() -> None:
    assert question_of("?from=" + "a" * 1_000)["from"] == "a" * 256
    assert question_of("?callee=1&callee=2&x=%ff")["callee"] == "2"
    assert question_of(None)["from"] == ""
    assert question_of("?from=acme" + "&x=1" * 30)["from"] == ""


def test_a_stored_decision_leads_to_the_same_question() -> None:
    now = question_of(link(DECISION, "acme").partition("?")[2])
    assert (now["from"], now["callee"], now["at"]) == ("acme", DECISION.callee_dialled, "")
    assert now["seed"] == str(seed_of(DECISION.call_id))
    assert question_of(link(DECISION, "acme", then=True).partition("?")[2])["at"].startswith("2026-11-18T")
