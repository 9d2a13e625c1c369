"""What the dialplan is told about a hunt, and that the largest answer keeps AGI's bounds."""

from pathlib import Path

from snapshots import EXPECTED_SECONDS, NOW_MS, RawWorld, make_snapshot, peer

from router.core import Request, World, decide
from router.core.hunting import call_variables, route_rules
from router.server.agi import mset_commands
from router.server.answer import Answer, call_facts, variables
from router.snapshot.config import RouteEntry
from schemas.agi import MAX_COMMAND_CHARACTERS, MAX_PAIRS, MAX_ROUTES
from schemas.release import MAX_RULES, Rule, encode_rules

LONGEST = encode_rules(Rule("sip", 300 + number, "stop", 127) for number in range(MAX_RULES))


def test_what_says_nothing_is_left_out() -> None:
    assert call_variables(peer(1, originator=True)) == [("SETUP_MS", "120000")]
    assert route_rules(RouteEntry(2, 1, True), peer(2, originator=False)) == []


def test_what_is_said() -> None:
    customer = peer(1, originator=True, max_setup_seconds=30, ringback="generate", release_rules="-17-s")
    assert call_variables(customer) == [("SETUP_MS", "30000"), ("CALL_RULES", "-17-s"), ("RINGBACK", "r")]
    vendor = peer(2, originator=False, pdd_timeout_seconds=6, huntstop=True, release_rules="-503-c41")
    assert route_rules(RouteEntry(2, 1, True), vendor) == [
        ("PDD", "6"),
        ("RULES", "-503-c41"),
        ("HUNTSTOP", "1"),
    ]


def test_a_routes_own_word_comes_before_its_vendors() -> None:
    entry = RouteEntry(2, 1, True, pdd_timeout_seconds=4, huntstop=True)
    for vendor in (peer(2, originator=False), peer(2, originator=False, pdd_timeout_seconds=6)):
        assert route_rules(entry, vendor) == [("PDD", "4"), ("HUNTSTOP", "1")]


def test_the_largest_answer_keeps_the_bounds_and_ends_with_routes(tmp_path: Path) -> None:
    customer = peer(1, originator=True, ringback="generate", release_rules=LONGEST)
    vendors = [
        peer(number, originator=False, pdd_timeout_seconds=300, huntstop=True, release_rules=LONGEST)
        for number in range(2, 2 + MAX_ROUTES)
    ]
    prices = {1: [("44", 0, 2_000_000)], **{vendor.deck_id: [("44", 0, 1_000)] for vendor in vendors}}
    world = RawWorld([customer, *vendors], prices, [(vendor.peer_id, 1, True) for vendor in vendors])  # type: ignore[arg-type]
    decision = decide(
        World(make_snapshot(tmp_path, world)),
        Request("c-c1", "127.0.1.1:5060", "447700900123", "12125550123"),
        NOW_MS,
        expected_seconds=EXPECTED_SECONDS,
    )
    said = variables(Answer(decision, None, 1_000, 0), call_facts(decision))
    assert said[-1] == ("ROUTES", str(MAX_ROUTES))
    assert dict(said)["ROUTE_8_RULES"] == dict(said)["CALL_RULES"] == LONGEST
    commands = mset_commands(said)
    assert all(len(command) <= MAX_COMMAND_CHARACTERS + 20 for command in commands)
    assert all(command.count("ROUTE_") <= MAX_PAIRS for command in commands)
    assert len(commands) <= 5
