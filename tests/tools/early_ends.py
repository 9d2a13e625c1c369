"""Ends what a few session fixtures started with the last file that uses it, not with the session.

A line of real calls that nobody uses any more (Asterisk, router, six SIPps) still takes a tenth of a processor. Such a
fixture wraps what it starts, under its own name:

    with ended_early("real_line", make_line("asterisk", Line)) as line:
        yield line
"""

import pytest
from budgets import budgets_of_the_suite, file_of
from ended_early import STARTED


def later(item: pytest.Item) -> list[pytest.Item]:
    """The tests that this process may still run after this one, where they could use what it uses.

    With several processes the other groups of files may be another's; what is ended early is used in one group only.
    """
    items = item.session.items
    rest = items[items.index(item) + 1 :]
    if not hasattr(item.config, "workerinput"):
        return rest
    group = budgets_of_the_suite().group(file_of(item.nodeid))
    return [one for one in rest if budgets_of_the_suite().group(file_of(one.nodeid)) == group]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End what no later test asks for, when a file is done: what of the file depends on it has ended by then."""
    if nextitem is not None and file_of(nextitem.nodeid) == file_of(item.nodeid):
        return
    for fixture in list(STARTED):
        if not any(fixture in getattr(one, "fixturenames", ()) for one in later(item)):
            STARTED.pop(fixture).close()
