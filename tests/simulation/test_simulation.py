"""Hundreds of histories without a failure; the same seed is the same history; a failing one is shrunk and told.

The numbers can be set: SIMULATION_SEEDS and SIMULATION_FROM.
"""

import os
from collections import Counter

import pytest

from tests.simulation import __main__ as command
from tests.simulation import pool
from tests.simulation.history import run
from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.plan import make_plan
from tests.simulation.shrink import Shrinker

SEEDS = 200  # within so many each deliberate bug but one shows
WHOLE_SEEDS = 1_000
FIRST = int(os.environ.get("SIMULATION_FROM", "0"))
MUTATION_SEEDS = 300
# Test processes side by side share the processors.
PROCESSES = max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
# Each must really have happened in the histories that were run.
BITES = (
    "calls", "legs", "rated again", "posted again", "CDRs again", "estimated", "corrections", "cut", "refused", "swept",
    "dead letters", "replayed", "starts again", "rebalances", "kills", "kills within a transaction", "zombies",
    "commits fenced off", "requests refused", "answers lost", "vanished",
)  # fmt: skip


@pytest.mark.simulation
@pytest.mark.timeout(600)
def test_many_histories_end_in_a_clean_audit(whole: bool) -> None:
    seeds = int(os.environ.get("SIMULATION_SEEDS", WHOLE_SEEDS if whole else SEEDS))
    total: Counter[str] = Counter()
    with pool.workers(PROCESSES) as executor:
        for result in pool.run_seeds(executor, FIRST, seeds, PROCESSES):
            assert not result.failures, f"seed {result.seed}: python -m tests.simulation --seed {result.seed} tells it"
            total.update(result.bites)
    assert all(total[name] > 0 for name in BITES), total


@pytest.mark.simulation
@pytest.mark.timeout(600)
def test_every_deliberate_bug_is_found() -> None:
    with pool.workers(PROCESSES) as executor:
        found = list(pool.find_all(executor, 0, MUTATION_SEEDS, near=True))
    assert len(found) >= 12
    assert [one.name for one in found if one.seed is None] == []


def test_a_few_histories_end_in_a_clean_audit() -> None:
    for seed in range(40):
        history = run(make_plan(seed))
        assert not history.failures, seed
        assert history.bites["legs"] > 0


def test_the_same_seed_is_the_same_history() -> None:
    seeds = range(100, 112)
    here = [run(make_plan(seed)) for seed in seeds]
    again = [run(make_plan(seed)) for seed in seeds]
    assert [history.trace for history in here] == [history.trace for history in again]
    with pool.workers(1) as executor:
        there = list(pool.run_seeds(executor, seeds.start, len(seeds), 1))
    assert [result.digest for result in there] == [history.digest for history in here]
    assert len({history.digest for history in here}) == len(seeds)


def test_a_plan_is_the_same_whenever_it_is_made() -> None:
    assert make_plan(7) == make_plan(7)
    assert make_plan(7) != make_plan(8)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_deliberate_bug_fits_the_code_and_leaves_it_as_it_was(mutation: object) -> None:
    assert isinstance(mutation, tuple(type(one) for one in MUTATIONS))
    plan = make_plan(3)
    before = run(plan)
    with mutated(mutation):
        pass
    assert run(plan).digest == before.digest


def test_a_failing_history_is_shrunk_to_what_it_needs() -> None:
    bug = next(one for one in MUTATIONS if one.name == "a hold is never released")
    plan = make_plan(0)
    with mutated(bug):
        short = Shrinker(plan).shrink()
        assert run(short).failures
    assert not run(short).failures
    assert len(short.elements) == 1 < len(plan.elements)  # one admitted call


def test_what_does_not_fail_is_not_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        Shrinker(make_plan(0))


def test_one_history_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.one(0, story=True) == 0
    told = capsys.readouterr().out
    assert "Plan of seed 0" in told
    assert "What happened" in told
    assert "seed 0: all well" in told


def test_a_failing_history_is_told_short_and_ends_in_1(capsys: pytest.CaptureFixture[str]) -> None:
    bug = next(one for one in MUTATIONS if one.name == "a leg is posted as often as it comes")
    with mutated(bug):
        assert command.one(0, story=False) == 1
    told = capsys.readouterr().out
    assert "seed 0 fails" in told
    assert "The shortest story" in told
    assert "WRONG: balance is not the sum of its entries" in told
