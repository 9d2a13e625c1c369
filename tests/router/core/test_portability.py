"""The user part of a URI taken apart (RFC 4694), and when a look-up is asked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import peer, with_changes

from router.core.portability import must_ask, take_apart
from router.snapshot.lookups import Lookup

CUSTOMER = peer(1, originator=True)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("12125550123", ("12125550123", "", False)),
        ("+12125550123;npdi;rn=+12015550000", ("+12125550123", "12015550000", True)),
        ("12125550123;rn=+12015550000;npdi=yes", ("12125550123", "12015550000", True)),
        ("12125550123;rn=2015550000;rn-context=+1;npdi", ("12125550123", "12015550000", True)),
        ("12125550123;RN=+12015550000", ("12125550123", "12015550000", False)),
        ("12125550123;rn=2015550000;npdi", ("12125550123", "", True)),  # local, and nothing says where
        ("12125550123;rn=+12015550000;rn=+1201555999", ("12125550123", "", False)),
        ("12125550123;rn=+1201555000x", ("12125550123", "", False)),
        ("12125550123;rn=+١٢٣٤", ("12125550123;rn=+١٢٣٤", "", False)),  # no parameters: the whole is no number
        ("12125550123;x=&PJSIP/1", ("12125550123;x=&PJSIP/1", "", False)),
        ("12125550123;rn=12345678901234;rn-context=+12", ("12125550123", "", False)),  # too long together
        ("12125550123;cic=+10288;npdi", ("12125550123", "", True)),
        (";npdi", ("", "", True)),
    ],
)
def test_a_user_part(user: str, expected: tuple[str, str, bool]) -> None:
    assert take_apart(user) == expected


@given(st.text(max_size=80))
def test_any_text_is_taken_apart_and_its_routing_number_is_digits(user: str) -> None:
    ported = take_apart(user)
    assert user.startswith(ported.dialled)
    assert not ported.routing_number or (ported.routing_number.isascii() and ported.routing_number.isdigit())
    assert len(ported.routing_number) <= 15


@pytest.mark.parametrize(
    ("trusted", "dipped", "codes", "callee", "asked"),
    [
        (False, False, (), "12125550123", True), (True, True, (), "12125550123", False),
        (True, False, (), "12125550123", True), (False, True, (), "12125550123", True),
        (False, False, ("1",), "12125550123", True), (False, False, ("1",), "447700900123", False),
        (False, False, ("44", "1"), "447700900123", True),
    ],
)  # fmt: skip
def test_when_a_look_up_is_asked(trusted: bool, dipped: bool, codes: tuple[str, ...], callee: str, asked: bool) -> None:
    values: dict[str, Any] = {"timeout_ms": 300, "cache_seconds": 60, "max_parallel": 4, "when_failed": "route"}
    lookup = Lookup(1, "npac", "lrn", "http://127.0.0.1/{number}", "lrn", codes, **values)
    assert must_ask(with_changes(CUSTOMER, trust_lrn=trusted), lookup, callee, dipped=dipped) is asked


def test_without_a_look_up_nobody_is_asked() -> None:
    assert must_ask(CUSTOMER, None, "12125550123", dipped=False) is False
