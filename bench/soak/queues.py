"""Asterisk's own queues, as its console shows them. While one of them is over its mark Asterisk takes no new calls."""

from collections.abc import Sequence
from typing import Final, NamedTuple

SHOW: Final = "core show taskprocessors"
_MANAGER: Final = "stasis/m:manager:core"
_NUMBERS: Final = 5  # processed, in queue, max depth, low water, high water


class Queue(NamedTuple):
    """A task processor since Asterisk's start: `max_depth` tasks have waited at most, above `high_water` it alerts."""

    name: str
    processed: int
    max_depth: int
    high_water: int


def read_queues(text: str) -> list[Queue]:
    """What the console answers to SHOW."""
    found = []
    for line in text.splitlines():
        name, *numbers = line.split() or [""]
        if len(numbers) >= _NUMBERS and all(number.isdecimal() for number in numbers):  # behind them stand some times
            processed, _, max_depth, _, high_water = map(int, numbers[:_NUMBERS])
            found.append(Queue(name, processed, max_depth, high_water))
    return found


def fullest(queues: Sequence[Queue]) -> Queue:
    """The one that came nearest to its mark. There must be one."""
    return max(queues, key=lambda queue: queue.max_depth / max(1, queue.high_water))


def manager_queue(text: str) -> Queue:
    """The manager's, of the same answer. Raises RuntimeError where it is not."""
    for queue in read_queues(text):
        if queue.name.startswith(_MANAGER):
            return queue
    raise RuntimeError(f"no queue {_MANAGER} in {text[-500:]!r}")


def figures(text: str) -> dict[str, int | str]:
    """What a bench prints of the same answer. Raises RuntimeError as manager_queue."""
    manager, full = manager_queue(text), fullest(read_queues(text))
    return {
        "manager_queue_max": manager.max_depth,
        "manager_queue_mark": manager.high_water,
        "fullest_queue": f"{full.name}: {full.max_depth} of {full.high_water}",
    }
