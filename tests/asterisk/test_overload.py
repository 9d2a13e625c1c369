"""A call refused for overload, on the real Asterisk: the router sends its refusal and leaves."""

import time
from typing import Any

import pytest
from real_calls import Seen
from real_line import CALLER, RICH, Line
from scripted_router import ScriptedRouter

from router.core import Request
from router.server.shed import overload_answer
from router.snapshot import store
from simulator.sipp import scenarios

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
_ANY_END = scenarios.callers_of_all_kinds(50, 60).replace("[field0]", "[service]").replace("[field1]", CALLER)
_CALLS = 8


def test_a_refusal_without_waiting_for_its_answer_is_heard(real_line: Line) -> None:
    """The very bytes of the router's overload; each call hears 503, and its record says why and whose it was."""
    directory = real_line.directory / "snapshot"
    snapshot = store.load(directory, store.newest(directory, time.time_ns() // 1_000_000))
    peer = next(peer for peer in snapshot.originators if peer.host.startswith(f"{RICH}/") and not peer.tech_prefix)
    refusal = overload_answer(snapshot, Request("", "", "", ""), peer)

    def leave(_header: dict[str, str], session: Any) -> None:
        session.wfile.write(refusal)
        session.connection.close()

    real_line.kill_router()
    router = ScriptedRouter(real_line.router_port, leave)
    try:
        placed = [real_line.call(f"overload-{number}", f"44770090{number:04d}", _ANY_END) for number in range(_CALLS)]
        for one in placed:
            one.wait()
        calls = real_line.calls_of([one.address for one in placed])
    finally:
        router.close()
        real_line.start_router()
        real_line.await_router()
    seen = [Seen(one, calls[one.address]) for one in placed]
    assert [one.code for one in seen] == [503] * _CALLS
    assert {(one.call.ended.reason, one.call.ended.cause, one.call.ended.legs) for one in seen} == {("OVERLOAD", 42, 0)}
    assert {one.call.ended.facts.customer_peer_id for one in seen if one.call.ended.facts} == {peer.peer_id}
