"""What a caller id's signature is worth to whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import peer, with_changes

from router.core.attestation import NOT_SIGNED, Verified, refuse_why, verified_of, vouched

CUSTOMER = peer(1, originator=True)
PASSED_A, PASSED_B = Verified("passed", "A"), Verified("passed", "B")
FAILED, PASSED = Verified("failed", ""), Verified("passed", "")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("<sip:+12125550123;verstat=TN-Validation-Passed@192.0.2.1;user=phone>",), PASSED),
        (("+12125550123;verstat=TN-Validation-Passed-A",), PASSED_A), (("1;VERSTAT=tn-validation-passed-b",), PASSED_B),
        (("", "1;verstat=TN-Validation-Failed-C"), FAILED), (("1;verstat=No-TN-Validation",), NOT_SIGNED),
        (("", "12125550123"), NOT_SIGNED), ((), NOT_SIGNED), (("1;verstat=something-new-A",), FAILED),
        (("1;verstat=TN-Validation-Failed", "1;verstat=TN-Validation-Passed-A"), FAILED),
    ],
)  # fmt: skip
def test_what_a_verstat_says(texts: tuple[str, ...], expected: Verified) -> None:
    assert verified_of(*texts) == expected


@given(st.text(max_size=80))
def test_a_level_counts_only_where_the_check_passed(text: str) -> None:
    verified = verified_of(";verstat=" + text)
    assert not verified.level or verified.result == "passed"


@pytest.mark.parametrize(
    ("policy", "least", "verified", "refused"),
    [
        ("ignore", "", FAILED, ""), ("refuse_failed", "", FAILED, "caller id: its signature failed"),
        ("refuse_failed", "", NOT_SIGNED, ""), ("refuse_failed", "", PASSED_B, ""),
        ("require", "", NOT_SIGNED, "caller id: not signed"),
        ("require", "", FAILED, "caller id: its signature failed"),
        ("require", "", PASSED, ""), ("require", "B", PASSED_A, ""), ("require", "B", PASSED_B, ""),
        ("require", "A", PASSED_B, "caller id: attestation B, at least A is asked"),
        ("require", "C", PASSED, "caller id: attestation unknown, at least C is asked"),
    ],
)  # fmt: skip
def test_what_a_policy_refuses(policy: str, least: str, verified: Verified, refused: str) -> None:
    assert refuse_why(with_changes(CUSTOMER, verification=policy, least_attestation=least), verified) == refused


def test_what_goes_out() -> None:
    assert vouched(CUSTOMER, PASSED_A) == ""
    assert vouched(with_changes(CUSTOMER, attestation="B"), PASSED_A) == "B"
    assert vouched(with_changes(CUSTOMER, attestation="pass"), PASSED_A) == "A"
    assert vouched(with_changes(CUSTOMER, attestation="pass"), FAILED) == ""
