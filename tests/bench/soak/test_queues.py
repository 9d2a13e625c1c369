"""Asterisk's queues, read."""

import pytest

from bench.soak.queues import Queue, figures, fullest, manager_queue, read_queues

SHOWN = """
Processor               Processed   In Queue  Max Depth  Low water High water Low time(us) High time(us)
hep_queue_tp                         1204          0          3        450        500            2           871
stasis/m:manager:core-00000006      20031         12       2406       2700       3000            1         66614
stasis/p:channel:all-0000000a           7          0          2        450        500

3 taskprocessors
"""


def test_each_queue_is_read_and_nothing_else() -> None:
    assert read_queues(SHOWN) == [
        Queue("hep_queue_tp", 1204, 3, 500),
        Queue("stasis/m:manager:core-00000006", 20031, 2406, 3000),
        Queue("stasis/p:channel:all-0000000a", 7, 2, 500),
    ]
    assert read_queues("") == []


def test_the_managers_is_found_or_missed() -> None:
    assert manager_queue(SHOWN).max_depth == 2406
    with pytest.raises(RuntimeError, match="manager:core"):
        manager_queue("No such command")


def test_the_fullest_is_the_one_that_came_nearest_to_its_mark() -> None:
    assert fullest(read_queues(SHOWN)).name == "stasis/m:manager:core-00000006"
    assert fullest([Queue("a", 1, 400, 500), Queue("b", 1, 2_000, 3_000)]).name == "a"
    assert figures(SHOWN) == {
        "manager_queue_max": 2406,
        "manager_queue_mark": 3000,
        "fullest_queue": "stasis/m:manager:core-00000006: 2406 of 3000",
    }
