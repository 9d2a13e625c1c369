"""The caller id's signature (STIR/SHAKEN): what is asked of it inward, and what we vouch for outward. Pure.

Sources: RFC 8224 (Identity), RFC 8588 (attestation A full, B partial, C gateway), 3GPP TS 24.229 (`verstat` and the
header Attestation-Info, by which the element that signs is told the level).
"""

import re
from typing import Final, Literal, NamedTuple

from router.snapshot.config import Peer

_VERSTAT: Final = re.compile(r";verstat=([A-Za-z0-9-]{1,40})", re.ASCII | re.IGNORECASE)
_RESULTS: Final = {"tn-validation-passed": "passed", "tn-validation-failed": "failed", "no-tn-validation": "none"}
Level = Literal["", "A", "B", "C"]
_LEVEL_BEHIND: Final[dict[str, Level]] = {"-a": "A", "-b": "B", "-c": "C"}
LEVELS: Final = ("A", "B", "C")


class Verified(NamedTuple):
    """`result` is passed, failed or none; `level` A, B, C or nothing: a level counts only where the check passed."""

    result: str
    level: Level


NOT_SIGNED: Final = Verified("none", "")


def verified_of(*texts: str) -> Verified:
    """What the first of these says that says anything: headers, or numbers with their parameters, from the wire.

    `verstat=TN-Validation-Passed`, perhaps with a level behind it as `-A`. A result in words that are not known here is
    a failed one: deny by default. Believe it of an originator that is trusted, for anybody can write it.
    """
    found = next((match for match in map(_VERSTAT.search, texts) if match), None)
    if found is None:
        return NOT_SIGNED
    words = found[1].lower()
    level = _LEVEL_BEHIND.get(words[-2:], "")
    result = _RESULTS.get(words[:-2] if level else words, "failed")
    return Verified(result, level if result == "passed" else "")


def refuse_why(peer: Peer, verified: Verified) -> str:
    """Why the originator's policy refuses the call, in words; empty where it does not."""
    if peer.verification == "ignore":
        return ""
    if verified.result == "failed":
        return "caller id: its signature failed"
    if peer.verification == "require" and verified.result == "none":
        return "caller id: not signed"
    if peer.least_attestation and not _at_least(verified.level, peer.least_attestation):
        return f"caller id: attestation {verified.level or 'unknown'}, at least {peer.least_attestation} is asked"
    return ""


def vouched(peer: Peer, verified: Verified) -> Level:
    """The level that goes out with this originator's calls: A, B, C, or nothing."""
    return verified.level if peer.attestation == "pass" else peer.attestation


def _at_least(level: str, least: str) -> bool:
    return level in LEVELS and LEVELS.index(level) <= LEVELS.index(least)
