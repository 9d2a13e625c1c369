"""When a vendor that does not answer is skipped, and when it is tried again. Pure.

A vendor is called as always until SILENT_INVITES INVITEs in a row had no SIP response at all, not even 100. Then it is
skipped for SKIP_MS. After that one call tries it, and the skip begins anew with this try, so that no second call does.
Any response, to whatever INVITE, ends it. An example, with INVITEs that end at these seconds:

    0 silent    1 silent    2 silent    → skipped until 32
    32 a call tries it                  → skipped until 62
    38 that one was silent, too         → skipped until 68
    68 a call tries it, 100 Trying      → called as always

Each node's agent keeps a standing for each vendor (agent/ami/reach.py), PostgreSQL has it for everybody
(sinks/reachability.py), and a router's try is a change of that row that only one router can make.
"""

from typing import Final, Literal, NamedTuple

SILENT_INVITES: Final = 3
SKIP_MS: Final = 30_000
# An INVITE that was out for less says nothing: over UDP it has been sent twice by then (RFC 3261, T1 is 500 ms).
MIN_SILENT_MS: Final = 900

Turn = Literal["call", "try", "skip"]


class Standing(NamedTuple):
    """A vendor on a node. `silent`: INVITEs in a row without a response. `skip_until_ms` None: it is not skipped."""

    silent: int = 0
    skip_until_ms: int | None = None


CALLED: Final = Standing()


def after_response(_standing: Standing) -> Standing:
    """A response has come, of whatever code."""
    return CALLED


def after_silence(standing: Standing, at_ms: int) -> Standing:
    """An INVITE has ended at `at_ms` without any response."""
    silent = standing.silent + 1
    if silent < SILENT_INVITES:
        return Standing(silent, standing.skip_until_ms)
    return Standing(silent, max(standing.skip_until_ms or 0, at_ms + SKIP_MS))


def after_try(standing: Standing, at_ms: int) -> Standing:
    """A call tries the vendor at `at_ms`."""
    return Standing(standing.silent, at_ms + SKIP_MS)


def turn_of(standing: Standing, at_ms: int) -> Turn:
    """What a call at `at_ms` may do: call the vendor as always, be the one that tries it, or skip it."""
    if standing.skip_until_ms is None:
        return "call"
    return "try" if at_ms >= standing.skip_until_ms else "skip"
