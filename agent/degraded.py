"""What a node agent cannot do, and what follows for calls, in words for `streamco status`. Pure.

Each of its parts is tried again by itself for ever, so none of this ends the agent: its relay, which bills, goes on.
"""

from typing import Final, NamedTuple

SILENT_SECONDS: Final = 15  # functions/admit.sql refuses prepaid calls of a node unheard of for so long


class Parts(NamedTuple):
    """`ami`: why there are no heartbeats; `limits`: why shares are not renewed; `disk`: that it is nearly full. Empty:
    all is well. `postgres_away`: counters and holds cannot be told. `copies`: why there are no copies of SIP messages.
    """

    ami: str = ""
    postgres_away: bool = False
    limits: str = ""
    disk: str = ""
    copies: str = ""


def degraded_of(parts: Parts, lease_seconds: float) -> str:
    """The text of a beat's `degraded`; empty: all is well. `lease_seconds`: how long shares of limits hold."""
    limited = f"{lease_seconds:g} s after that no leg begins to a vendor with a limit"
    prepaid = f"{SILENT_SECONDS} s after that prepaid calls are refused"
    found = []
    if parts.ami:
        found.append(
            f"no AMI ({parts.ami}): no heartbeats of this node; {limited}, {prepaid}; a call whose money ends is cut "
            "by Asterisk's own limit alone, and the live calls shown are the last known"
        )
    if parts.postgres_away:
        found.append(f"no PostgreSQL: calls that ended go on counting, holds are not extended; {limited}, {prepaid}")
    if parts.limits and not parts.ami and not parts.postgres_away:
        found.append(f"{parts.limits}: {limited}")
    if parts.disk:
        found.append(f"{parts.disk}: new calls from this node are refused")
    if parts.copies:
        found.append(
            f"{parts.copies}: legs are billed by their channels, refusals before the dialplan are not recorded"
        )
    return "; ".join(found)
