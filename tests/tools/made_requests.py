"""Plain HTTP requests to the embedded ClickHouse: what no client of good manners would send."""

import base64
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message

from streamco.embedded.settings import ClickHouseServer

_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """`code` is ClickHouse's own number of the error; 0 when there is none."""

    status: int
    code: int
    text: str
    headers: Message


def basic(user: str, password: str) -> dict[str, str]:
    """The header of basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def ask(
    settings: ClickHouseServer,
    path: str = "/",
    data: bytes | None = None,
    headers: dict[str, str] | None = None,
    *,
    known: bool = True,
) -> Answer:
    """One request and its answer, a POST when there is data. Not `known`: without user and password."""
    who = basic(settings.user, settings.password.get_secret_value()) if known else {}
    url = f"http://127.0.0.1:{settings.port}{path}"
    request = urllib.request.Request(url, data=data, headers=who | (headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            return Answer(answer.status, 0, answer.read().decode(errors="replace"), answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            code = int(error.headers.get("X-ClickHouse-Exception-Code", "0"))
            return Answer(error.code, code, error.read().decode(errors="replace"), error.headers)


def ask_and_leave(settings: ClickHouseServer, sql: bytes, after_seconds: float) -> None:
    """Send a statement, read nothing, and close the connection."""
    who = basic(settings.user, settings.password.get_secret_value())["Authorization"]
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {who}\r\nContent-Length: {len(sql)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", settings.port), timeout=_SECONDS) as connection:
        connection.sendall(head.encode() + sql)
        time.sleep(after_seconds)
