"""A router that says what it is told, in a thread, for what the real one never says: other causes, broken answers."""

import socketserver
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

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
