"""A partition that stands still is found after the patience, and an idle or moving one never is."""

from hypothesis import given
from hypothesis import strategies as st

from streams.folds.standstill import Partition, Progress, Standing, Standstill

CALLS_0, CALLS_1 = Partition("calls", 0), Partition("calls", 1)
_looks = st.lists(
    st.tuples(
        st.integers(0, 30),  # seconds since the look before
        st.dictionaries(
            st.sampled_from([CALLS_0, CALLS_1]), st.builds(Progress, st.integers(0, 3), st.integers(0, 3)), max_size=2
        ),
    ),
    max_size=30,
)


def slow_oracle(patience: float, history: list[tuple[float, dict[Partition, Progress]]]) -> set[Standstill]:
    """Those that in each look of the last `patience` seconds and more waited at one committed offset, without a gap."""
    now, seen = history[-1]
    found = set()
    for partition, progress in seen.items():
        since = None
        for at, earlier in reversed(history):
            before = earlier.get(partition)
            if before is None or before.committed != progress.committed or before.committed >= before.end:
                break
            since = at
        if since is not None and now - since > patience:
            found.add(Standstill(partition, progress, now - since))
    return found


@given(_looks, st.integers(0, 60))
def test_found_as_the_slow_oracle_finds_it(looks: list[tuple[int, dict[Partition, Progress]]], patience: int) -> None:
    standing = Standing(patience)
    now, history = 0, []
    for seconds, seen in looks:
        now += seconds
        history.append((float(now), seen))
        assert set(standing.look(now, seen)) == slow_oracle(patience, history)


def test_one_that_waits_is_found_after_the_patience_and_not_before() -> None:
    standing = Standing(60)
    assert standing.look(0, {CALLS_0: Progress(5, 9)}) == []
    assert standing.look(60, {CALLS_0: Progress(5, 20)}) == []
    assert standing.look(61, {CALLS_0: Progress(5, 20)}) == [Standstill(CALLS_0, Progress(5, 20), 61)]


def test_one_that_moves_or_has_nothing_to_do_or_was_given_away_is_left_alone() -> None:
    standing = Standing(60)
    for at in range(0, 1_000, 50):
        assert standing.look(at, {CALLS_0: Progress(at, at + 100), CALLS_1: Progress(7, 7)}) == []
    standing.look(2_000, {CALLS_0: Progress(1, 2)})
    standing.look(2_050, {})
    assert standing.look(2_100, {CALLS_0: Progress(1, 2)}) == []
