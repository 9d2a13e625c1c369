"""Asterisk's manager, spoken by hand: one session, actions in, raw messages out."""

import socket
from types import TracebackType
from typing import Self


class Ami:
    """A session of the agent's user. Use as a context manager."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._buffer = b""
        answer = self.ask(Action="Login", Username="agent", Secret="right-secret", Events="off")[0]
        assert answer["Response"] == "Success", answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    def ask(self, **action: str) -> list[dict[str, str]]:
        """The answer to an action: one message, or a list with all of its events."""
        text = "".join(f"{name}: {value}\r\n" for name, value in action.items()) + "ActionID: it\r\n\r\n"
        self._socket.sendall(text.encode())
        found = [self._message()]
        while found[0].get("EventList") == "start" and found[-1].get("EventList") != "Complete":
            found.append(self._message())
        return found

    def channels(self, number: str) -> list[str]:
        """The customers' channels on which this number was dialled."""
        answer = self.ask(Action="Status", Variables="CALLEE")
        return [one["Channel"] for one in answer if one.get("CALLEE") == number]

    def _message(self) -> dict[str, str]:
        """The next message that answers; variables become headers of their own."""
        while True:
            while b"\r\n\r\n" not in self._buffer:
                got = self._socket.recv(65_536)
                assert got, "the manager has closed"
                self._buffer += got
            text, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
            found = {}
            for line in text.decode().splitlines():
                name, _, value = line.partition(": ")
                if name == "Variable":
                    name, _, value = value.partition("=")
                    value = "" if value == "(null)" else value
                found[name] = value
            if found.get("ActionID") == "it":
                return found
