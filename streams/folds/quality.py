"""The quality of vendors and customers: what each closed leg adds to whose sums. The rules of every figure stand here.

They are those of the CDRs (schemas/clickhouse, judged_legs): a router, a page and an analyst must never disagree about
an ASR. Pure: the window (window.py) adds up, streams/quality.py publishes.
"""

from typing import Final, NamedTuple

from schemas.events import CallEnded, LegEnded
from schemas.facts import Facts
from schemas.ids import make_leg_id
from schemas.quality import Quality, Side
from streams.folds.window import Sums, Window

_ACCOUNT_CODES: Final = frozenset((401, 402, 403, 407))  # cause 21 too, but of our account, not of the called party
_PARTY_CODES: Final = frozenset((486, 600, 603))

# False answers. Nobody takes a call so soon after it rings, and hears out so little of it, again and again.
FAS_RINGING_MS: Final = 2_000
FAS_TALK_MS: Final = 20_000


class Key(NamedTuple):
    """Whose sums: a vendor's peer, one code of it as bought, or a customer's peer."""

    side: Side
    peer_id: int
    code: str = ""

    @property
    def text(self) -> str:
        """As Quality.key has it."""
        return f"{self.side}/{self.peer_id}/{self.code}"


class Figures(NamedTuple):
    """The sums, in the order of the window's. `suspects`: answered legs that look falsely answered."""

    attempts: int = 0
    answered: int = 0
    effective: int = 0
    effective_of: int = 0
    talk_ms: int = 0
    pdd_ms: int = 0
    pdd_legs: int = 0
    suspects: int = 0


WIDTH: Final = len(Figures._fields)


def count(window: Window[Key], event: LegEnded | CallEnded, now_ms: int) -> bool:
    """Count a closing into its sums; whether it was new there. Estimated ends are in none: the true one may come."""
    leg_id = make_leg_id(event.call_id, event.leg if isinstance(event, LegEnded) else 0)
    keys = keys_of(event)
    figures = figures_of(event)
    return bool(keys) and window.add(leg_id, event.ended_at_ms, [(key, figures) for key in keys], now_ms)


def keys_of(event: LegEnded | CallEnded) -> list[Key]:
    """Whose quality a closing tells of; nobody's where it is an estimate, or was refused by us."""
    if event.estimated or event.facts is None:
        return []
    if isinstance(event, LegEnded):
        return vendor_keys(event.facts)
    admitted = not event.reason or event.answered_at_ms is not None
    return [Key("customer", event.facts.customer_peer_id)] if admitted and event.facts.customer_peer_id else []


def vendor_keys(facts: Facts) -> list[Key]:
    """The vendor of an outbound leg, and his code as bought."""
    if not facts.vendor_peer_id:
        return []
    by_code = [Key("vendor_code", facts.vendor_peer_id, facts.code)] if facts.code else []
    return [Key("vendor", facts.vendor_peer_id), *by_code]


def figures_of(event: LegEnded | CallEnded) -> Figures:
    """What one closing adds."""
    answered = event.answered_at_ms is not None
    judged = not (not answered and event.dial_status == "CANCEL" and event.pdd_ms is None)
    return Figures(
        attempts=1,
        answered=int(answered),
        effective=int(judged and is_effective(event)),
        effective_of=int(judged),
        talk_ms=event.duration_ms if answered else 0,
        pdd_ms=event.pdd_ms or 0,
        pdd_legs=int(event.pdd_ms is not None),
        suspects=int(isinstance(event, LegEnded) and is_suspect(event)),
    )


def is_effective(event: LegEnded | CallEnded) -> bool:
    """NER of E.425: the called party's own answer, whatever it was; after ringing, silence is one too."""
    if event.answered_at_ms is not None:
        return True
    sip_code = event.sip_code if isinstance(event, LegEnded) else None
    if event.cause == 17 or sip_code in _PARTY_CODES or (event.cause == 21 and sip_code not in _ACCOUNT_CODES):
        return True
    silent = event.cause in (16, 18, 19) or event.dial_status in ("CANCEL", "NOANSWER")
    return event.pdd_ms is not None and silent


def is_suspect(leg: LegEnded) -> bool:
    """Whether an answer looks false: answered within FAS_RINGING_MS of the first ringing (or with none), and the caller
    hung up within FAS_TALK_MS. One such leg says nothing; a large share of them does.
    """
    if leg.answered_at_ms is None or leg.release_side != "caller" or leg.duration_ms >= FAS_TALK_MS:
        return False
    wait_ms = leg.answered_at_ms - leg.started_at_ms
    return wait_ms - min(leg.pdd_ms if leg.pdd_ms is not None else wait_ms, wait_ms) < FAS_RINGING_MS


def quality_of(key: Key, sums: Sums, at_ms: int, window_seconds: int) -> Quality:
    """The message of a key."""
    figures = Figures(*sums)
    return Quality(
        side=key.side,
        peer_id=key.peer_id,
        code=key.code,
        at_ms=at_ms,
        window_seconds=window_seconds,
        attempts=figures.attempts,
        answered=figures.answered,
        effective=figures.effective,
        effective_of=figures.effective_of,
        talk_ms=figures.talk_ms,
        pdd_ms=figures.pdd_ms,
        pdd_legs=figures.pdd_legs,
    )
