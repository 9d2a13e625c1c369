"""Which calls are to be cut, and when: those whose money ends before anybody has paid for more. Pure; time comes in.

A call is cut at the end of what its account has paid for, never before: PostgreSQL says up to which second of talk
that is, as soon as an extension is refused, some fifteen seconds ahead. When the account has money again, the next
status says so, and nothing is cut. The cut comes a moment early, because a second that has begun is to be paid.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from agent.ami.events import Seen

LEAD_MS: Final = 100  # of a cut, for the way to Asterisk; the dialplan's own longest time has 50
AGAIN_MS: Final = 1_000  # a cut that Asterisk has not carried out is asked for again


class Cut(NamedTuple):
    """A call to be hung up by its customer's channel."""

    call_id: str
    channel: str
    paid_seconds: int


class Cuts:
    """What the last status and the last extension say. Moments in ms of the agent's monotonic clock."""

    def __init__(self) -> None:
        self._seen: Seen | None = None
        self._paid_seconds: Mapping[str, int] = {}
        self._asked_at_ms: dict[str, int] = {}

    def seen(self, seen: Seen) -> None:
        """A status: what is not there any more needs no cut."""
        self._seen = seen
        self._asked_at_ms = {call: at_ms for call, at_ms in self._asked_at_ms.items() if call in seen.names}

    def unpaid(self, paid_seconds: Mapping[str, int]) -> None:
        """All calls that cannot be paid further, and up to which second of talk each is paid."""
        self._paid_seconds = paid_seconds

    def gone(self, call_id: str) -> None:
        """The call has ended, or its channel is not there."""
        if self._seen is not None:
            self._seen.names.pop(call_id, None)
        self._asked_at_ms.pop(call_id, None)

    def due(self, now_ms: int) -> list[Cut]:
        """The calls to be cut now. Each is given out again a second later, as long as it is there."""
        found = []
        for call_id, at_ms in self._moments():
            if at_ms <= now_ms and self._seen is not None:
                self._asked_at_ms[call_id] = now_ms
                found.append(Cut(call_id, self._seen.names[call_id], self._paid_seconds[call_id]))
        return found

    def next_at_ms(self) -> int | None:
        """When the next one is due."""
        return min((at_ms for _, at_ms in self._moments()), default=None)

    def _moments(self) -> list[tuple[str, int]]:
        if self._seen is None:
            return []
        found = []
        for call_id, paid_seconds in self._paid_seconds.items():
            answered_at_ms = self._seen.answered_at_ms.get(call_id)
            if answered_at_ms is None or call_id not in self._seen.names:
                continue
            at_ms = answered_at_ms + paid_seconds * 1000 - LEAD_MS
            if call_id in self._asked_at_ms:
                at_ms = max(at_ms, self._asked_at_ms[call_id] + AGAIN_MS)
            found.append((call_id, at_ms))
        return found
