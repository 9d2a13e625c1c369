"""The Kafka frame: several events of one partition in one message, because Faust costs are per message.

A frame is JSON `[1,[event,event,…]]`. Each event stands by itself: one that cannot be read costs one dead letter and
not its neighbours. Events of one call (or account) are always in one partition: crc32 of the key, modulo partitions.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

FRAME_VERSION: Final = 1
MAX_FRAME_BYTES: Final = 400_000  # well below the broker's and Faust's limits of a message
MAX_FRAME_EVENTS: Final = 500


class FrameError(ValueError):
    """A Kafka message that is no frame."""


_decoder: Final[msgspec.json.Decoder[tuple[int, list[msgspec.Raw]]]] = msgspec.json.Decoder(
    tuple[int, list[msgspec.Raw]]
)


def partition_of(key: str, partitions: int) -> int:
    """The partition that all events of a key go to."""
    return zlib.crc32(key.encode()) % partitions


def pack_frames(events: Iterable[bytes]) -> list[bytes]:
    """As few frames as the limits allow, in the order given. `events` are the JSON bytes of events of one partition."""
    frames: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for event in events:
        if batch and (size + len(event) > MAX_FRAME_BYTES or len(batch) >= MAX_FRAME_EVENTS):
            frames.append(_frame(batch))
            batch, size = [], 0
        batch.append(event)
        size += len(event) + 1
    if batch:
        frames.append(_frame(batch))
    return frames


def pack_partitions(events: Iterable[tuple[str, bytes]], partitions: int) -> list[tuple[int, bytes]]:
    """(partition, frame) for events of any keys, given as (key, JSON bytes): of a partition in the order given."""
    by_partition: dict[int, list[bytes]] = {}
    for key, event in events:
        by_partition.setdefault(partition_of(key, partitions), []).append(event)
    return [(partition, frame) for partition, batch in by_partition.items() for frame in pack_frames(batch)]


def unpack_frame(message: bytes | None) -> Sequence[msgspec.Raw]:
    """The raw events of a message, still undecoded. Raises FrameError."""
    try:
        version, events = _decoder.decode(message or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"not a frame: {error}"[:500]) from error
    if version != FRAME_VERSION:
        raise FrameError(f"frame version {version}: this program reads version {FRAME_VERSION}")
    return events


def _frame(events: list[bytes]) -> bytes:
    return b"[%d,[%s]]" % (FRAME_VERSION, b",".join(events))
