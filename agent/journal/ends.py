"""Looks for calls' ends in the journal's files: a hold whose call's end is there will be released by its posting.

Asked for the few calls that no heartbeat lists and that are held all the same, so it reads whole files, in blocks, and
only those that were written to since. More than a limit is not read: those holds wait for their expiry.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 2 << 30
_BLOCK_BYTES: Final = 4 << 20
_OVERLAP_BYTES: Final = 256  # a match may lie across two blocks
_END: Final = re.compile(rb'"CALL_END"[^\n]{0,40}?\|call=([^|"\n]{1,64})\|')


def ends_in(journal: Path, calls: Collection[str], since: float, limit_bytes: int = LIMIT_BYTES) -> set[str] | None:
    """Those of the calls whose end is in a file that was written to after `since` (unix seconds).

    None: not known, because there is more than may be read. Raises OSError.
    """
    wanted, found = {call.encode() for call in calls}, set()
    files = [path for path in journal.glob("Master.csv*") if path.stat().st_mtime >= since]
    if sum(path.stat().st_size for path in files) > limit_bytes:
        return None
    for path in files:
        rest = b""
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                text = rest + block
                found |= wanted.intersection(_END.findall(text))
                rest = text[-_OVERLAP_BYTES:]
    return {call.decode() for call in found}
