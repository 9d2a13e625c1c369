"""Which ports the tests of this process may take, so that two test processes side by side never take the same one.

pytest-xdist runs N workers; worker k takes the k-th of N equal parts of each range. Without it there is one part.
"""

import os
import random
from typing import Final

from streamco.embedded import temporary

WORKERS: Final = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS  # one started again, too
_SIPP_MEDIA: Final = range(10_000, 17_000)  # SIPp takes a pair
_ASTERISK_MEDIA: Final = range(17_000, 20_000)  # below the range of free_port
_ASTERISK_MEDIA_PORTS: Final = 200  # one node's


def part_of(ports: range, worker: int = WORKER, workers: int = WORKERS) -> range:
    """This worker's part of a range; it begins with an even port."""
    size = len(ports) // workers // 2 * 2
    return ports[worker * size : (worker + 1) * size]


def split_free_ports() -> None:
    """Have `free_port` choose from this worker's part only."""
    temporary.PORTS = part_of(temporary.PORTS)


def free_row(count: int) -> int:
    """The first of so many ports in a row, all of which are free and given to nobody else."""
    while True:
        first = temporary.free_port()
        row = range(first, first + count)
        if row.stop <= temporary.PORTS.stop and all(temporary.take_port(port) for port in row[1:]):
            return first


def sipp_media_port(sip_port: int) -> int:
    """The even media port of the SIPp that listens at this SIP port."""
    ports = part_of(_SIPP_MEDIA)
    return ports[sip_port % len(ports) // 2 * 2]


def asterisk_media_port() -> int:
    """The first of one node's media ports."""
    ports = part_of(_ASTERISK_MEDIA)
    return ports[random.randrange(len(ports) // _ASTERISK_MEDIA_PORTS) * _ASTERISK_MEDIA_PORTS]
