"""The question of check routing as the core is asked it: all that the asker said, and chance by the seed."""

from pathlib import Path

import pytest
from snapshots import EXPECTED_SECONDS, NOW_MS, RawWorld, make_snapshot, peer

from router.check import Question, QuestionError, check
from router.check.question import request_of
from router.core import Request, World
from router.snapshot.config import HuntingClass


def test_all_that_was_said_is_asked() -> None:
    question = Question("c1", "4930", "4420", None, "ast1", "", "Anna", "<tel:4911>", "id", 7, look_up=True)
    found = request_of(peer(1, originator=True, tech_prefix="77"), question)
    assert found == Request("c-c1", "127.0.1.1", "774930", "4420", 7, "Anna", "<tel:4911>", "id")


def test_the_seed_decides_what_is_left_to_chance(tmp_path: Path) -> None:
    world = RawWorld(
        peers=[
            peer(1, originator=True, hunting_class_id=1),
            *(peer(number, originator=False) for number in range(11, 17)),
        ],
        prices={1: [("49", 0, 3_000_000)], **{number: [("49", 0, 1_000_000)] for number in range(11, 17)}},
        entries=[(number, 1, True) for number in range(11, 17)],
        hunting_classes=[HuntingClass(1, "By chance", "random")],
    )
    snapshot = make_snapshot(tmp_path, world)

    def order(seed: int) -> list[str]:
        checked = check(
            World(snapshot), Question("c1", "4930123", seed=seed), NOW_MS, expected_seconds=EXPECTED_SECONDS,
            source="live", quality="read", limits="unknown",
        )  # fmt: skip
        return [one.vendor for one in sorted(checked.decision.candidates, key=lambda one: one.position)]

    assert order(1) == order(1)
    assert len({order(seed)[0] for seed in range(100)}) == 6


def test_codecs_are_asked_as_asterisk_could_answer_them_and_vendors_without_them_are_left_out(tmp_path: Path) -> None:
    world = RawWorld(
        peers=[
            peer(1, originator=True, codecs="g729,alaw"),
            peer(11, originator=False),
            peer(12, originator=False, codecs="g729"),
        ],
        prices={number: [("49", 0, 1_000_000)] for number in (1, 11, 12)},
        entries=[(11, 1, True), (12, 2, True)],
    )
    snapshot = make_snapshot(tmp_path, world)

    def verdicts(codecs: str) -> dict[str, str]:
        checked = check(
            World(snapshot), Question("c1", "4930123", codecs=codecs), NOW_MS, expected_seconds=EXPECTED_SECONDS,
            source="live", quality="read", limits="unknown",
        )  # fmt: skip
        return {one.vendor: one.verdict for one in checked.decision.candidates}

    assert verdicts("") == {"v11": "TAKEN", "v12": "TAKEN"}
    assert verdicts("ulaw,g729") == {"v11": "NO COMMON CODEC", "v12": "TAKEN"}
    assert verdicts("alaw,ulaw") == {"v11": "TAKEN", "v12": "NO COMMON CODEC"}
    assert request_of(snapshot.originators[0], Question("c1", "4930", codecs="ulaw,alaw,g729")).codecs == "g729,alaw"
    for codecs, rule in (("pcma", "must be some of alaw"), ("alaw,", "must be some of"), ("ulaw", "answers any other")):
        with pytest.raises(QuestionError, match=rule) as caught:
            verdicts(codecs)
        assert (caught.value.field, caught.value.value) == ("codecs", codecs)
