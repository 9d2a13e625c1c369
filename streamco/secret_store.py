"""Passwords between our own processes: from the environment, else made once and kept in STREAMCO_HOME, for us alone.

And which process needs which: none is given another one's (children.py).
"""

import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from schemas import kafka_access
from schemas.postgres_roles import OWNER, ROLES
from streamco.home import home_user
from streamco.settings import PREFIX, SECRET_SETTINGS, Settings, SettingsError

FILE: Final = "secrets.json"
_OF_POSTGRES: Final = ("postgres_password", *(f"postgres_{room}_password" for room in (OWNER, *ROLES)))
_OF_KAFKA: Final = tuple(kafka_access.password_setting(who) for who in (kafka_access.OWNER, *kafka_access.ACCESS))
NAMES: Final = (
    *_OF_POSTGRES,
    *_OF_KAFKA,
    "clickhouse_password",
    "clickhouse_reader_password",
    "ami_secret",
    "dashboards_secret_key",
    "agi_secret",
)
_LEAST: Final = {"dashboards_secret_key": 32}  # characters, as of settings; of the others 8
_LATER: Final = ("agi_previous",)  # in the file only since one was given up


def _kafka(*users: str) -> frozenset[str]:
    """The passwords of these users of Kafka, and that of the one user that a Kafka of the user's may know instead."""
    return frozenset({*map(kafka_access.password_setting, users), "kafka_password"})


# Every kind of process of ours (run.py), and the secret settings that it needs where they are set; `migrate` is the one
# command that need not have all, as other commands have, and the supervisor, which makes them and hands them on.
NEEDED: Final[dict[str, frozenset[str]]] = {
    "router": _kafka("router") | {"postgres_router_password", "lookup_tokens", "agi_secret", "agi_previous"},
    "node-agent": _kafka("agent") | {"postgres_agent_password", "ami_secret"},
    "streams billing": _kafka("billing") | {"postgres_streams_password"},
    "streams cdrs": _kafka("cdrs") | {"postgres_streams_password", "clickhouse_password"},
    "streams live": _kafka("live") | {"postgres_streams_password"},
    "streams quality": _kafka("quality"),
    "streams control": _kafka("control") | {"postgres_streams_password", "control_webhook"},
    "auditor": _kafka("auditor") | {"postgres_auditor_password", "clickhouse_password"},
    "dashboards": _kafka("dashboards")
    | {"postgres_dashboards_password", "clickhouse_reader_password", "dashboards_secret_key", "lookup_tokens"},
    "simulator": frozenset({"postgres_simulator_password", "ami_secret", "agi_secret"}),
    # The routers' secret only where it is not given its node's key.
    "asterisk": frozenset({"postgres_asterisk_password", "ami_secret", "agi_node_key", "agi_secret"}),
    "trickle": frozenset(),
    "migrate": frozenset({*_OF_POSTGRES, *_OF_KAFKA, "kafka_password", "postgres_dsn", "clickhouse_password"}),
}
# Of the embedded cluster. Where PostgreSQL is the user's, its DSN is the owner's.
_OF_OURS: Final = frozenset({"postgres_password", f"postgres_{OWNER}_password"})


def kind_of(process: str, which: str = "") -> str:
    """The kind of a process: its name, and of a stream worker its role too."""
    return f"{process} {which.partition('-')[0]}" if process == "streams" else process


def needed(settings: Settings, kind: str) -> frozenset[str]:
    """NEEDED of a kind with these settings: without a ClickHouse login that only reads, readers need the other one."""
    names = NEEDED[kind]
    if settings.clickhouse_has_reader or "clickhouse_reader_password" not in names:
        return names
    return names - {"clickhouse_reader_password"} | {"clickhouse_password"}


def only(settings: Settings, names: frozenset[str]) -> Settings:
    """The settings with no secrets but these."""
    fields = Settings.model_fields
    others = {name: fields[name].get_default(call_default_factory=True) for name in SECRET_SETTINGS - names}
    return settings.model_copy(update=others)


def required(value: SecretStr | None, name: str) -> SecretStr:
    """The secret. Raises SettingsError naming the setting where this process has not been given it."""
    if value is None:
        raise SettingsError(f"{PREFIX}{name.upper()}: this process needs it and was not given it")
    return value


