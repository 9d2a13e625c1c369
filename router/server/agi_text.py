"""The texts of an AGI session: the header that comes, the commands that go. Pure."""

from collections.abc import Sequence

from schemas.agi import MAX_COMMAND_CHARACTERS, MAX_PAIRS


class AgiError(ConnectionError):
    """The session cannot go on: closed by Asterisk, or what it sent is not AGI."""


def parse_headers(raw: bytes) -> dict[str, str]:
    """The headers of a session. Raises AgiError for what is not AGI: no colon, a name twice, no text."""
    try:
        lines = raw.decode("utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise AgiError("headers are not UTF-8") from error
    try:
        # Each line has its blank, as Asterisk writes it: one pass. What is not so is looked at line by line.
        headers: dict[str, str] = dict([line.split(": ", 1) for line in lines])
    except ValueError:
        return _parse_line_by_line(lines)
    if len(headers) != len(lines) or not raw.startswith(b"agi_") or raw.count(b"\nagi_") != len(lines) - 1:
        return _parse_line_by_line(lines)
    return headers


def _parse_line_by_line(lines: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if not colon:
            name, colon, value = line.partition(":")  # an empty value may come without the blank
        if not colon or not name.startswith("agi_"):
            raise AgiError(f"header line {line[:40]!r}")
        if name in headers:
            raise AgiError(f"header {name[:40]!r} twice")
        headers[name] = value
    return headers


def mset_commands(variables: Sequence[tuple[str, str]]) -> list[str]:
    """EXEC MSet lines for these variables. Values may hold anything but line ends, which raise AgiError.

    Two levels of quoting: MSet's own (a backslash before `,`, `"` and itself) inside AGI's quoted argument.
    """
    pairs = [f"{name}={value}" for name, value in variables]
    together = "\t".join(pairs)
    if "\n" in together or "\r" in together or "\0" in together:
        name = next(name for name, value in variables if any(end in value for end in "\n\r\0"))
        raise AgiError(f"variable {name}: a line end in its value")
    # What the router itself sets has nothing to quote: one look at all of it, not three at each.
    if "," in together or '"' in together or "\\" in together:
        pairs = [f"{name}={_escape(value)}" for name, value in variables]
        together = "\t".join(pairs)
    if len(together) < MAX_COMMAND_CHARACTERS and 0 < len(pairs) <= MAX_PAIRS:  # as a rule
        return [_mset(pairs)]
    commands: list[str] = []
    first = size = 0
    for place, pair in enumerate(pairs):
        if place > first and (size + len(pair) > MAX_COMMAND_CHARACTERS or place - first >= MAX_PAIRS):
            commands.append(_mset(pairs[first:place]))
            first, size = place, 0
        size += len(pair) + 1
    if pairs:
        commands.append(_mset(pairs[first:]))
    return commands


def _escape(value: str) -> str:
    value = value.replace("\\", "\\\\\\\\").replace('"', '\\\\\\"')
    return value.replace(",", "\\\\,")


def _mset(pairs: Sequence[str]) -> str:
    return 'EXEC MSet "' + ",".join(pairs) + '"'
