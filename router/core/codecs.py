"""Which vendors have no codec in common with a call. Pure."""

from router.snapshot.store import Snapshot
from tariffs.codecs import CODECS, Codecs, kind_of_call, read_codecs

_NOBODY: frozenset[int] = frozenset()


def unfit_vendors(snapshot: Snapshot, codecs: Codecs) -> frozenset[int]:
    """The numbers of the vendors that share nothing with these codecs; nobody where they are not known.

    Kept in the snapshot's cache, by the set of codecs: there are 64 at most.
    """
    if not codecs:
        return _NOBODY
    key = sum(1 << CODECS.index(codec) for codec in codecs)
    found = snapshot.caches.unfit.get(key)
    if found is None:
        found = snapshot.caches.unfit[key] = frozenset(
            number
            for number, vendor in enumerate(snapshot.vendors)
            if not kind_of_call(codecs, read_codecs(vendor.codecs))
        )
    return found
