"""How vendors stand, in words, and what the wall says of them."""

import pytest

from dashboards.topics.reachability.badge import wall_word
from dashboards.topics.reachability.store import ReachState
from dashboards.topics.reachability.words import reach_line
from router.server.vendor_reach import VendorReach


def vendor(name: str, state: str, silent: int = 0, age: float | None = 4.2, left: float | None = None) -> VendorReach:
    return VendorReach(
        node="ast1", vendor=name, state=state, age_seconds=age, next_try_seconds=left, silent_invites=silent,  # type: ignore[arg-type]
        last_silent_at_ms=None, last_response_at_ms=None, probe=None, probe_since_ms=None, probed_at_ms=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (vendor("kestrel", "reachable"), "kestrel on ast1: answers (0:04 ago)"),
        (vendor("kestrel", "silent", 1), "kestrel on ast1: 1 INVITE in a row without a response (0:04 ago)"),
        (
            vendor("kestrel", "skipped", 3, left=12.6),
            "kestrel on ast1: skipped: 3 INVITEs in a row without a response (0:04 ago), tried again in 13 s",
        ),
        (
            vendor("kestrel", "due", 4, left=0.0),
            "kestrel on ast1: 4 INVITEs in a row without a response: the next call tries it (0:04 ago)",
        ),
        (vendor("kestrel", "unreachable"), "kestrel on ast1: skipped: its OPTIONS probes are not answered (0:04 ago)"),
        (vendor("kestrel", "unknown", age=None), "kestrel on ast1: not known"),
    ],
)
def test_a_vendor_in_words(one: VendorReach, line: str) -> None:
    assert reach_line(one) == line


def test_the_wall_names_two_that_do_not_answer_and_counts_the_others() -> None:
    assert wall_word(ReachState()) is None
    assert wall_word(ReachState(away="PostgreSQL does not answer")) is None
    assert wall_word(ReachState([vendor("a", "reachable"), vendor("b", "silent", 2)])) is None
    bad = [vendor(name, "unreachable") for name in "abcd"]
    word = wall_word(ReachState(bad))
    assert word is not None
    assert word.state == "amber"
    assert word.text == f"{reach_line(bad[0])}; {reach_line(bad[1])}, and 2 more"
