"""A login's and an address's one form: what reaches the same user is counted as the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.access.logins import LOGIN, UNKNOWN_ADDRESS, normal_address, normal_login

BLANKS = [" ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u1680", "\x0b", "\x1f"]


def full_width(text: str) -> str:
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text)


def mathematical(text: str) -> str:
    return "".join(chr(0x1D41A + ord(one) - ord("a")) if "a" <= one <= "z" else one for one in text)


def circled(text: str) -> str:
    return "".join(chr(0x24D0 + ord(one) - ord("a")) if "a" <= one <= "z" else one for one in text)


FORMS = [str, str.upper, str.title, full_width, mathematical, circled, lambda text: full_width(text).upper()]


@given(
    st.from_regex(LOGIN, fullmatch=True),
    st.lists(st.sampled_from(BLANKS), max_size=3),
    st.lists(st.sampled_from(BLANKS), max_size=3),
    st.sampled_from(FORMS),
    st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]),
)
def test_blanks_case_and_forms_make_no_difference(
    login: str, before: list[str], after: list[str], form: object, normal: str
) -> None:
    assert callable(form)
    written = unicodedata.normalize(normal, "".join(before) + form(login) + "".join(after))  # type: ignore[arg-type]
    assert normal_login(written) == login


@given(st.text(max_size=80))
def test_it_is_a_login_or_none_and_stays_what_it_is(text: str) -> None:
    found = normal_login(text)
    assert found is None or (LOGIN.fullmatch(found) and normal_login(found) == found)


@pytest.mark.parametrize(
    "text",
    ["", " ", "a b", "a\x00", "\x00", "é", "a\u200bb", "-a", "a" * 65, "ﷺ" * 200, "a" + " " * 300, "\u00ad"],
)
def test_what_is_no_login(text: str) -> None:
    assert normal_login(text) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", UNKNOWN_ADDRESS),
        (None, UNKNOWN_ADDRESS),
        ("unknown", UNKNOWN_ADDRESS),
        ("192.0.2.7:50000", "192.0.2.7"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("[::1]", "::/64"),
        ("192.0.2.7:", UNKNOWN_ADDRESS),
        ("[192.0.2.7:1", UNKNOWN_ADDRESS),
        ("1.2.3.4, 192.0.2.7", UNKNOWN_ADDRESS),
    ],
)
def test_addresses(text: str | None, kept: str) -> None:
    assert normal_address(text) == kept
