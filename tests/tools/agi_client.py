"""A FastAGI client as a test sees it: asks the router for one call, answers each command, keeps the variables."""

import asyncio
import re
from urllib.parse import quote

from schemas.agi_digest import NodeKey, node_key_text, read_node_key, script_with_digest

SECRET = "the secret of the tests' routers"
_PAIR = re.compile(r"((?:[^,\\]|\\.)*)(?:,|$)")


def key_of(node: str, secret: str = SECRET) -> NodeKey:
    """The key of a node."""
    return read_node_key(node_key_text(secret, node))


def header(
    call_id: str, endpoint: str, address: str, callee: str, caller: str, started_at: str = "1795609900.000", *more: str,
    secret: str = SECRET,
) -> bytes:  # fmt: skip
    """The header of a session, as Asterisk would send it; `more`: the optional arguments; `secret`: the router's."""
    arguments = [call_id, endpoint, address, callee, caller, started_at, *more]
    script = script_with_digest(key_of(call_id.partition("-")[0], secret), "route", call_id, started_at)
    lines = ["agi_network: yes", f"agi_network_script: {script}", "agi_request: agi://127.0.0.1/route"]
    lines += ["agi_enhanced: 0.0"]
    lines += [f"agi_arg_{number}: {quote(value, safe='')}" for number, value in enumerate(arguments, start=1)]
    return ("\n".join(lines) + "\n\n").encode()


def unquote_mset(command: str) -> dict[str, str]:
    """The variables of an EXEC MSet line, through AGI's quoting and then MSet's own."""
    prefix = 'EXEC MSet "'
    assert command.startswith(prefix), command
    assert command.endswith('"'), command
    text = re.sub(r"\\(.)", r"\1", command[len(prefix) : -1])
    found = {}
    for match in _PAIR.finditer(text):
        if match[1]:
            name, _, value = re.sub(r"\\(.)", r"\1", match[1]).partition("=")
            found[name] = value
    return found


async def ask(port: int, sent: bytes) -> dict[str, str] | None:
    """The variables that the router sets in a session begun by `sent`; None where it closed without setting any."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found: dict[str, str] = {}
    try:
        writer.write(sent)
        while line := await asyncio.wait_for(reader.readline(), 10):
            command = line.decode().rstrip("\n")
            if command.startswith("EXEC MSet"):
                found |= unquote_mset(command)
            writer.write(b"200 result=0\n")
    except ConnectionResetError:  # what the router was told behind its last command met a closed connection
        if not found:
            raise
    finally:
        writer.close()
    return found or None
