"""What numbers become on their way in and out, and which rules stop them. Pure.

In: what the originator sent is made E.164 by his patterns and country. Out: E.164 is made what the terminator wants by
his patterns, and must still be a number then. Of what a wire said, only checked digits and a checked name leave here.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from router.core.caller import is_anonymous, who_calls
from router.core.model import Inbound, Request, Sent
from router.snapshot.blocks import NO_RULES, Subject, blocked_by
from router.snapshot.config import Peer
from router.snapshot.numbers import NO_PATTERNS, Numbers
from schemas.refusals import Verdict
from tariffs.numbers import (
    LEAST_DIGITS,
    Country,
    NumberError,
    caller_name,
    caller_number,
    is_plain,
    is_sendable,
    normalise,
)
from tariffs.patterns import Pattern, PatternError, apply

ANONYMOUS_REFUSED: Final = "anonymous caller"


class NotSent(NamedTuple):
    """Why a terminator is not sent the call."""

    verdict: Verdict
    detail: str


class Caller(msgspec.Struct, frozen=True, gc=False):
    """The caller as billed: digits and a safe name, or nothing. `withheld`: he does not want to be shown."""

    number: str
    name: str
    withheld: bool


def caller_of(numbers: Numbers, request: Request, peer: Peer | None) -> Caller:
    """The caller of an attempt by this originator, or by nobody known."""
    if not (request.caller_name or request.asserted or request.privacy) and (
        peer is None or (peer.peer_id not in numbers.ruled and not peer.country_code)
    ):
        if is_plain(request.caller):  # as most calls are
            return Caller(request.caller, "", withheld=False)
        number = caller_number(request.caller)
        return Caller(number, "", not number and is_anonymous(request.caller))
    said = who_calls(
        request.caller,
        request.caller_name,
        request.asserted,
        request.privacy,
        trusted=peer is not None and peer.trusted,
    )
    if peer is None:
        return Caller(caller_number(said.number), caller_name(said.name) if said.name else "", said.withheld)
    patterns = numbers.patterns.get(peer.peer_id, NO_PATTERNS)
    number = caller_number(said.number, patterns.caller, Country(peer.country_code, peer.national_prefix))
    name = caller_name(said.name, patterns.caller_name) if said.name or patterns.caller_name else ""
    return Caller(number, name, said.withheld)


def callee_of(numbers: Numbers, request: Request, peer: Peer) -> str:
    """The number that this originator dialled, E.164. Raises NumberError."""
    if not peer.country_code and peer.peer_id not in numbers.patterns:
        if not peer.tech_prefix and len(request.callee) >= LEAST_DIGITS and is_plain(request.callee):
            return request.callee
        return normalise(request.callee, peer.tech_prefix)
    patterns = numbers.patterns.get(peer.peer_id, NO_PATTERNS)
    return normalise(
        request.callee, peer.tech_prefix, patterns.callee, Country(peer.country_code, peer.national_prefix)
    )


def stopped_by(numbers: Numbers, peer: Peer, caller: Caller, callee: str, destination_id: int, now_ms: int) -> str:
    """What people read of the rule that stops an originator's call, or nothing."""
    if peer.anonymous == "refuse" and (caller.withheld or not caller.number):
        return ANONYMOUS_REFUSED
    if not numbers.blocks:
        return ""
    own = numbers.blocks.get(peer.peer_id, NO_RULES)
    return blocked_by(own, numbers.for_all, Subject(caller.number, callee, destination_id), now_ms)


def sent_to_most(inbound: Inbound) -> Sent | None:
    """What every terminator without rules is sent; None where it depends on whom we trust."""
    return None if inbound.withheld else Sent(inbound.callee, inbound.caller, inbound.caller_name)


def to_send(numbers: Numbers, inbound: Inbound, vendor: Peer, now_ms: int) -> Sent | NotSent:
    """What a terminator is sent of a call, or why it is not sent."""
    withheld = inbound.withheld and vendor.trusted and bool(inbound.caller)
    caller, name = inbound.caller, inbound.caller_name
    if inbound.withheld and not vendor.trusted:
        caller = name = ""
    if vendor.peer_id not in numbers.ruled:
        return Sent(inbound.callee, caller, name, withheld)
    blocks = numbers.blocks.get(vendor.peer_id)
    if blocks is not None:
        subject = Subject(inbound.caller, inbound.callee, inbound.destination_id)
        if detail := blocked_by(blocks, NO_RULES, subject, now_ms):
            return NotSent(Verdict.BLOCKED, detail)
    return _translated(numbers, vendor, Sent(inbound.callee, caller, name, withheld))


def callee_to_send(patterns: Sequence[Pattern], callee: str, tech_prefix: str) -> str:
    """The number that a terminator is sent behind its tech prefix. Raises NumberError, PatternError."""
    sent = apply(patterns, callee)
    if not is_sendable(sent):
        raise NumberError(f"callee {sent!r}: must be up to 20 digits after the patterns")
    if tech_prefix and sent.startswith("+"):
        raise NumberError(f"callee {sent!r}: must have no plus behind the tech prefix {tech_prefix}")
    return sent


def caller_to_send(patterns: Sequence[Pattern], caller: str) -> str:
    """The caller's number that a terminator is sent, or nothing. Raises NumberError, PatternError."""
    sent = apply(patterns, caller)
    if not caller and not is_sendable(sent):
        return ""  # there was no number, and `^` → `+` has made none
    if sent and not is_sendable(sent):
        raise NumberError(f"caller {sent!r}: must be up to 20 digits after the patterns")
    return sent


def _translated(numbers: Numbers, vendor: Peer, plain: Sent) -> Sent | NotSent:
    patterns = numbers.patterns.get(vendor.peer_id, NO_PATTERNS)
    try:
        callee = callee_to_send(patterns.callee, plain.callee, vendor.tech_prefix)
        caller = caller_to_send(patterns.caller, plain.caller)
    except (NumberError, PatternError) as error:
        return NotSent(Verdict.BAD_TRANSLATION, str(error)[:200])
    name = caller_name(plain.caller_name, patterns.caller_name) if plain.caller_name or patterns.caller_name else ""
    return Sent(callee, caller, name, plain.withheld and bool(caller))
