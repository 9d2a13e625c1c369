"""Ends what a few session fixtures started with the last test that uses it, not with the session.

A line of real calls that nobody uses any more (Asterisk, router, six SIPps) still takes a tenth of a processor.
"""

from typing import Final

import pytest
from budgets import FILE, file_of, read_budgets

NAMES: Final = ("real_line", "own_line", "fault_servers")
_BUDGETS: Final = read_budgets(FILE.read_text())


def later(item: pytest.Item) -> list[pytest.Item]:
    """The tests that this process may still run after this one, where they could use what it uses.

    With several processes the other groups of files may be another's; each of NAMES is used in one group only.
    """
    items = item.session.items
    rest = items[items.index(item) + 1 :]
    if not hasattr(item.config, "workerinput"):
        return rest
    group = _BUDGETS.group(file_of(item.nodeid))
    return [one for one in rest if _BUDGETS.group(file_of(one.nodeid)) == group]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Finish what nobody after this test asks for; what depends on it is finished first."""
    for name in NAMES:
        if name not in item.fixturenames or any(name in one.fixturenames for one in later(item)):
            continue
        for definition in item.session._fixturemanager.getfixturedefs(name, item) or ():
            if definition.scope == "session":
                definition.finish(item._request)
