"""Whether vendors answer, by node, as it is shown: on pages, by commands, over REST."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import psycopg

from sinks.reachability import Probe, Reachability, State, list_reachability

MOST_SHOWN: Final = 500
SKIPPED: Final[tuple[State, ...]] = ("skipped", "due", "unreachable")  # states of vendors that do not answer


class VendorReach(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor on a node. `state`: docs/routing.md has what each means.

    `age_seconds`: of the newest sign that it rests on; null: there was none. `next_try_seconds`: so long it is still
    skipped for its INVITEs; null: it is not. `probe` is null where the vendor wants no OPTIONS.
    """

    node: str
    vendor: str
    state: State
    age_seconds: float | None
    next_try_seconds: float | None
    silent_invites: int
    last_silent_at_ms: int | None
    last_response_at_ms: int | None
    probe: Probe | None
    probe_since_ms: int | None
    probed_at_ms: int | None


def vendor_reach(one: Reachability) -> VendorReach:
    """A row as it is shown. Pure."""
    left = None if one.skip_until is None else max(0.0, (one.skip_until - one.at).total_seconds())
    return VendorReach(
        node=one.node,
        vendor=one.vendor,
        state=one.state,
        age_seconds=None if one.age_seconds is None else round(one.age_seconds, 1),
        next_try_seconds=None if left is None else round(left, 1),
        silent_invites=one.silent_invites,
        last_silent_at_ms=_ms(one.last_silent_at),
        last_response_at_ms=_ms(one.last_response_at),
        probe=one.probe,
        probe_since_ms=_ms(one.probe_since),
        probed_at_ms=_ms(one.probed_at),
    )


def read_vendors(
    connection: psycopg.Connection[Any], *, node: str = "", only_bad: bool = False
) -> Sequence[Reachability]:
    """MOST_SHOWN vendors at most, those that are not reachable first. Raises psycopg.Error."""
    return list_reachability(connection, MOST_SHOWN, node=node, only_bad=only_bad)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
