"""The caller id's signature (STIR/SHAKEN): what is asked of it inward, and what we vouch for outward. Pure.

Sources: RFC 8224 (Identity), RFC 8588 (attestation A full, B partial, C gateway), 3GPP TS 24.229 (`verstat` and the
header Attestation-Info, by which the element that signs is told the level).
"""

from typing import Final, NamedTuple

from router.snapshot.config import Peer

# What verifies says it in its own words: Asterisk's STIR_SHAKEN(n,verify_result), and a `verstat` parameter.
_RESULTS: Final = {
    "verification passed": "passed", "tn-validation-passed": "passed",
    "signature failed": "failed", "verification mismatch": "failed", "tn-validation-failed": "failed",
    "verification not present": "none", "no-tn-validation": "none", "": "none",
}  # fmt: skip
LEVELS: Final = ("A", "B", "C")


class Verified(NamedTuple):
    """`result` is passed, failed or none; `level` A, B, C or nothing: a level counts only where the check passed."""

    result: str
    level: str


def read_verification(text: str) -> Verified:
    """`RESULT/LEVEL` as the dialplan passes it. A verstat's own level comes behind it, as TN-Validation-Passed-A.

    A result in words that are not known here is a failed one: deny by default.
    """
    words, _, level = text.partition("/")
    words, level = words.strip().lower(), level.strip().upper()
    if words[-2:] in ("-a", "-b", "-c") and words.startswith("tn-validation-"):
        words, level = words[:-2], words[-1].upper()
    result = _RESULTS.get(words, "failed")
    return Verified(result, level if result == "passed" and level in LEVELS else "")


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


def vouched(peer: Peer, verified: Verified) -> str:
    """The level that goes out with this originator's calls: A, B, C, or nothing."""
    return verified.level if peer.attestation == "pass" else peer.attestation


def _at_least(level: str, least: str) -> bool:
    return level in LEVELS and LEVELS.index(level) <= LEVELS.index(least)
