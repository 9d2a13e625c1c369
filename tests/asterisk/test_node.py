"""The launcher: a stop closes every call, Asterisk and launcher end together, changes come live, ports are loopback."""

import os
import signal
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from journal_events import events_of
from real_calls import until
from real_line import CALLER, NODE, Line
from sip_call import Placed

from configuration.asterisk.node import NodeError, require_free
from schemas.events import LegAnswered, LegStarted
from schemas.ids import epoch_of
from simulator.sipp import scenarios

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
NEW_HOST = "127.0.0.14"


@pytest.fixture
def line(own_line: Line) -> Line:
    """The line with its node at work, whatever the test before has done to it."""
    if own_line.node.poll() is not None:
        own_line.start_node()
    own_line.await_node()
    return own_line


def is_gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def answered_call(line: Line, name: str) -> Placed:
    placed = line.call(name, "999210000010", scenarios.caller_listens(CALLER))
    try:
        until(lambda: "SIP/2.0 200 OK" in placed.received, "the call is answered")
    except AssertionError as error:
        error.add_note(f"{placed.received}\n{line.console('pjsip show contacts')}\n{line.said('node')[-3000:]}")
        raise
    return placed


def test_a_stop_closes_every_call_and_the_next_start_has_a_new_epoch(line: Line) -> None:
    placed = answered_call(line, "stopped")
    asterisk_pid = line.asterisk_pid
    time.sleep(0.5)
    line.node.terminate()
    assert line.node.wait(25) == 0
    assert is_gone(asterisk_pid)
    placed.wait()
    assert placed.received[-1].startswith("BYE ")
    call = line.calls_of([placed.address])[placed.address]
    assert (call.ended.dial_status, call.ended.legs, call.ended.release_side) == ("ANSWER", 1, "us")
    assert 400 <= call.ended.duration_ms == call.legs[0].duration_ms < 5_000
    epoch = epoch_of(call.ended.call_id)
    line.start_node()
    line.await_node()
    assert int((line.directory / "node" / "epoch").read_text()) > epoch
    again = answered_call(line, "again")
    line.console("channel request hangup all")
    again.wait()
    assert epoch_of(line.calls_of([again.address])[again.address].ended.call_id) > epoch


def test_asterisk_ends_with_its_launcher(line: Line) -> None:
    asterisk_pid = line.asterisk_pid
    line.node.kill()
    line.node.wait()
    until(lambda: is_gone(asterisk_pid), "Asterisk has ended")


def test_the_launcher_ends_with_its_asterisk_and_the_journal_is_there(line: Line) -> None:
    placed = answered_call(line, "killed")
    os.kill(line.asterisk_pid, signal.SIGKILL)
    assert line.node.wait(10) != 0
    assert "Asterisk ended" in line.said("node")
    last = events_of(line.journal.read_bytes().splitlines())[-2:]
    assert [type(event) for event in last] == [LegStarted, LegAnswered]
    placed.process.terminate()
    placed.process.wait()


def test_a_change_of_the_world_is_live_and_calls_go_on(line: Line) -> None:
    going_on = answered_call(line, "going-on")
    stranger = line.call("unknown", "999210000010", scenarios.caller_refused(CALLER, 403), NEW_HOST)
    assert stranger.wait().code == 0, stranger.received
    with psycopg.connect(line.dsn, autocommit=True) as connection:
        connection.execute("UPDATE peers SET host = %s WHERE name = 'sipp-customer-4'", (NEW_HOST,))
    until(lambda: NEW_HOST in line.console("pjsip show identifies"), "PJSIP knows the new address")
    welcome = line.call("known", "999210000010", scenarios.caller_listens(CALLER), NEW_HOST)  # cut after a second
    assert welcome.wait().code == 0, welcome.received
    calls = line.calls_of([stranger.address, welcome.address])
    assert calls[stranger.address].ended.endpoint == "anonymous"
    assert calls[welcome.address].ended.endpoint == "c-sipp-customer-4"
    assert going_on.process.poll() is None
    line.console("channel request hangup all")
    assert going_on.wait().code == 0


def test_it_listens_on_loopback_alone_and_keeps_its_secret(line: Line) -> None:
    sockets = psutil.Process(line.asterisk_pid).net_connections("inet")
    listening = [one.laddr for one in sockets if one.status == psutil.CONN_LISTEN]
    assert [tuple(address) for address in listening] == [("127.0.0.1", line.ami_port)]
    # PJPROJECT's own resolver has two sockets at ports that the kernel chooses; it asks nobody.
    chosen = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    datagrams = [one.laddr for one in sockets if one.type == socket.SOCK_DGRAM]
    assert [tuple(address) for address in datagrams if address.port < chosen] == [("127.0.0.1", line.sip_port)]
    etc = line.directory / "node" / "etc"
    assert stat.S_IMODE((etc / "manager.conf").stat().st_mode) == 0o600
    assert "right-secret" not in " ".join(psutil.Process(line.asterisk_pid).cmdline())
    assert line.console("core show settings").count(f"System name:                 {NODE}") == 1


def test_a_port_that_somebody_has_is_an_error_that_names_it(line: Line) -> None:
    other = line.start_node(directory=str(line.directory / "other"), ami_port=line.ami_port + 1)
    assert other.wait(15) != 0
    assert f"port {line.sip_port} of 127.0.0.1 for SIP is not free" in line.said("other-node")
    with pytest.raises(NodeError, match=f"port {line.ami_port} of 127.0.0.1 for AMI is not free"):
        require_free("127.0.0.1", line.ami_port, socket.SOCK_STREAM, "AMI")
