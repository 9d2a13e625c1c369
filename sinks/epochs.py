"""Epochs: each start of a node's Asterisk, real or simulated, has a number that no start of it ever had before."""

import os
from pathlib import Path
from typing import Final

FILE: Final = "epoch"
_DIGITS: Final = 10


class EpochError(Exception):
    """The last epoch cannot be read: nobody may guess it. Names the file and the rule."""


def issue_epoch(directory: Path, now_seconds: int) -> int:
    """The greater of now (unix seconds) and the last one plus one; kept in the node's directory before it is used."""
    path = directory / FILE
    directory.mkdir(parents=True, exist_ok=True)
    text = path.read_text().strip() if path.exists() else "0"
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise EpochError(f"{path}: {text[:40]!r} is no epoch: must be unix seconds")
    epoch = max(int(text) + 1, now_seconds)
    part = path.with_name(path.name + ".part")
    with part.open("w") as file:
        file.write(f"{epoch}\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return epoch
