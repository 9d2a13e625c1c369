"""Codecs: what two peers have in common, where Asterisk stands between them.

Asterisk translates some codecs into one another (TRANSLATED): two peers that have any of these can talk. It cannot
translate the others (END_TO_END): both peers must have the very codec, and both legs must agree on it. The caller is
answered before it is known what the vendor will choose, so a call is of one kind from the beginning: either all of its
legs have codecs that are translated, or all have the one that is not.

    caller g729, alaw   vendor alaw, g729   both have A-law: translated codecs only, so any choice of the vendor's works
    caller g729, alaw   vendor g729         g729 alone, on both sides
    caller g729         vendor alaw         nothing in common
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

TRANSLATED: Final = ("alaw", "ulaw", "g722", "gsm")
END_TO_END: Final = ("g729", "opus")
CODECS: Final = TRANSLATED + END_TO_END
Codecs = tuple[str, ...]  # by preference
_MAX_CACHED: Final = 4096  # sets of codecs by their order: those that peers are configured with, and callers offer


@lru_cache(_MAX_CACHED)
def read_codecs(text: str) -> Codecs:
    """The codecs of a text such as `g729,alaw`, in its order; those that nobody can be configured with are left out."""
    return tuple(dict.fromkeys(name for name in text.split(",") if name in CODECS))


@lru_cache(_MAX_CACHED)
def kind_of_call(caller: Codecs, vendor: Codecs) -> Codecs:
    """What is left of the caller's codecs in a call to this vendor: translated ones, or one end to end; or nothing."""
    if (translated := _translated(caller)) and _translated(vendor):
        return translated
    return next(((codec,) for codec in caller if codec in END_TO_END and codec in vendor), ())


@lru_cache(_MAX_CACHED)
def offer_to(vendor: Codecs, call: Codecs) -> Codecs:
    """What of its codecs a vendor is offered in a call of this kind (see kind_of_call), the caller's first."""
    if not _translated(call):
        return tuple(codec for codec in call if codec in vendor)
    own = _translated(vendor)
    return (*(codec for codec in call if codec in own), *(codec for codec in own if codec not in call))


def is_mixed(codecs: Codecs) -> bool:
    """Whether some of them are translated and others are not, or several are not: a call has to choose."""
    return len(codecs) > 1 and any(codec in END_TO_END for codec in codecs)


def _translated(codecs: Sequence[str]) -> Codecs:
    return tuple(codec for codec in codecs if codec in TRANSLATED)
