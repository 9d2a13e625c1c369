"""A node's sessions are its own: a call passes, nobody else is told anything, and the key is seen nowhere.

Real calls through the real Asterisk, while somebody who may read and do everything on the manager interface writes
down every event, the console is as talkative as it gets, and each of its lists is shown.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import psycopg
import pytest
from agi_client import SECRET, ask, header, key_of
from ami import Ami
from real_calls import until
from real_line import CALLER, NODE, RICH, Line
from sip_call import Call, Placed

from schemas.agi_digest import KEY_FILE, node_key_text, session_digest
from simulator.sipp import scenarios

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
NUMBER: Final = "999210000010"  # of a vendor who answers
UNANSWERED: Final = "999270000030"
WATCHER: Final = "\n[watcher]\nsecret=watchers-secret\nread=all\nwrite=all\n"
KEY: Final = node_key_text(SECRET, NODE)
LISTS: Final = (
    "core show channels verbose", "core show globals", "dialplan show", "dialplan show globals", "core show settings",
    "manager show settings", "manager show users", "module show", "logger show channels", "core show hints",
)  # fmt: skip


@dataclass
class Seen:
    """What was to be seen while calls were made: `events`, `log`, `lists`; the calls themselves."""

    answered: Call
    given_up: Call
    events: str
    log: str
    lists: dict[str, str] = field(default_factory=dict)

    @property
    def all(self) -> dict[str, str]:
        return {"events": self.events, "log": self.log, **self.lists}


class Watcher:
    """A manager session that keeps every byte."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.sendall(b"Action: Login\r\nUsername: watcher\r\nSecret: watchers-secret\r\nEvents: on\r\n\r\n")
        self._socket.settimeout(None)
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        with suppress(OSError):
            while got := self._socket.recv(65_536):
                self._kept += got

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()


@pytest.fixture(scope="module")
def seen(real_line: Line) -> Iterator[Seen]:
    """Two calls, and what everybody could see of them."""
    manager = real_line.directory / "node" / "etc" / "manager.conf"
    shipped = manager.read_text()
    log = real_line.directory / "node" / "run" / "log" / "everything"
    manager.write_text(shipped + WATCHER)
    real_line.console("manager reload")
    levels = "verbose(9),notice,warning,error,dtmf,security"
    for command in (f"logger add channel everything {levels}", "core set verbose 9"):
        real_line.console(command)
    real_line.console("agi set debug on")
    watcher = Watcher(real_line.ami_port)
    try:
        until(lambda: "Message: Authentication accepted" in watcher.text, "the watcher is let in")
        yield _calls(real_line, watcher, lambda: log.read_text(errors="replace"))
    finally:
        watcher.close()
        real_line.console("agi set debug off")
        real_line.console("core set verbose 0")
        real_line.console("logger remove channel everything")
        manager.write_text(shipped)
        real_line.console("manager reload")


def _calls(line: Line, watcher: Watcher, log: object) -> Seen:
    answered = line.call("watched", NUMBER, scenarios.caller_talks(CALLER, 1_500))
    until(lambda: "SIP/2.0 200 OK" in answered.received, "the call is answered")
    lists = {command: line.console(command) for command in LISTS}
    for channel in (one.split("!")[0] for one in line.console("core show channels concise").split()):
        lists[channel] = line.console(f"core show channel {channel}")
    given_up = line.call("given-up", UNANSWERED, scenarios.caller_gives_up(CALLER, 500))
    placed: list[Placed] = [answered, given_up]
    for one in placed:
        one.wait()
    calls = line.calls_of([one.address for one in placed])
    assert callable(log)
    until(lambda: calls[answered.address].ended.call_id in str(log()), "the log has the call")
    return Seen(calls[answered.address], calls[given_up.address], watcher.text, str(log()), lists)


def _digest_of(call: Call) -> str:
    started_ms = call.ended.started_at_ms
    at = f"{started_ms // 1000}.{started_ms % 1000:03d}"
    return session_digest(key_of(NODE), "route", call.ended.call_id, at)


