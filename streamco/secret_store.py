"""Passwords between our own processes: from the environment, else made once and kept in STREAMCO_HOME, for us alone."""

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from streamco.settings import Settings, SettingsError

FILE: Final = "secrets.json"
NAMES: Final = ("postgres_password", "clickhouse_password", "ami_secret", "dashboards_secret_key")


def with_secrets(settings: Settings) -> Settings:
    """The settings with every secret there is. Makes the home directory (0700) and the file (0600) when missing.

    Raises SettingsError when the directory cannot be used or the file is not ours.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = _keep(settings.home / FILE)
    except OSError as error:
        raise SettingsError(f"STREAMCO_HOME {str(settings.home)!r}: {error.strerror}") from error
    missing = {name: SecretStr(kept[name]) for name in NAMES if getattr(settings, name) is None}
    return settings.model_copy(update=missing)


def _keep(path: Path) -> dict[str, str]:
    """What the file holds, after what it lacks was added. One process at a time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise SettingsError(f"{path}: others may read the secrets in it; make it 0600")
        text = file.read()
        try:
            kept = json.loads(text) if text else {}
        except ValueError as error:
            raise SettingsError(f"{path}: is not JSON ({error})") from error
        if missing := [name for name in NAMES if name not in kept]:
            kept |= {name: secrets.token_urlsafe(32) for name in missing}
            part = path.with_suffix(".part")
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as fresh:
                json.dump(kept, fresh)
                fresh.flush()
                os.fsync(fresh.fileno())
            part.replace(path)
        return {str(name): str(value) for name, value in kept.items()}
