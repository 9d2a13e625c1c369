"""Calls refused at once because the router has more to do than it can (overload.py), as cheaply as can be.

No decision, no event, no PostgreSQL, no task: who calls is looked up, and the answer of his last refused call is sent
again. Its CDR says OVERLOAD and whose call it was; the numbers are in the journal.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

from router.core import Decision, Request, World
from router.core.identify import identify
from router.core.model import Inbound
from router.server.agi_text import mset_commands
from router.server.answer import Answer, call_facts, variables
from router.server.overload import FEW_OPEN, Line, LoopLag
from router.snapshot.config import Peer
from router.snapshot.store import Snapshot
from runtime.metrics import counter, gauge
from schemas.agi import AGI_SCRIPT
from schemas.refusals import Refusal

SHED: Final = counter("router_calls_shed", "Calls refused at once for overload, by what was too slow.", ["reason"])
LATE: Final = gauge("router_late_seconds", "How late the event loop came to its last tick.")
FIRST: Final = gauge("router_first_waits_seconds", "How long the first call has waited for PostgreSQL's word.")
_KEPT: Final = 4096


class Shedder:
    """`refuse` is the gate of the AGI server."""

    def __init__(
        self, lag: LoopLag, sessions: Callable[[], int], line: Line, snapshot: Callable[[], Snapshot | None]
    ) -> None:
        """`sessions`: how many are open now."""
        self._lag = lag
        self._sessions = sessions
        self._line = line
        self._snapshot = snapshot
        self._answers: dict[int, bytes] = {}  # by peer, 0: nobody known
        self._answers_of = ""
        self.shed = 0
        LATE.set_function(lambda: max(0.0, lag.late_seconds))
        FIRST.set_function(lambda: line.first_seconds(time.monotonic()))

    def refuse(self, script: str, headers: Mapping[str, str]) -> bytes | None:
        """The command that refuses this call now; None: there is time for it. Anything but a call is let through."""
        if self._lag.refuses and self._sessions() > FEW_OPEN:
            reason = "processor"
        elif self._line.refuses(time.monotonic()):
            reason = "database"
        else:
            return None
        snapshot = self._snapshot()
        if script != AGI_SCRIPT or snapshot is None:
            return None
        self.shed += 1
        SHED.labels(reason).inc()
        request = Request("", unquote(headers.get("agi_arg_3", "")), unquote(headers.get("agi_arg_4", "")), "")
        peer, _ = identify(snapshot, request.remote_address, request.callee)
        return self._answer(snapshot, request, peer)

    def _answer(self, snapshot: Snapshot, request: Request, peer: Peer | None) -> bytes:
        if self._answers_of != snapshot.name or len(self._answers) >= _KEPT:
            self._answers_of = snapshot.name
            self._answers.clear()
        key = peer.peer_id if peer else 0
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = overload_answer(snapshot, request, peer)
        return found


def overload_answer(snapshot: Snapshot, request: Request, peer: Peer | None) -> bytes:
    """The command that refuses a call of this originator (None: nobody known) for overload."""
    inbound = Inbound(Refusal.OVERLOAD, peer)
    decision = Decision(World(snapshot), request, inbound, Refusal.OVERLOAD)
    answer = Answer(decision, Refusal.OVERLOAD, 0, 0)
    return "".join(f"{text}\n" for text in mset_commands(variables(answer, call_facts(decision)))).encode()
