"""The keys of the journal's lines, in their order, by version and kind.

Version 1 read a monotonic clock by a shell at the answer and at the end (m0, m1, m2), and the answer's wall time. Its
lines still lie in files and dead letters.
"""

from typing import Final

JOURNAL_VERSION: Final = "2"  # that the dialplan writes
KEYS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "1": {
        "LEG_START": ("call", "leg", "at", "begin", "facts", "cfacts"),
        "LEG_ANSWER": ("call", "leg", "at"),
        "LEG_RESULT": (
            "call", "leg", "begin", "start", "answer", "end", "m0", "m1", "m2", "ring", "prog", "ansms", "status",
            "cause", "sip", "src", "facts",
        ),
        "CALL_END": (
            "call", "start", "answer", "end", "m1", "m2", "pdd", "ansms", "status", "cause", "src", "legs", "reason",
            "caller", "callee", "endpoint", "addr", "facts", "last",
        ),
    },
    "2": {
        "LEG_START": ("call", "leg", "at", "begin", "facts", "cfacts"),
        "LEG_RESULT": (
            "call", "leg", "begin", "start", "end", "ring", "prog", "ansms", "status", "cause", "sip", "src", "sid",
            "facts",
        ),
        "CALL_END": (
            "call", "start", "end", "pdd", "ansms", "status", "cause", "src", "legs", "reason", "caller", "callee",
            "endpoint", "addr", "sid", "facts", "last",
        ),
    },
}  # fmt: skip
