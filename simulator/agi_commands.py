"""What Asterisk makes of a router's AGI command lines: pure, and as literal as Asterisk, quirks of quoting included.

Two layers of quoting lie on top of each other. The AGI line is cut into words at blanks, with double quotes and
backslashes; then MSet cuts its one argument at commas, with double quotes, backslashes, parentheses and brackets, and
takes the quotes and backslashes away again. Only a value that survives both arrives whole.
"""

from typing import Final, NamedTuple

MAX_WORDS: Final = 127  # Asterisk drops what is above
MAX_MSET_PAIRS: Final = 100  # the last one swallows the rest
OK: Final = "200 result=0"
NO_SUCH_APPLICATION: Final = "200 result=-2"
NO_SUCH_COMMAND: Final = "510 Invalid or unknown command"
_SET_VARIABLE_WORDS: Final = 4


class Reply(NamedTuple):
    """The answer line to one command, and the channel variables that it set, in order."""

    line: str
    variables: tuple[tuple[str, str], ...] = ()


def answer_command(line: str) -> Reply:
    """What Asterisk answers to one command line (without its end), and what it sets on the channel."""
    words = split_words(line)
    upper = [word.upper() for word in words[:2]]
    if upper[:1] == ["EXEC"] and len(words) > 1:
        if upper[1] == "MSET":
            # EXEC takes the third word as the application's whole argument; an unquoted blank cuts it there.
            return Reply(OK, tuple(split_pairs(words[2] if len(words) > 2 else "")))
        return Reply(OK if upper[1] in ("NOOP", "SET", "VERBOSE") else NO_SUCH_APPLICATION, _exec_set(upper[1], words))
    if upper == ["SET", "VARIABLE"]:
        if len(words) != _SET_VARIABLE_WORDS:
            return Reply("520-Invalid command syntax.  Proper usage follows:\n520 End of proper usage.")
        return Reply("200 result=1", ((words[2], words[3]),))
    if upper[:1] == ["NOOP"]:
        return Reply(OK)
    if upper[:1] == ["VERBOSE"]:
        return Reply("200 result=1")
    return Reply(NO_SUCH_COMMAND)


def split_words(line: str) -> list[str]:
    """The words of an AGI command line: blanks separate, quotes join, a backslash takes the next character as it is."""
    words: list[str] = []
    quoted = escaped = False
    separated = True
    for character in line:
        if character == '"' and not escaped:
            quoted = not quoted
            if quoted and separated:
                words.append("")
                separated = False
        elif character in " \t" and not quoted and not escaped:
            separated = True
        elif character == "\\" and not escaped:
            escaped = True
            continue
        else:
            if separated:
                if len(words) >= MAX_WORDS:
                    break
                words.append("")
                separated = False
            words[-1] += character
        escaped = False
    return words


def split_pairs(argument: str) -> list[tuple[str, str]]:
    """The variables that MSet sets for its argument `A=1,B=2`; a part without `=` sets nothing."""
    pairs = []
    for part in _split_arguments(argument, ",", MAX_MSET_PAIRS):
        # Only the name is read for quotes here: the value is what follows the first separator, untouched.
        name_and_value = _split_arguments(part, "=", 2)
        if len(name_and_value) == 2:
            pairs.append((name_and_value[0], name_and_value[1]))
    return pairs


def _exec_set(application: str, words: list[str]) -> tuple[tuple[str, str], ...]:
    if application != "SET" or len(words) < 3:
        return ()
    name, equals, value = words[2].partition("=")
    return ((name, value),) if equals else ()


def _split_arguments(text: str, separator: str, limit: int) -> list[str]:
    """Asterisk's cutting of an application's argument: the last of `limit` parts is the untouched rest."""
    parts: list[str] = []
    index = 0
    parentheses = brackets = 0
    quoted = ended_by_separator = False
    while index < len(text) and len(parts) < limit - 1:
        part: list[str] = []
        ended_by_separator = False
        while index < len(text):
            character = text[index]
            index += 1
            if character == '"':
                quoted = not quoted
                continue
            if character == "\\":
                part.append(text[index : index + 1])
                index += 1
                continue
            if character == separator and not (parentheses or brackets or quoted):
                ended_by_separator = True
                break
            parentheses = _depth(parentheses, character, "()")
            brackets = _depth(brackets, character, "[]")
            part.append(character)
        parts.append("".join(part))
    if index < len(text):
        parts.append(text[index:])
    elif ended_by_separator:
        parts.append("")
    return parts


def _depth(depth: int, character: str, pair: str) -> int:
    if character == pair[0]:
        return depth + 1
    return max(0, depth - 1) if character == pair[1] else depth
