"""Who runs a command: the system's account, which no environment variable and no option can make another one."""

import os
import pwd
from typing import Final

from runtime.user_acts import Person

_MOST_CHARACTERS: Final = 64


def account() -> str:
    """The account's name; its number where it has none. Under sudo with who asked for it: `root, for nora`."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    asked_by = os.environ.get("SUDO_USER", "") if os.getuid() == 0 else ""
    return f"{name}, for {asked_by}"[:_MOST_CHARACTERS] if asked_by else name[:_MOST_CHARACTERS]


def person(decided_by: str | None = None) -> Person:
    """Who acts by a command. `decided_by`: who says to decide it, where that may be somebody else."""
    return Person((decided_by or "").strip()[:_MOST_CHARACTERS] or account(), "command", account())
