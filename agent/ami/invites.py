"""What became of INVITEs: the journal's lines of legs that ended → how each vendor stands on this node. Pure.

A leg's line has the vendor's last SIP response, provisional ones too. Empty, it had none: 100 was not sent either, or
no INVITE went out at all, which such a short leg shows (router/server/reachability.py, MIN_SILENT_MS).
"""

from collections.abc import Collection, Iterable
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from router.server.reachability import MIN_SILENT_MS, Standing, after_response, after_silence
from schemas.facts import FactsError, decode_facts
from schemas.journal import JournalError, split_at_length
from sinks.reachability import Known, Report

_RESULT: Final = b'"LEG_RESULT"'


class Invite(NamedTuple):
    """An INVITE that has ended, at `ended_at` unix seconds of the node's clock."""

    peer_id: int
    responded: bool
    ended_at: float


def read_invite(line: bytes) -> Invite | None:
    """What a journal line says of an INVITE; None: nothing. Lines that cannot be read are the relay's to report."""
    if _RESULT not in line:
        return None
    try:
        _, pairs = split_at_length(line)
        peer_id = decode_facts(pairs.get("facts", "")).vendor_peer_id
        ended_at = Decimal(pairs["end"] or pairs["start"])
        if any(pairs.get(key) for key in ("sip", "ring", "prog", "answer")) or pairs.get("status") == "ANSWER":
            return Invite(peer_id, True, float(ended_at))
        lasted = ended_at - Decimal(pairs["start"])
    except (JournalError, FactsError, InvalidOperation, KeyError):
        return None
    return Invite(peer_id, False, float(ended_at)) if lasted * 1000 >= MIN_SILENT_MS else None


class _Vendor(NamedTuple):
    standing: Standing = Standing()
    silent_at_ms: int | None = None
    response_at_ms: int | None = None
    told_response_ms: int | None = None  # the response that was reported last


class Standings:
    """How each vendor stands. Moments are of any clock that only goes on, in milliseconds."""

    def __init__(self) -> None:
        self._vendors: dict[int, _Vendor] = {}
        self._changed: set[int] = set()

    def learn(self, known: Iterable[Known], at_ms: int) -> None:
        """What an agent before this one has reported, as of `at_ms`; what this one has seen itself stays."""
        for one in known:
            until_ms = None if one.skip_ms is None else at_ms + one.skip_ms
            self._vendors.setdefault(one.peer_id, _Vendor(Standing(one.silent_invites, until_ms)))

    def take(self, invite: Invite, at_ms: int) -> None:
        """An INVITE has ended."""
        vendor = self._vendors.get(invite.peer_id, _Vendor())
        if invite.responded:
            self._responded(invite.peer_id, vendor, at_ms)
            return
        standing = after_silence(vendor.standing, at_ms)
        self._vendors[invite.peer_id] = vendor._replace(standing=standing, silent_at_ms=at_ms)
        self._changed.add(invite.peer_id)

    def responded(self, peer_id: int, at_ms: int) -> None:
        """A vendor rings or has answered: known before its leg ends."""
        self._responded(peer_id, self._vendors.get(peer_id, _Vendor()), at_ms)

    def _responded(self, peer_id: int, vendor: _Vendor, at_ms: int) -> None:
        standing = after_response(vendor.standing)
        if standing != vendor.standing:
            self._changed.add(peer_id)
        self._vendors[peer_id] = vendor._replace(standing=standing, response_at_ms=at_ms)

    def reports(self, at_ms: int, renew_ms: int) -> list[Report]:
        """What is to be reported at `at_ms`: what has changed, and responses newer by `renew_ms` than the last told."""
        found = []
        for peer_id, vendor in self._vendors.items():
            response_ms, told_ms = vendor.response_at_ms, vendor.told_response_ms
            is_newer = response_ms is not None and (told_ms is None or response_ms - told_ms >= renew_ms)
            if peer_id in self._changed or is_newer:
                found.append(_report(peer_id, vendor, at_ms))
        return found

    def reported(self, reports: Iterable[Report], at_ms: int) -> None:
        """Those of `reports(at_ms, …)` have arrived."""
        for one in reports:
            self._changed.discard(one.peer_id)
            if one.response_ms_ago is not None:
                vendor = self._vendors[one.peer_id]
                self._vendors[one.peer_id] = vendor._replace(told_response_ms=at_ms - one.response_ms_ago)

    def keep(self, peer_ids: Collection[int]) -> None:
        """Vendors that are none of these are no more."""
        for peer_id in [peer_id for peer_id in self._vendors if peer_id not in peer_ids]:
            del self._vendors[peer_id]
            self._changed.discard(peer_id)

    def __len__(self) -> int:
        """So many vendors."""
        return len(self._vendors)


def _report(peer_id: int, vendor: _Vendor, at_ms: int) -> Report:
    standing = vendor.standing
    return Report(
        peer_id,
        standing.silent,
        None if vendor.silent_at_ms is None else max(0, at_ms - vendor.silent_at_ms),
        None if vendor.response_at_ms is None else max(0, at_ms - vendor.response_at_ms),
        None if standing.skip_until_ms is None else standing.skip_until_ms - at_ms,
    )
