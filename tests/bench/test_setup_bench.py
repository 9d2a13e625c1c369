"""P3's rule: a rate is kept up when it is reached and no more than a thousandth of the calls fails."""

from bench.p3_setup import Step


def test_a_rate_is_kept_up_or_not() -> None:
    assert Step(placed=1_000, per_second=40.0, failed=1, setup_ms=[]).kept_up(40)
    assert Step(placed=1_000, per_second=38.0, failed=0, setup_ms=[]).kept_up(40)
    assert not Step(placed=1_000, per_second=40.0, failed=2, setup_ms=[]).kept_up(40)
    assert not Step(placed=999, per_second=40.0, failed=1, setup_ms=[]).kept_up(40)
    assert not Step(placed=1_000, per_second=37.9, failed=0, setup_ms=[]).kept_up(40)
