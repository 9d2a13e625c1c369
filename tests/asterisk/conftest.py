"""The calls of tests/tools/real_calls.py, placed once a session through the one real Asterisk (tests/conftest.py)."""

import pytest
from real_calls import Seen, place_with_a_dead_router
from real_line import Line


@pytest.fixture(scope="session")
def dead_router_calls(real_line: Line, real_calls: dict[str, Seen]) -> dict[str, Seen]:
    """What became of calls when the router was killed. After all the others: it is their router too."""
    assert real_calls
    return place_with_a_dead_router(real_line)
