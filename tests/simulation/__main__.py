"""python -m tests.simulation (make simulate): many histories, one of them as a story, or the table of deliberate bugs.

--seeds N [--from S]        so many histories; exit 1 with the first that fails, and its shortest story (SEEDS=, FROM=)
--seed N [--story]          one history; what happened in it, or if it fails the shortest one that does (SEED=, STORY=1)
--mutations [--seeds N]     every deliberate bug: by which seed it is found, of at most N (MUTATIONS=1)
--processes P               of all these; as many as there are processors, if not said
"""

import argparse
import sys
import time
from collections import Counter

from tests.simulation import pool
from tests.simulation.history import History, run
from tests.simulation.mutations import MUTATIONS
from tests.simulation.plan import CallPlan, Plan, make_plan
from tests.simulation.shrink import Shrinker

MUTATION_SEEDS = 2_000
PROGRESS_SECONDS = 5.0


def main() -> int:
    """The command line; 1 if something was found, or a deliberate bug was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", action="store_true", help="the table of deliberate bugs")
    parser.add_argument("--seeds", type=int, default=0, help="how many histories")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one history")
    parser.add_argument("--story", action="store_true", help="tell everything that happens in it")
    parser.add_argument("--processes", type=int, default=0, help="how many processes; 0: one a processor")
    given = parser.parse_args()
    if given.mutations:
        return mutations(given.first, given.seeds or MUTATION_SEEDS, given.processes)
    if given.seed is not None:
        return one(given.seed, story=given.story)
    return many(given.first, given.seeds or 1_000, given.processes)


def many(first: int, count: int, processes: int) -> int:
    """So many histories."""
    began = told = time.monotonic()
    total: Counter[str] = Counter()
    done = 0
    with pool.workers(processes) as executor:
        for result in pool.run_seeds(executor, first, count, processes):
            if result.failures:
                executor.shutdown(wait=False, cancel_futures=True)
                print(f"seed {result.seed} FAILS after {done} histories: {result.failures[0]}", flush=True)
                return one(result.seed, story=False)
            done += 1
            total.update(result.bites)
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                print(f"{done} of {count} histories, up to seed {result.seed}: all well", flush=True)
    seconds = time.monotonic() - began
    print(f"{done} histories in {seconds:.1f} s, seeds {first} to {first + count - 1}: 0 failures")
    print("in them: " + ", ".join(f"{number} {name}" for name, number in total.items()))
    return 0


def one(seed: int, *, story: bool) -> int:
    """One history."""
    plan = make_plan(seed)
    history = run(plan)
    if story:
        tell(history)
    if not history.failures:
        print(f"seed {seed}: all well, {history.bites['legs']} legs, {history.steps} steps, history {history.digest}")
        return 0
    print(f"seed {seed} fails: {len(history.failures)} things are wrong, the first: {history.failures[0]}")
    shrinker = Shrinker(plan)
    short = shrinker.shrink()
    print(f"\nThe shortest story of {shrinker.tried} that were tried, {len(short.elements)} of {len(plan.elements)}:\n")
    tell(run(short))
    return 1


def tell(history: History) -> None:
    """A history in words: its plan, what happened, and what is wrong."""
    tell_plan(history.plan)
    print("\nWhat happened (seconds):")
    for at_ms, *what in history.trace:
        print(f"  {at_ms / 1000:9.3f}  " + " ".join(str(word) for word in what if word != ""))
    print("\nIn numbers: " + ", ".join(f"{number} {name}" for name, number in history.bites.items()))
    for kind, detail in history.failures:
        print(f"WRONG: {kind}: {detail}")


def tell_plan(plan: Plan) -> None:
    """The plan in words."""
    print(f"Plan of seed {plan.seed}: " + ", ".join(f"{k} {v}" for k, v in plan.config._asdict().items()))
    for element in plan.elements:
        if isinstance(element, CallPlan):
            legs = "; ".join(
                f"answers after {leg.final_ms} ms and talks {leg.talk_ms} ms"
                if leg.sip_code == 200 and leg.has_channel
                else (f"refuses with {leg.sip_code}" if leg.has_channel else "cannot be reached")
                for leg in element.legs
            )
            what = f"call of customer {element.customer + 1} to {element.callee} by node {element.node}: {legs}"
        else:
            what = " ".join(str(word) for word in element[1:] if word != "")
        print(f"  {element.at_ms / 1000:9.3f}  {what}")


def mutations(first: int, most: int, processes: int) -> int:
    """The table of deliberate bugs."""
    began = time.monotonic()
    print("| deliberate bug | in | found by seed | histories needed | as |\n|---|---|---|---|---|")
    missed = 0
    where = {mutation.name: "model" if mutation.is_of_model else "product" for mutation in MUTATIONS}
    with pool.workers(processes) as executor:
        for found in pool.find_all(executor, first, most):
            missed += found.seed is None
            seed = "**none**" if found.seed is None else str(found.seed)
            print(f"| {found.name} | {where[found.name]} | {seed} | {found.tried} | {found.failure} |", flush=True)
    print(f"\n{len(MUTATIONS) - missed} of {len(MUTATIONS)} found, in {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
