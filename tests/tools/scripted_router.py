"""A router that says what it is told, in a thread, for what the real one never says: other causes, broken answers."""

import socketserver
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from schemas.facts import Facts, encode_facts

Answer = Callable[[dict[str, str], Any], None]  # the session's header, and where to write to


class ScriptedRouter:
    """Serves on a port of 127.0.0.1 until `close`. `answer` gets every session's header and its stream."""

    def __init__(self, port: int, answer: Answer) -> None:
        """Begins to listen at once."""

        class Session(socketserver.StreamRequestHandler):
            timeout = 10

            def handle(self) -> None:
                header: dict[str, str] = {}
                while line := self.rfile.readline().decode("utf-8", "replace").rstrip("\n"):
                    name, _, value = line.partition(": ")
                    header[name] = unquote(value)
                answer(header, self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", port), Session)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        """No session is begun any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def mset(session: Any, *pairs: str) -> None:
    """Set variables as the router does, and read Asterisk's answer."""
    session.wfile.write(('EXEC MSet "' + ",".join(pairs) + '"\n').encode())
    assert session.rfile.readline().startswith(b"200 ")


def facts(side: Any) -> str:
    """FACTS of a leg that costs nothing."""
    return encode_facts(
        Facts(
            side=side, generation=1, customer_company_id=1, customer_peer_id=1, vendor_company_id=0, vendor_peer_id=0,
            account_id=1, currency="USD", code="1", price_id=1, destination_id=1, price_e8=0, connect_fee_micros=0,
            minimum_seconds=0, increment_seconds=1, free_seconds=0, rounding_decimals=6, duration_rounding="up",
            caller="", callee="123",
        )
    )  # fmt: skip
