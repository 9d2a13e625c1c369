"""What a child process of ours is told: its environment, without a secret, and the secrets that it needs, apart.

/proc shows arguments to everybody and the environment to the same user, and every further child inherits the
environment: so secrets go over its standard input (handover.py), as JSON.
"""

import json
import os
from collections.abc import Mapping, MutableMapping
from typing import Any

from pydantic import SecretStr

from streamco.given_settings import FILE_SUFFIX
from streamco.secret_store import needed, only
from streamco.settings import PREFIX, SECRET_SETTINGS, Settings, SettingsError, read_settings

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "XDG_CACHE_HOME", "XDG_DATA_HOME", "JAVA_HOME", "SSL_CERT_FILE")


def environment_of(settings: Settings, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child process: what it needs of the parent's, and every setting that is neither default nor
    secret."""
    environment = os.environ if environment is None else environment
    child = {name: environment[name] for name in _KEPT if name in environment}
    for name in Settings.model_fields.keys() - SECRET_SETTINGS:
        value = getattr(settings, name)
        if name == "home" or value != _default(name):
            child[f"{PREFIX}{name.upper()}"] = _text(value)
    return child


def secrets_of(settings: Settings, kind: str | None = None) -> bytes:
    """The secrets that a process of this kind needs, as it is given them; every one that is set without a kind."""
    names = SECRET_SETTINGS if kind is None else needed(settings, kind)
    values = {name: getattr(settings, name) for name in sorted(names)}
    return json.dumps({name: _text(value) for name, value in values.items() if value != _default(name)}).encode()


def settings_with(given: bytes, kind: str | None = None) -> Settings:
    """The settings of this process's environment with the secrets that it was given, which are all that it has.

    Raises SettingsError.
    """
    try:
        secrets = json.loads(given)
    except ValueError as error:
        raise SettingsError(f"the secrets on standard input are not JSON ({len(given)} bytes)") from error
    if not isinstance(secrets, dict) or not secrets.keys() <= SECRET_SETTINGS:
        raise SettingsError("the secrets on standard input must be a JSON object of secret settings")
    settings = read_settings(**secrets)
    return settings if kind is None else only(settings, needed(settings, kind))


def forget_secrets(environment: MutableMapping[str, str]) -> None:
    """Take secrets, and the paths of their files, out of an environment: what this process starts inherits none."""
    for name in SECRET_SETTINGS:
        for variable in (f"{PREFIX}{name.upper()}", f"{PREFIX}{name.upper()}{FILE_SUFFIX}"):
            environment.pop(variable, None)


def _default(name: str) -> Any:
    return Settings.model_fields[name].get_default(call_default_factory=True, validated_data={})


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, dict):
        return json.dumps({name: _text(one) for name, one in value.items()})
    return "" if value is None else str(value)
