"""Incidents: texts become values or an error that names the part; they strike whom they name, while they last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.board import Board
from simulator.incidents import Incident, IncidentError, parse_incident
from simulator.vendors import NO_EFFECTS


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("vendor-down@30s", Incident("vendor-down", "", 0.0, 30.0, None)),
        ("vendor-down:v-7@1m+500ms", Incident("vendor-down", "v-7", 0.0, 60.0, 0.5)),
        ("vendor-slow:v-7=2.5@0", Incident("vendor-slow", "v-7", 2.5, 0.0, None)),
        ("vendor-slow@10s+1h", Incident("vendor-slow", "", 6.0, 10.0, 3600.0)),
        ("asr-drop=0.2@5s", Incident("asr-drop", "", 0.2, 5.0, None)),
        ("surge=4@20s+10s", Incident("surge", "", 4.0, 20.0, 10.0)),
        ("node-crash@30s", Incident("node-crash", "", 0.0, 30.0, None)),
        ("node-crash:sim1@30s+5s", Incident("node-crash", "sim1", 0.0, 30.0, 5.0)),
        ("destination-down:4477@5s+5s", Incident("destination-down", "4477", 0.0, 5.0, 5.0)),
    ],
)
def test_a_text_is_an_incident(text: str, wanted: Incident) -> None:
    assert parse_incident(text) == wanted


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("vendor-down", "KIND"),
        ("", "KIND"),
        ("meteor@30s", "kind 'meteor' must be one of vendor-down"),
        ("vendor-down@soon", "start 'soon' must be a time"),
        ("vendor-down@30s+", "KIND"),
        ("vendor-down@30s+x", "duration 'x' must be a time"),
        ("vendor-down@-5s", "start '-5s'"),
        ("vendor-down:V 7@30s", "target 'V 7' must be the name of a terminator"),
        ("vendor-down=3@30s", "value '3': this kind takes none"),
        ("asr-drop=1.5@30s", "value '1.5' must be a number from 0 to 1"),
        ("surge=many@30s", "value 'many' must be a number"),
        ("node-crash:sim-1@30s", "target 'sim-1' must be the name of a node"),
        ("destination-down@30s", "target '' must be 1 to 15 digits"),
        ("destination-down:44x@30s", "target '44x' must be 1 to 15 digits"),
        ("vendor-down@30s\n", "KIND|must be a time"),
    ],
)
def test_a_text_that_is_none_is_refused_with_the_rule(text: str, rule: str) -> None:
    with pytest.raises(IncidentError, match=rule):
        parse_incident(text)


@given(st.text(max_size=40))
def test_any_text_is_an_incident_or_an_incident_error(text: str) -> None:
    try:
        incident = parse_incident(text)
    except IncidentError:
        return
    assert incident.start_seconds >= 0


def test_an_incident_is_on_from_its_start_to_its_end() -> None:
    incident = parse_incident("vendor-down@30s+10s")
    assert [incident.is_on(at) for at in (0, 29.999, 30, 39.999, 40, 1000)] == [False, False, True, True, False, False]
    assert parse_incident("vendor-down@30s").is_on(10_000)


def test_a_named_vendor_alone_is_struck() -> None:
    board = Board([parse_incident("vendor-down:bad@10s+10s")], busiest_vendor=lambda: "good")
    assert board.effects_on("bad", "4477", 15).down
    assert board.effects_on("good", "4477", 15) == NO_EFFECTS
    assert board.effects_on("bad", "4477", 25) == NO_EFFECTS


def test_without_a_name_the_busiest_vendor_of_the_first_moment_stays_struck() -> None:
    busiest = ["", "first", "second"]
    board = Board([parse_incident("vendor-slow=2@10s")], busiest_vendor=lambda: busiest.pop(0))
    assert board.effects_on("first", "4477", 5) == NO_EFFECTS  # not yet on: nobody is asked for
    assert board.effects_on("first", "4477", 10) == NO_EFFECTS  # nobody has carried anything yet
    assert board.effects_on("first", "4477", 11).extra_ms == 2_000
    assert board.effects_on("second", "4477", 12) == NO_EFFECTS
    assert board.chosen() == {"vendor-slow": "first"}


def test_incidents_add_up() -> None:
    texts = ("vendor-slow:v=1@0", "vendor-slow:v=2@0", "asr-drop:v=0.5@0", "asr-drop:v=0.5@0", "destination-down:44@0")
    board = Board([parse_incident(text) for text in texts], busiest_vendor=lambda: "")
    effects = board.effects_on("v", "4477", 1)
    assert (effects.extra_ms, effects.answers_kept, effects.down) == (3_000, 0.25, True)
    assert not board.effects_on("v", "1212", 1).down
