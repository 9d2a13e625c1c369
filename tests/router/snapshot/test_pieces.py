"""A configuration comes back as it was, whatever its size; another version's or a damaged one is refused by name."""

import msgspec
import pytest
from snapshots import RawWorld, config_of, peer

from router.snapshot.config import CONFIG_VERSION, Destination
from router.snapshot.errors import SnapshotError
from router.snapshot.pieces import decode_config, encode_config


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
def test_it_comes_back_as_it_was(count: int) -> None:
    peers = [peer(number + 1, originator=number % 2 == 0) for number in range(count)]
    config = config_of(
        RawWorld(peers, {}, [(number, 1, True) for number in range(count)], [Destination(1, "44", "premium")] * count)
    )
    config = msgspec.structs.replace(
        config,
        rates={"EUR": (11, 10)},
        price_priorities={price: price % 7 for price in range(count)},
        system_currency="USD",
    )
    assert decode_config(encode_config(config)) == config


def test_what_is_none_is_refused() -> None:
    config = config_of(RawWorld([peer(1, originator=True)], {}, []))
    newer = encode_config(msgspec.structs.replace(config, version=CONFIG_VERSION + 1))
    with pytest.raises(SnapshotError, match=f"has version {CONFIG_VERSION + 1}: this program reads {CONFIG_VERSION}"):
        decode_config(newer)
    for damaged in (b"", b"\x00", newer[:-3], msgspec.msgpack.encode(config)):
        with pytest.raises(SnapshotError, match="cannot be read"):
            decode_config(damaged)
