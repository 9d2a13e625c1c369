"""The wall's word on vendors that do not answer."""

from typing import Final

from dashboards.kit.shared import Word
from dashboards.topics.reachability.store import ReachState
from dashboards.topics.reachability.words import reach_line
from router.server.vendor_reach import SKIPPED

_NAMED: Final = 2  # the others are counted


def wall_word(state: ReachState) -> Word | None:
    """Those that are skipped, each with how old the newest sign is; None: all answer."""
    if state.away:
        return None  # the wall says by other words that PostgreSQL is away
    bad = [one for one in state.vendors if one.state in SKIPPED]
    if not bad:
        return None
    more = f", and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return Word("amber", "; ".join(map(reach_line, bad[:_NAMED])) + more)
