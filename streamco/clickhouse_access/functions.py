"""The engine's functions: those that were reviewed and work on values alone, and those that reach out. Pure data.

`functions.txt` holds the reviewed ones, REACHING the others, with why. A function that stands nowhere is refused: an
engine's new version brings new ones, and a test names them.
"""

from functools import cache
from importlib.resources import files
from typing import Final

# Combinators of aggregate functions: sumIf is sum. They can follow each other.
COMBINATORS: Final = (
    "if", "array", "map", "state", "merge", "foreach", "distinct", "ordefault", "ornull", "resample", "simplestate",
    "argmin", "argmax", "null", "mergestate", "tuple",
)  # fmt: skip


# Functions of the engine that are not everybody's, by why. Names end in * where all that begin so are meant.
REACHING: Final = {
    "reads files": (
        "file", "formatRow*", "groupFormat", "naiveBayesClassifier*", "region*", "filesystem*", "showCertificate",
    ),
    "connects": ("ai*", "hasColumnInTable", "generateSerialID", "zookeeper*"),
    "reads what has a source or rights of its own": ("dict*", "joinGet*"),
    "shows the server, not the data": (
        "FQDN", "fullHostName", "hostName", "serverUUID", "tcpPort", "buildId", "getMacro", "getOSKernelVersion",
        "getServerPort", "getServerSetting", "hasThreadFuzzer", "tid", "addressTo*", "demangle", "flameGraph",
        "transaction*", "currentRequestURL", "currentHandler", "getClientHTTPHeader",
    ),
    "writes the log, or is made to fail or to wait": ("logTrace", "fuzzQuery", "aggThrow", "sleep", "sleepEachRow"),
    "is the engine's own": ("__*",),
}  # fmt: skip


_REACHING_NAMES: Final = frozenset(one.lower() for names in REACHING.values() for one in names if one[-1] != "*")
_REACHING_HEADS: Final = tuple(one[:-1].lower() for names in REACHING.values() for one in names if one[-1] == "*")


def is_reaching(name: str) -> bool:
    """Is this a function that is not everybody's?"""
    name = name.lower()
    return name in _REACHING_NAMES or name.startswith(_REACHING_HEADS)


@cache
def reviewed() -> frozenset[str]:
    """Names in lower case: functions' names are compared without case, since the engine does so for many."""
    text = (files("streamco.clickhouse_access") / "functions.txt").read_text(encoding="utf-8")
    return frozenset(word.lower() for line in text.splitlines() if not line.startswith("#") for word in line.split())


def is_reviewed(name: str) -> bool:
    """May everybody call this function? An aggregate one with any combinators."""
    return _without_combinators(name.lower(), reviewed())


def _without_combinators(name: str, known: frozenset[str]) -> bool:
    if name in known:
        return True
    return any(
        name.endswith(suffix) and _without_combinators(name[: -len(suffix)], known)
        for suffix in COMBINATORS
        if len(name) > len(suffix)
    )
