"""FACTS: round trip of every value that can be, and refusal of everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.facts import Facts, FactsError, decode_facts, encode_facts

ids, row_ids = st.integers(0, 2**53 - 1), st.integers(0, 2**31 - 1)
digits = st.text("0123456789", max_size=20)
all_facts = st.builds(
    Facts,
    side=st.sampled_from(["receivable", "payable"]),
    generation=ids, customer_company_id=row_ids, customer_peer_id=row_ids, vendor_company_id=row_ids,
    vendor_peer_id=row_ids, account_id=row_ids, price_id=ids, destination_id=row_ids,
    currency=st.text("ABCXYZ", min_size=3, max_size=3),
    code=digits, caller=digits, callee=digits,
    price_e8=st.integers(0, 10**13 - 1),
    connect_fee_micros=st.integers(0, 10**15),
    minimum_seconds=st.integers(0, 86_400), increment_seconds=st.integers(1, 86_400),
    free_seconds=st.integers(0, 86_400), rounding_decimals=st.integers(0, 6),
    duration_rounding=st.sampled_from(["up", "nearest", "none"]),
)  # fmt: skip
ONE = "1;p;17;12;31;41;78;1041;USD;447;66001;441;1525000;0;1;1;0;6;u;;447700900123"


@given(all_facts)
def test_facts_survive_the_channel_variable(facts: Facts) -> None:
    text = encode_facts(facts)
    assert decode_facts(text) == facts
    assert set(text) <= set("0123456789;rpuntABCXYZ")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "version"),
        ("2" + ONE[1:], "version"),
        (ONE + ";1", "fields"),
        (ONE.replace(";p;", ";x;"), "side"),
        (ONE.replace("1525000", "-1"), "price_e8"),
        (ONE.replace("1525000", "١٢"), "price_e8"),
        (ONE.replace("USD", "usd"), "currency"),
        (ONE.replace(";1041;", f";{2**31};"), "account_id"),
        (ONE.replace(";447;", ";44a;"), "code"),
        (ONE.replace("447700900123", "4477|0"), "callee"),
        (ONE.replace(";1;1;0;6;u", ";1;0;0;6;u"), "increment_seconds"),
    ],
)
def test_what_is_no_facts_is_refused_with_its_field(text: str, rule: str) -> None:
    with pytest.raises(FactsError, match=rule):
        decode_facts(text)
