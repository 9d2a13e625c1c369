"""What a node agent reads of its limits, reports of them, and tells Asterisk."""

from agent.limits.shares import (
    MOST_READ,
    Reading,
    Report,
    Share,
    Told,
    Usage,
    changes,
    is_lowered,
    reading_names,
    reading_of,
    told_of,
)


def test_asterisk_is_told_what_differs_and_nothing_of_what_is_no_limit_any_more() -> None:
    shares = {"p5": Share(10, None), "r1-5": Share(None, 3), "c5-44": Share(0, 0)}
    told = {"p5": Told("10", "-"), "r1-5": Told("1000000", "2"), "p6": Told("4", "-")}
    assert changes(shares, told) == {"r1-5": Told("1000000", "3"), "c5-44": Told("0", "0"), "p6": Told("", "")}
    assert changes(shares, {key: told_of(share) for key, share in shares.items()}) == {}


def test_a_share_is_lowered_where_less_may_be_used() -> None:
    assert is_lowered(Told("10", "-"), Told("9", "-"))
    assert is_lowered(Told("1000000", "3"), Told("5", "3"))  # a limit that was not there
    assert not is_lowered(Told("9", "-"), Told("10", "-"))
    assert not is_lowered(Told(), Told("10", "-"))


def test_answers_that_are_no_numbers_are_none() -> None:
    assert reading_names("c5-44") == ("GROUP_COUNT(c5-44@c)", "LA_c5-44", "LX_c5-44")
    assert reading_of(("3", "", "x")) == Reading(3, 0, 0)


def test_what_goes_on_counts_where_it_is_more_than_the_share() -> None:
    usage = Usage()
    told = {"p5": Told("4", "-"), "p6": Told("1000000", "7")}
    usage.read("p5", Reading(6, 0, 0), told["p5"], 100.0)
    usage.read("p6", Reading(6, 0, 0), told["p6"], 100.0)
    assert usage.reports(told) == [Report("p5", 6, 0, 6, 6, 0, 0), Report("p6", 6, 7, 6, 6, 0, 0)]


def test_what_was_refused_is_wanted_for_some_rounds() -> None:
    usage = Usage()
    told = Told("4", "5")

    def wanted(used: int, passed: int, refused: int, now: float) -> tuple[int, int]:
        usage.read("p5", Reading(used, passed, refused), told, now)
        (report,) = usage.reports({"p5": told})
        return report.concurrent_wanted, report.cps_wanted

    assert wanted(2, 100, 50, 0.0) == (2, 0)  # what was before is nobody's wish
    assert wanted(4, 103, 53, 1.0) == (7, 6)  # full: three more were wanted, six a second tried
    assert wanted(1, 103, 60, 2.0) == (7, 7)  # not full: refused for the calls per second
    assert [wanted(1, 103, 60, 2.0 + n) for n in range(1, 5)][-1] == (1, 7)
    assert wanted(1, 103, 60, 7.0) == (1, 0)
    assert wanted(0, 0, 0, 8.0) == (1, 0)  # another start of Asterisk: its counts begin anew


def test_of_many_limits_some_are_read_a_round_and_each_in_its_turn() -> None:
    usage = Usage()
    keys = [f"p{number}" for number in range(1_000)]
    assert len(usage.due(keys, ())) == 1_000  # none was ever read
    for key in keys:
        usage.read(key, Reading(0, 0, 0), Told("1", "-"), 1.0)
    usage.read("p7", Reading(1, 0, 0), Told("1", "-"), 2.0)
    seen: set[str] = set()
    for now in range(3, 14):
        due = usage.due(keys, {"p999"})
        assert {"p7", "p999"} <= set(due)
        assert len(due) <= MOST_READ + 1
        seen |= set(due)
        for key in due:
            usage.read(key, Reading(int(key == "p7"), 0, 0), Told("1", "-"), float(now))
    assert seen == set(keys)
    usage.forget(["p7"])
    assert "p7" not in usage.used
