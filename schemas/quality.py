"""The quality of vendors and customers over a recent window: what the compacted topic `quality` holds by key.

Sums, never ratios: ratios are made where they are read, each with its sample. Estimated ends are in none of them; every
leg of a hunt is, one that no channel could be made for too. The words are those of the figures everywhere: attempts,
answered, effective, talk, PDD.
"""

from typing import Final, Literal

import msgspec

QUALITY_VERSION: Final = 1

Side = Literal["vendor", "vendor_code", "customer"]


class Quality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Sums over the legs (of a customer: the calls) that ended in the window before `at_ms`.

    `peer_id` is the vendor's peer, or of side `customer` the customer's. `code` is the code as bought, of side
    `vendor_code` only. `effective` of `effective_of` is the NER of E.425: a caller's CANCEL before any ringing is in
    neither. `pdd_legs` are those with a first 18x or 200.
    """

    v: Literal[1] = 1
    side: Side
    peer_id: int
    code: str = ""
    at_ms: int
    window_seconds: int
    attempts: int = 0
    answered: int = 0
    effective: int = 0
    effective_of: int = 0
    talk_ms: int = 0
    pdd_ms: int = 0
    pdd_legs: int = 0

    @property
    def key(self) -> str:
        """The message's key."""
        return f"{self.side}/{self.peer_id}/{self.code}"


QUALITY_DECODER: Final = msgspec.json.Decoder(Quality)
