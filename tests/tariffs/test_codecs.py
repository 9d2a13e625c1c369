"""What two peers have in common, against an oracle that tries every pair of codecs that a call could come to."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.codecs import CODECS, END_TO_END, TRANSLATED, is_mixed, kind_of_call, offer_to, read_codecs

lists = st.lists(st.sampled_from(CODECS), unique=True, min_size=1).map(tuple)


def _go_together(one: str, other: str) -> bool:
    """Whether Asterisk can connect a leg of one codec with a leg of the other."""
    return one == other or {one, other} <= set(TRANSLATED)


@given(lists, lists)
def test_whatever_both_sides_choose_of_what_they_are_offered_goes_together(
    caller: tuple[str, ...], vendor: tuple[str, ...]
) -> None:
    call = kind_of_call(caller, vendor)
    offer = offer_to(vendor, call)
    assert set(call) <= set(caller)
    assert set(offer) <= set(vendor)
    assert all(_go_together(one, other) for one, other in product(call, offer))
    assert bool(call) == bool(offer) == any(_go_together(one, other) for one, other in product(caller, vendor))
    assert not is_mixed(call)
    assert kind_of_call(call, vendor) == call


@given(lists, lists)
def test_nothing_that_could_be_used_is_left_out(caller: tuple[str, ...], vendor: tuple[str, ...]) -> None:
    call = kind_of_call(caller, vendor)
    offer = offer_to(vendor, call)
    if set(call) & set(TRANSLATED):
        assert set(call) == set(caller) & set(TRANSLATED)
        assert set(offer) == set(vendor) & set(TRANSLATED)
        assert [codec for codec in offer if codec in call] == [codec for codec in call if codec in vendor]
    elif call:
        assert not (set(caller) & set(TRANSLATED) and set(vendor) & set(TRANSLATED))
        assert call == offer == (next(codec for codec in caller if codec in END_TO_END and codec in vendor),)


@pytest.mark.parametrize(
    ("text", "codecs"),
    [
        ("", ()), ("alaw", ("alaw",)), ("g729,alaw", ("g729", "alaw")), ("alaw,alaw", ("alaw",)),
        ("slin16,alaw,(nothing)", ("alaw",)), ("alaw,,x", ("alaw",)),
    ],
)  # fmt: skip
def test_a_text_of_codecs(text: str, codecs: tuple[str, ...]) -> None:
    assert read_codecs(text) == codecs
