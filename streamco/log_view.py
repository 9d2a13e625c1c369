"""Log files as a person reads them: the last lines, then whatever comes."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

_FOLLOW_SECONDS: Final = 0.3
_LINE_BYTES: Final = 4096  # longer lines than this on average, and fewer than asked are shown


def show_logs(paths: Sequence[Path], lines: int, *, follow: bool) -> None:
    """Print the last `lines` of each file; with `follow` go on until interrupted."""
    offsets = [_tail(path, lines) for path in paths]
    while follow:
        for at, path in enumerate(paths):
            offsets[at] = _rest(path, offsets[at])
        time.sleep(_FOLLOW_SECONDS)


def _tail(path: Path, lines: int) -> int:
    """Print the last lines; the offset behind them."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LINE_BYTES * max(1, lines)))
        for line in file.read().splitlines()[-lines:] if lines else ():
            click.echo(line.decode(errors="replace"))
        return size


def _rest(path: Path, offset: int) -> int:
    """Print what has come since; the new offset. A file that was emptied meanwhile is read from its start."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) < offset:
            offset = 0
        file.seek(offset)
        text = file.read()
    click.echo(text.decode(errors="replace"), nl=False)
    return offset + len(text)
