"""Many histories on several processes: in the order of their seeds, and the same whatever the number of processes."""

import gc
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final, NamedTuple

from tests.simulation.history import run
from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.plan import make_plan

_CHUNK: Final = 8
_AHEAD: Final = 4  # chunks of each process that are on their way
_COLLECT_EVERY: Final = 100_000  # objects; a history makes few cycles


class Result(NamedTuple):
    """A history, without what would be much to carry between processes."""

    seed: int
    failures: list[tuple[str, str]]
    digest: str
    bites: dict[str, int]


class Found(NamedTuple):
    """By which history a deliberate bug was found, and as what. `seed` None: by none."""

    name: str
    seed: int | None
    tried: int
    failure: str


def _prepare() -> None:
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)


def _run_chunk(first: int, count: int) -> list[Result]:
    results = []
    for seed in range(first, first + count):
        history = run(make_plan(seed))
        results.append(Result(seed, history.failures, history.digest, history.bites))
    return results


def find(name: str, first: int, most: int) -> Found:
    """Run histories with a bug switched on until one fails."""
    mutation = next(one for one in MUTATIONS if one.name == name)
    with mutated(mutation):
        for seed in range(first, first + most):
            failures = run(make_plan(seed)).failures
            if failures:
                return Found(name, seed, seed - first + 1, failures[0][0])
    return Found(name, None, most, "")


@contextmanager
def workers(processes: int = 0) -> Iterator[Executor]:
    """Processes for histories: as many as there are processors, if not said."""
    count = processes or len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_prepare) as executor:
        yield executor


def run_seeds(executor: Executor, first: int, count: int, processes: int = 0) -> Iterator[Result]:
    """The histories of so many seeds, in their order."""
    ahead = _AHEAD * (processes or len(os.sched_getaffinity(0)))
    starts = iter(range(first, first + count, _CHUNK))
    waiting: list[Future[list[Result]]] = []

    def submit() -> None:
        start = next(starts, None)
        if start is not None:
            waiting.append(executor.submit(_run_chunk, start, min(_CHUNK, first + count - start)))

    for _ in range(ahead):
        submit()
    while waiting:
        done = waiting.pop(0)
        submit()
        yield from done.result()


def find_all(executor: Executor, first: int, most: int, *, near: bool = False) -> Iterator[Found]:
    """Every mutation of the list, each looked for in at most so many histories; `near`: from the seed it says on."""
    waiting = [executor.submit(find, mutation.name, mutation.near if near else first, most) for mutation in MUTATIONS]
    for one in waiting:
        yield one.result()
