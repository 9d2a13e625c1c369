"""A question to the routing core as people ask it: this peer, these numbers, at this moment. Pure."""

import ipaddress
import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from router.core import Request
from router.core.portability import Dip
from router.snapshot.config import Peer
from router.snapshot.store import Snapshot
from schemas.ids import NODE_PATTERN
from tariffs.codecs import CODECS, Codecs, read_codecs

MOST_CHARACTERS: Final = 256
_ROUTING_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
MOST_SEED: Final = 2**32 - 1
_FIRST_YEAR, _LAST_YEAR = 1970, 2099


class QuestionError(ValueError):
    """A question that cannot be asked: says the field, its value and the rule."""

    def __init__(self, field: str, value: str, rule: str) -> None:
        self.field, self.value, self.rule = field, value[:80], rule
        super().__init__(f"{field} {self.value!r}: {rule}")


class Question(NamedTuple):
    """`peer` is an originator's name, numbers are as it dials them; `at_ms` None is now, `node` '' is any.

    A callee without the peer's tech prefix is asked with it: it is what the peer sends. `caller_name` is From's,
    `asserted` and `privacy` are the headers P-Asserted-Identity and Privacy, `seed` decides what is left to chance.
    `codecs`: what its INVITE offers, with commas; without any, no vendor is left out for its codecs.
    `look_up`: the originator's look-up is really asked where a call would ask it; `routing_number` stands for it.
    """

    peer: str
    callee: str
    caller: str = ""
    at_ms: int | None = None
    node: str = ""
    routing_number: str = ""
    caller_name: str = ""
    asserted: str = ""
    privacy: str = ""
    seed: int = 0
    look_up: bool = False
    codecs: str = ""


def read_moment(text: str) -> int | None:
    """Unix milliseconds of an ISO date or time, UTC without an offset; None for nothing. Raises QuestionError."""
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise QuestionError(
            "at", text, "must be a date or a time such as 2026-12-01 or 2026-12-01T08:30+01:00"
        ) from error
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise QuestionError("at", text, f"must be in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, round(moment.timestamp() * 1000))


def read_seed(text: str) -> int:
    """The seed that a text names; 0 for nothing. Raises QuestionError."""
    text = text.strip()
    if text and not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MOST_SEED):
        raise QuestionError("seed", text, f"must be a whole number from 0 to {MOST_SEED}")
    return int(text or 0)


def asked_peer(snapshot: Snapshot, question: Question) -> Peer:
    """The originator that is asked about. Raises QuestionError for what the question may not be."""
    for field in ("callee", "caller", "caller_name", "asserted", "privacy"):
        text = getattr(question, field)
        if len(text) > MOST_CHARACTERS:
            raise QuestionError(field, text, f"must have at most {MOST_CHARACTERS} characters")
    read_seed(str(question.seed))
    if any(codec not in CODECS for codec in question.codecs.split(",") if question.codecs):
        raise QuestionError("codecs", question.codecs, f"must be some of {', '.join(CODECS)}, with commas between them")
    if question.routing_number and question.look_up:
        raise QuestionError("look_up", "true", "must not be asked where a routing number is given in its place")
    if question.routing_number and _ROUTING_NUMBER.fullmatch(question.routing_number) is None:
        raise QuestionError("routing_number", question.routing_number, "must be 1 to 15 digits")
    if not question.callee:
        raise QuestionError("callee", "", "must be the number that is dialled")
    if question.node and NODE_PATTERN.fullmatch(question.node) is None:
        raise QuestionError(
            "node", question.node, "must be a node's name: a small letter, then small letters and digits"
        )
    peer = next((peer for peer in snapshot.config.peers if peer.name == question.peer), None)
    if peer is None:
        raise QuestionError("from", question.peer, "there is no peer of that name in this configuration")
    if not peer.originator:
        raise QuestionError("from", question.peer, "is a terminator: calls come from originators")
    if question.codecs and not _answerable(peer, question):
        rule = f"must hold one of the originator's own ({peer.codecs}): Asterisk answers any other INVITE with 488"
        raise QuestionError("codecs", question.codecs, rule)
    return peer


def request_of(peer: Peer, question: Question) -> Request:
    """What the dialplan would ask for this call: from the peer's address, with its tech prefix."""
    network = ipaddress.ip_network(peer.host, strict=False)
    callee = question.callee if question.callee.startswith(peer.tech_prefix) else peer.tech_prefix + question.callee
    found = question.routing_number
    dip = Dip("given", question.callee, "found", found) if found else None
    return Request(
        peer.endpoint,
        str(network.network_address),
        callee,
        question.caller,
        question.seed,
        question.caller_name,
        question.asserted,
        question.privacy,
        dip=dip,
        codecs=",".join(_answerable(peer, question)),
    )


def _answerable(peer: Peer, question: Question) -> Codecs:
    """What Asterisk could answer: the originator's own codecs, in its order, that it offers."""
    offered = read_codecs(question.codecs)
    return tuple(codec for codec in read_codecs(peer.codecs) if codec in offered)
