"""Ids are what they say, or refused."""

import pytest

from schemas import ids


def test_a_call_id_names_its_node_and_epoch() -> None:
    call_id = ids.make_call_id("ast1", 1795609861, "1795609900.12")
    assert call_id == "ast1-1795609861-1795609900.12"
    assert (ids.node_of(call_id), ids.epoch_of(call_id)) == ("ast1", 1795609861)
    assert ids.split_leg_id(ids.make_leg_id(call_id, 3)) == (call_id, 3)
    assert ids.make_event_id(ids.make_leg_id(call_id, 3), "leg_ended") == f"{call_id}/3:leg_ended"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ast1",
        "AST1-1795609861-1795609900.12",
        "ast1-1-1.1",
        "ast1-1795609861-1795609900.12\n",
        "a-1795609861-١795609900.12",
    ],
)
def test_what_is_no_call_id_is_refused(text: str) -> None:
    with pytest.raises(ids.IdError):
        ids.check_call_id(text)


@pytest.mark.parametrize("text", ["ast1-1795609861-1795609900.12", "ast1-1795609861-1795609900.12/", "x/1", "/1"])
def test_what_is_no_leg_id_is_refused(text: str) -> None:
    with pytest.raises(ids.IdError):
        ids.split_leg_id(text)
