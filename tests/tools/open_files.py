"""What other users could read in a directory, were it not for the folders above it."""

import os
from pathlib import Path


def open_to_others(home: Path) -> list[Path]:
    """What `find HOME -perm /077` shows, links and sockets apart."""
    found: set[Path] = set()
    for folder, folders, files in os.walk(home):
        found |= {
            path
            for path in (Path(folder), *(Path(folder, name) for name in (*folders, *files)))
            if not path.is_symlink() and path.stat().st_mode & 0o077 and not path.is_socket()
        }
    return sorted(found)