def with_secrets(settings: Settings, kind: str | None = None) -> Settings:
    """The settings with the secrets that a process of this kind needs, and no other; with every one without a kind.

    Those that are not set are taken from the home's file: the directory (0700) and the file (0600) are made when they
    are missing. Raises SettingsError when the directory cannot be used, the file is not ours, the kind is unknown.
    """
    if kind is not None and kind not in NEEDED:
        raise SettingsError(f"process {kind!r}: must be one of {', '.join(NEEDED)}")
    names = SECRET_SETTINGS if kind is None else needed(settings, kind)
    told = only(settings, names)
    if kind is not None and settings.postgres_elsewhere:
        names -= _OF_OURS
    if kind is not None and not settings.kafka_has_our_users:
        names -= frozenset(_OF_KAFKA)
    if kind is not None and told.agi_node_key is not None:
        names -= {"agi_secret"}
    missing = [name for name in (*NAMES, *_LATER) if name in names and getattr(told, name) is None]
    if told.agi_secret is not None:  # then the one before it is not the home's either
        missing = [name for name in missing if name != "agi_previous"]
    if settings.clickhouse_url is not None and "clickhouse_password" in missing:
        raise SettingsError(f"{PREFIX}CLICKHOUSE_PASSWORD: must be set with {PREFIX}CLICKHOUSE_URL")
    named = settings.clickhouse_url is not None and settings.clickhouse_reader_user is not None
    if named and "clickhouse_reader_password" in missing:
        raise SettingsError(f"{PREFIX}CLICKHOUSE_READER_PASSWORD: must be set with {PREFIX}CLICKHOUSE_READER_USER")
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = _keep(settings.home / FILE) if missing else {}
    except OSError as error:
        raise _unusable(settings.home, error) from error
    return told.model_copy(update={name: SecretStr(kept[name]) for name in missing if name in kept})


def change_agi_secret(settings: Settings, until_seconds: int, now_seconds: int, *, at_once: bool = False) -> None:
    """Make a new secret of the nodes' keys; the present one counts beside it until then (unix seconds).

    One before it that still counts would end with that, and nodes that have its keys would be refused: that takes
    `at_once`. Raises SettingsError, also where the secret is not the home's own.
    """
    if settings.agi_secret is not None:
        raise SettingsError(
            f"{PREFIX}AGI_SECRET: is set; give it a new value, and {PREFIX}AGI_PREVIOUS the old one as UNTIL:SECRET"
        )

    def changed(kept: Mapping[str, str]) -> dict[str, str]:
        before = int(kept.get("agi_previous", "0:").partition(":")[0])
        if before > now_seconds and not at_once:
            until = time.strftime("%F %T UTC", time.gmtime(before))
            raise SettingsError(
                f"the secret before the present one counts until {until}: nodes that have not got their new keys yet"
                " would be refused. Give them their keys and wait until then, or change it with --at-once"
            )
        return {"agi_secret": secrets.token_urlsafe(32), "agi_previous": f"{until_seconds}:{kept['agi_secret']}"}

    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        _keep(settings.home / FILE, changed)
    except OSError as error:
        raise _unusable(settings.home, error) from error


def _unusable(home: Path, error: OSError) -> SettingsError:
    where = "" if error.filename in (None, str(home)) else f"{error.filename}: "
    return SettingsError(f"STREAMCO_HOME {str(home)!r}: {where}{error.strerror}")


def _nothing(_kept: Mapping[str, str]) -> dict[str, str]:
    return {}


def _keep(path: Path, changed: Callable[[Mapping[str, str]], dict[str, str]] = _nothing) -> dict[str, str]:
    """What the file holds, after what it lacks was written to it, and what `changed` makes of that then.

    One process at a time.
    """
    with _locked(path) as file:
        kept = _read(path, file.read())
        fresh_values = {name: secrets.token_urlsafe(32) for name in NAMES if name not in kept}
        fresh_values |= changed(kept | fresh_values)
        if fresh_values:
            kept |= fresh_values
            part = path.with_suffix(".part")
            part.unlink(missing_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as fresh:
                json.dump(kept, fresh)
                fresh.flush()
                os.fsync(fresh.fileno())
            part.replace(path)
        return kept


@contextmanager
def _locked(path: Path) -> Iterator[FileIO]:
    """The file, for this process alone. Raises SettingsError, OSError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        with FileIO(descriptor, "r+") as file:
            _require_ours(path, os.fstat(descriptor))
            fcntl.flock(file, fcntl.LOCK_EX)
            # Who had the lock before may have put another file in its place, with secrets that are in use already.
            if _is_at(path, descriptor):
                yield file
                return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _require_ours(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SettingsError(f"{path}: must be a file")
    if found.st_mode & 0o077:
        raise SettingsError(f"{path}: others may read the secrets in it; make it 0600")
    if found.st_uid not in (os.geteuid(), home_user(path.parent)):
        raise SettingsError(f"{path}: belongs to user {found.st_uid}, who may read the secrets in it; chown it")


def _read(path: Path, text: bytes) -> dict[str, str]:
    """The secrets in the text of the file. Raises SettingsError; none of them is shown."""
    try:
        held = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise SettingsError(f"{path}: is not JSON; a copy of it from before would do") from None  # it may quote one
    if not isinstance(held, dict):
        raise SettingsError(f"{path}: must be a JSON object of secrets by their names")
    for name in held.keys() & {*NAMES, *_LATER}:
        text_of, least = held[name], _LEAST.get(name, 8)
        if not isinstance(text_of, str) or len(text_of) < least or not text_of.isprintable():
            raise SettingsError(f"{path}: {name}: must be a text of at least {least} characters that can be printed")
    return {name: value for name, value in held.items() if isinstance(value, str)}
