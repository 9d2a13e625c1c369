"""What a process of ours is given on its standard input: secrets, which arguments and environment would show.

    parent    with standard_input(given) as stdin: Popen(…, stdin=stdin)
    child     given = taken()      once; its standard input is empty from then on, and so is that of what it starts

A file in memory, not a pipe: writing it never waits for the reader, and nothing of it is on a disk.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from streamco.embedded.server import ServerError

MAX_BYTES: Final = 256 << 10


@contextmanager
def standard_input(given: bytes | None) -> Iterator[int]:
    """What to start a process with as its standard input (None: nothing). Raises ServerError above 256 kB, OSError."""
    if given is None:
        yield subprocess.DEVNULL
        return
    if len(given) > MAX_BYTES:
        raise ServerError(f"the secrets of a process have {len(given)} bytes: must be at most {MAX_BYTES}")
    descriptor = os.memfd_create("given", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(given)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def taken() -> bytes:
    """What this process was given. Raises OSError, and ValueError above 256 kB."""
    with os.fdopen(0, "rb", closefd=False) as file:
        given = file.read(MAX_BYTES + 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # inheritable, as a standard input has to be
    os.close(nothing)
    if len(given) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes on standard input")
    return given
