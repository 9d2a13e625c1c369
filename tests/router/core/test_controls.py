"""What controllers hold in force, in a decision: passed by, moved back, refused, capped; and over at its own moment."""

import dataclasses
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_legs import insert_parties
from snapshots import EXPECTED_SECONDS, NOW_MS, RawWorld, make_snapshot, peer

from router.build.reader import read_config
from router.core import Decision, Request, World, candidates, decide
from router.snapshot.caches import Caches
from router.snapshot.config import ControlBlock
from router.snapshot.store import Snapshot
from schemas.refusals import Refusal, Verdict

ASKED = Request("c-c1", "127.0.1.1:5060", "447700900123", "12125550123")
VENDORS = (11, 12, 13, 14)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Customer 1 (no limit) and 2 (7 calls at once); vendors 11 to 14, each dearer than the one before; 11 by 4477."""
    customers = [peer(1, originator=True), peer(2, originator=True, max_concurrent=7)]
    vendors = [peer(number, originator=False) for number in VENDORS]
    prices: dict[int, Any] = {number: [("44", 0, number * 1_000)] for number in VENDORS}
    prices[11] = [("44", 0, 11_000), ("4477", 0, 11_500)]
    prices |= {1: [("44", 0, 2_000_000)], 2: [("44", 0, 2_000_000)]}
    entries = [(number, 1, True) for number in VENDORS]
    return make_snapshot(tmp_path_factory.mktemp("s"), RawWorld([*customers, *vendors], prices, entries))


def block(peer_id: int, action: Any = "block", code: str = "", cap: int = 0, until_ms: int = 0) -> ControlBlock:
    return ControlBlock(f"x/{peer_id}/{code}/{action}", "bad ASR", peer_id, code, action, cap, until_ms)


def held(snapshot: Snapshot, *blocks: ControlBlock) -> Snapshot:
    config = msgspec.structs.replace(snapshot.config, control_blocks=blocks)
    return dataclasses.replace(snapshot, config=config, caches=Caches())


def decided(snapshot: Snapshot, now_ms: int = NOW_MS, asked: Request = ASKED) -> Decision:
    return decide(World(snapshot), asked, now_ms, expected_seconds=EXPECTED_SECONDS)


def tried(decision: Decision) -> list[int]:
    return [route.vendor.peer_id for route in decision.routes]


def verdicts(decision: Decision) -> dict[int, str]:
    return {one.vendor_peer_id: one.verdict for one in candidates(decision)}


def test_without_controls_nothing_is_changed(snapshot: Snapshot) -> None:
    assert tried(decided(held(snapshot))) == [11, 12, 13, 14]
    assert decided(held(snapshot)).world.full == frozenset()


def test_a_blocked_vendor_is_passed_by_and_the_decision_says_why(snapshot: Snapshot) -> None:
    decision = decided(held(snapshot, block(12)))
    assert tried(decision) == [11, 13, 14]
    assert verdicts(decision)[12] == Verdict.BLOCKED_BY_CONTROL
    assert [verdicts(decision)[number] for number in (11, 13, 14)] == [Verdict.TAKEN] * 3


def test_a_blocked_code_is_that_one_alone(snapshot: Snapshot) -> None:
    assert tried(decided(held(snapshot, block(11, code="4477")))) == [12, 13, 14]
    assert tried(decided(held(snapshot, block(11, code="44")))) == [11, 12, 13, 14]
    other = ASKED._replace(callee="442071234567")
    assert tried(decided(held(snapshot, block(11, code="4477")), asked=other)) == [11, 12, 13, 14]
    assert tried(decided(held(snapshot, block(11, code="44")), asked=other)) == [12, 13, 14]
    assert verdicts(decided(held(snapshot, block(11, code="4477"))))[11] == Verdict.BLOCKED_BY_CONTROL


def test_a_demoted_vendor_or_code_stands_behind_the_others(snapshot: Snapshot) -> None:
    assert tried(decided(held(snapshot, block(11, "demote")))) == [12, 13, 14, 11]
    assert tried(decided(held(snapshot, block(12, "demote"), block(11, "demote", "4477")))) == [13, 14, 11, 12]
    assert tried(decided(held(snapshot, block(11, "demote"), block(11)))) == [12, 13, 14]


def test_when_all_are_blocked_the_call_is_refused_as_at_a_limit(snapshot: Snapshot) -> None:
    decision = decided(held(snapshot, *map(block, VENDORS)))
    assert (decision.refusal, decision.routes) == (Refusal.LIMIT, ())
    assert set(verdicts(decision).values()) == {Verdict.BLOCKED_BY_CONTROL}


def test_a_blocked_customer_is_refused_and_others_are_not(snapshot: Snapshot) -> None:
    blocked = held(snapshot, block(1))
    decision = decided(blocked)
    assert (decision.refusal, decision.routes) == (Refusal.BLOCKED, ())
    assert decision.inbound.detail == "control bad ASR"
    assert decided(blocked, asked=ASKED._replace(remote_address="127.0.1.2:5060")).refusal is None


def test_a_cap_is_the_lower_of_both(snapshot: Snapshot) -> None:
    def most(cap: int, customer: int) -> int:
        decision = decided(
            held(snapshot, block(customer, "cap", cap=cap), block(customer, "cap", cap=90)),
            asked=ASKED._replace(remote_address=f"127.0.1.{customer}:5060"),
        )
        assert decision.peer is not None
        return decision.peer.max_concurrent

    assert (most(5, 1), most(5, 2), most(7, 2), most(9, 2)) == (5, 5, 7, 7)


@given(st.lists(st.tuples(st.sampled_from(VENDORS), st.sampled_from([0, -1, 1, 5_000, 60_000])), max_size=6))
def test_what_is_over_is_over_whoever_is_away(snapshot: Snapshot, blocks: list[tuple[int, int]]) -> None:
    """Oracle: at each moment those are tried against whom no block has its end still to come."""
    made = held(
        snapshot, *(block(number, until_ms=NOW_MS + after_ms if after_ms else 0) for number, after_ms in blocks)
    )
    for now_ms in (NOW_MS, NOW_MS + 1, NOW_MS + 4_999, NOW_MS + 5_000, NOW_MS + 60_000):
        in_force = {number for number, after_ms in blocks if not after_ms or now_ms < NOW_MS + after_ms}
        assert tried(decided(made, now_ms)) == [number for number in VENDORS if number not in in_force]


@pytest.mark.servers
def test_rows_in_force_reach_the_configuration_and_move_its_generation(postgres_dsn: str) -> None:
    insert_parties(postgres_dsn)
    insert = (
        "INSERT INTO control_actions (action_id, kind, control_id, control, peer_id, code, action, cap_concurrent,"
        " reason, since, until) VALUES (%s, %s, 1, 'c', %s, %s, %s, %s, 'r', now() - interval '1 hour', {})"
    )
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        before = read_config(connection, 0).generation
        hour = insert.format("now() + interval '1 hour'").encode()
        connection.execute(hour, ("a", "termination", 11, "44", "block", None))
        connection.execute(insert.format("NULL").encode(), ("b", "origination", 1, "", "cap", 5))
        connection.execute(insert.format("now()").encode(), ("over", "termination", 12, "", "block", None))
        config = read_config(connection, 0)
        assert config.generation > before
        seen = [(one.action_id, one.peer_id, one.code, one.action, one.cap_concurrent) for one in config.control_blocks]
        assert seen == [("a", 11, "44", "block", 0), ("b", 1, "", "cap", 5)]
        assert [one.until_ms > 0 for one in config.control_blocks] == [True, False]
        with pytest.raises(psycopg.errors.UniqueViolation):  # one of a control and scope at a time
            connection.execute(hour, ("again", "termination", 11, "44", "block", None))
        connection.execute("UPDATE control_actions SET released_at = now(), released_by = 'ada' WHERE action_id = 'a'")
        released = read_config(connection, 0)
        assert [one.action_id for one in released.control_blocks] == ["b"]
        assert released.generation > config.generation
