"""What a caller id's signature is worth to whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import peer, with_changes

from router.routing.attestation import Verified, read_verification, refuse_why, vouched

CUSTOMER = peer(1, originator=True)
PASSED_A, PASSED_B = Verified("passed", "A"), Verified("passed", "B")
FAILED, NONE, PASSED = Verified("failed", ""), Verified("none", ""), Verified("passed", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Verification passed/A", PASSED_A), ("verification passed/b", PASSED_B), ("Verification passed/", PASSED),
        ("Verification passed/Z", PASSED), ("Signature failed/A", FAILED), ("Verification mismatch/A", FAILED),
        ("Verification not present/", NONE), ("", NONE), ("/", NONE), ("TN-Validation-Passed", PASSED),
        ("TN-Validation-Passed-A", PASSED_A), ("TN-Validation-Passed/B", PASSED_B), ("TN-Validation-Failed-C", FAILED),
        ("No-TN-Validation", NONE), ("something new/A", FAILED),
    ],
)  # fmt: skip
def test_the_words_of_a_verification(text: str, expected: Verified) -> None:
    assert read_verification(text) == expected


@given(st.text(max_size=40))
def test_a_level_counts_only_where_the_check_passed(text: str) -> None:
    verified = read_verification(text)
    assert not verified.level or verified.result == "passed"


@pytest.mark.parametrize(
    ("policy", "least", "verified", "refused"),
    [
        ("ignore", "", FAILED, ""), ("refuse_failed", "", FAILED, "caller id: its signature failed"),
        ("refuse_failed", "", NONE, ""), ("refuse_failed", "", PASSED_B, ""),
        ("require", "", NONE, "caller id: not signed"), ("require", "", FAILED, "caller id: its signature failed"),
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
