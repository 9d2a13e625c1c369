"""Takes Asterisk's copies of its SIP messages: a thread with a socket of its own.

It only reads and hands on: what comes too fast is dropped by the kernel, and no call waits for it.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final

import structlog

from agent.settings import AgentSettings
from agent.wire.hep import Packet, read_packet
from agent.wire.sip_head import Head, read_head

log = structlog.get_logger(__name__)
MOST_A_SECOND: Final = 10_000  # messages that are looked at
MOST_FOREIGN_A_SECOND: Final = 50_000  # datagrams without the password, which anybody on the machine may send
_BUFFER_BYTES: Final = 4 << 20  # of the kernel's, as far as it allows: some thousand messages
_RETRY_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.2
_DATAGRAM_BYTES: Final = 65_535
_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_MOST_ADDRESSES: Final = 4_096


class Copies:
    """`run` gives each message to each of `takers`; without a port there is nothing to do."""

    def __init__(self, settings: AgentSettings, takers: Sequence[Callable[[Packet, Head], None]]) -> None:
        self._settings, self._takers = settings, takers
        self._password = settings.hep_secret.get_secret_value().encode()
        self.health = ""

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. A port that another program has is tried again, and said."""
        while not stop.is_set():
            if not self._settings.hep_port:
                stop.wait()
                return
            try:
                with socket.socket(type=socket.SOCK_DGRAM) as own:
                    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
                    own.bind((self._settings.hep_host, self._settings.hep_port))
                    own.settimeout(_POLL_SECONDS)
                    self.health = ""
                    self._listen(own, stop)
            except OSError as error:
                if not self.health:
                    log.warning("no copies of SIP messages: legs are billed by their channels", error=repr(error)[:300])
                self.health = f"no copies of SIP messages ({error.strerror})"
                stop.wait(_RETRY_SECONDS)

    def _listen(self, own: socket.socket, stop: threading.Event) -> None:
        second, taken, foreign = time.monotonic(), 0, 0
        while not stop.is_set():
            now = time.monotonic()
            if now - second >= 1:
                second, taken, foreign = now, 0, 0
            if taken >= MOST_A_SECOND or foreign >= MOST_FOREIGN_A_SECOND:
                stop.wait(_POLL_SECONDS)
                continue
            with suppress(TimeoutError):
                is_ours = self._take(own.recv(_DATAGRAM_BYTES))
                taken, foreign = taken + is_ours, foreign + (not is_ours)

    def _take(self, datagram: bytes) -> bool:
        packet = read_packet(datagram, self._password)
        if packet is None:
            return False
        head = read_head(packet.payload)
        if head is not None:
            for take in self._takers:
                take(packet, head)
        return True


def direction(settings: AgentSettings) -> Callable[[Packet], bool | None]:
    """Whether a message went (True) or came (False), by its ports; where the other side's is the same, by addresses: of
    a node that listens on all of them, each address of this machine is one of its own. None: it cannot be told.
    """
    hosts, port = frozenset(settings.sip_hosts), settings.sip_port

    @lru_cache(_MOST_ADDRESSES)
    def is_of_machine(address: str) -> bool:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as own:
            try:
                own.bind((address, 0))
            except OSError:
                return False
        return True

    def is_ours(address: str) -> bool:
        return address in hosts or (not hosts.isdisjoint(_ANY) and is_of_machine(address))

    def went(packet: Packet) -> bool | None:
        from_port, to_port = packet.source_port == port, packet.target_port == port
        if from_port and to_port:
            from_port, to_port = is_ours(packet.source), is_ours(packet.target)
        return from_port if from_port != to_port else None

    return went
