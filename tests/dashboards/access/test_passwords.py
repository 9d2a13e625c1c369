"""What a password must be: long enough, and not among those that are guessed first."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.access.passwords import MAX_CHARACTERS, MIN_CHARACTERS, _common, password_fault


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("", "from 12 to 256"),
        ("short", "from 12 to 256"),
        ("x7!" * 86, "from 12 to 256"),
        ("a\x00bcdefgh1jklm", "control character"),
        ("tab\there and there", "control character"),
        ("password1234", "guessed first"),
        ("PassWord1234", "guessed first"),
        ("Administrator", "guessed first"),
        ("qwertyuiop123", "guessed first"),
        ("aaaaaaaaaaaaa", "guessed first"),
        ("abababababab", "guessed first"),
        ("12341234123412", "guessed first"),
        ("1234567890123", "guessed first"),
        ("0987654321098", "guessed first"),
        ("abcdefghijklmnop", "guessed first"),
        ("nora.petrova", "more than the login"),
        ("Nora.Petrova1", "more than the login"),
        ("streamco2026!", "more than the login"),
    ],
)
def test_refused(password: str, rule: str) -> None:
    assert rule in password_fault(password, "nora.petrova")


@pytest.mark.parametrize("password", ["correct horse battery", "schöne Grüße aus Sofia", "пароль-длинный"])
def test_any_kind_of_characters_will_do(password: str) -> None:
    assert password_fault(password, "nora") == ""


@given(st.text(max_size=300))
def test_it_never_fails_and_short_ones_never_pass(password: str) -> None:
    assert password_fault(password, "nora") or MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS


def test_what_is_made_passes() -> None:
    assert not any(password_fault(secrets.token_urlsafe(15), "a") for _ in range(200))


def test_the_list_is_of_passwords_that_would_pass_otherwise() -> None:
    assert len(_common()) > 200
    assert all(len(one) >= MIN_CHARACTERS and one == one.casefold() for one in _common())
