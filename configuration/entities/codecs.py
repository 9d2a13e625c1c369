"""What is said of codecs when a peer is saved: those that Asterisk cannot translate. Pure."""

from configuration.entities.document import World
from tariffs.codecs import END_TO_END, TRANSLATED, read_codecs


def end_to_end(world: World) -> list[str]:
    """A warning for each of the file's peers with a codec that it can only use with peers that have it, too."""
    found = []
    for at, company in enumerate(world.companies):
        for place, peer in enumerate(company.peers):
            own = read_codecs(peer.codecs)
            if names := " and ".join(codec for codec in own if codec in END_TO_END):
                others = ", ".join(codec for codec in own if codec in TRANSLATED)
                where = f"and only where {others} will not do" if others else "and there is no other for this peer"
                found.append(
                    f"companies[{at}].peers[{place}].codecs {peer.codecs!r}: {names} is not translated: only calls"
                    f" whose other side has it too can use it, {where}"
                )
    return found