def test_a_call_passes_and_its_digest_is_what_the_schemas_say(seen: Seen) -> None:
    assert (seen.answered.ended.dial_status, seen.answered.ended.reason) == ("ANSWER", "")
    for call in (seen.answered, seen.given_up):
        assert f"agi_network_script: route?{_digest_of(call)}" in seen.log
    assert [text for text in seen.lists.values() if f"DIGEST={_digest_of(seen.answered)}\n" in text], (
        "variables are shown"
    )


def test_the_key_is_in_no_event_line_or_list(seen: Seen) -> None:
    # Steps and variables make no events (manager.conf, stasis.conf), but the log has what an application was given.
    assert "Event: Newstate" in seen.events
    assert not [kind for kind in ("Newexten", "VarSet") if f"Event: {kind}\r\n" in seen.events]
    assert f'"DIGEST={_digest_of(seen.answered)}") in new stack' in seen.log
    assert "SHA1(${FILE(${AGI_KEY}" in seen.lists["dialplan show"]
    assert [text for text in seen.lists.values() if KEY_FILE in text], "the lists show the globals"
    assert len(seen.lists) > len(LISTS)
    assert [name for name, text in seen.all.items() if KEY[:64] in text or KEY[64:] in text or SECRET in text] == []


def test_the_manager_interface_gives_no_file_away(real_line: Line) -> None:
    path = real_line.directory / "node" / "etc" / KEY_FILE
    assert path.read_text() == KEY
    assert path.stat().st_mode & 0o777 == 0o600
    said = []
    with Ami(real_line.ami_port) as ami:
        for variable in (f"FILE({path},0,128)", f"EVAL(${{FILE({path},0,128)}})", "EVAL(${FILE(${AGI_KEY},0,128)})"):
            said += ami.ask(Action="Getvar", Variable=variable)
        said += ami.ask(Action="Command", Command=f"dialplan eval function FILE({path},0,128)")
        said += ami.ask(Action="GetConfig", Filename=KEY_FILE)
        for data in (f"x=${{FILE({path},0,128)}}", f"GLOBAL(x)=${{FILE({path},0,128)}}"):
            said += ami.ask(Action="Originate", Channel="Local/s@forwarded", Application="Set", Data=data)
        said += ami.ask(Action="Getvar", Variable="x")
    assert len(said) >= 8
    assert not [one for one in said if KEY[:64] in str(one) or KEY[64:] in str(one)]


def test_an_invented_a_repeated_and_a_foreign_session_get_nothing(seen: Seen, real_line: Line) -> None:
    ended = seen.answered.ended
    at = f"{ended.started_at_ms // 1000}.{ended.started_at_ms % 1000:03d}"
    arguments = ("c-sipp-customer-1", f"{RICH}:5060", NUMBER, CALLER)
    fresh = f"{NODE}-1795600000-1795609900.77"
    good = header(fresh, *arguments, at)
    signed = session_digest(key_of(NODE), "route", fresh, at).encode()
    sessions = {
        "repeated": header(ended.call_id, *arguments, at),
        "repeated, to another number": header(ended.call_id, *arguments[:2], "999210000030", CALLER, at),
        "without a digest": good.replace(b"?" + signed, b""),
        "an empty digest": good.replace(signed, b""),
        "an invented digest": good.replace(signed, b"0123456789" * 4),
        "of another call": good.replace(fresh.encode(), fresh.encode() + b"1"),
        "of another script": good.replace(b"route?", b"who?"),
        "with another node's key": good.replace(signed, session_digest(key_of("ast2"), "route", fresh, at).encode()),
        "with another secret": header(fresh, *arguments, at, secret="guessed"),
    }
    with psycopg.connect(real_line.dsn, autocommit=True) as connection:

        def holds() -> list[tuple[object, ...]]:
            return connection.execute("SELECT call_id, amount FROM holds ORDER BY call_id").fetchall()

        before = holds()
        for name, sent in sessions.items():
            assert asyncio.run(ask(real_line.router_port, sent)) is None, name
        assert holds() == before
        answer = asyncio.run(ask(real_line.router_port, good))
        assert answer is not None
        assert answer["DECISION"] == "ALLOW"
        assert [row[0] for row in holds() if row not in before] == [fresh]
        assert asyncio.run(ask(real_line.router_port, good)) is None
        connection.execute("SELECT release_holds(ARRAY[%s])", (fresh,))
