"""Apache Kafka itself, as a `Server`: one KRaft node, broker and controller, on loopback, jars from the user's cache.

The data directory is formatted beside its place and renamed into it, so a kill -9 leaves nothing half made. The
broker's properties are written before every start: a changed port, or a changed login, holds from then on. With them it
gets the owner's password, and one that it logs in to itself with and that nobody else ever has: made anew each time.
"""

import base64
import functools
import importlib.resources
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from schemas.kafka_access import OWNER, user_of
from streamco.embedded.jars import fetch, read_lock
from streamco.embedded.java import find_java
from streamco.embedded.ports import require_free_port
from streamco.embedded.server import Progress, Server, ServerError
from streamco.embedded.settings import LOOPBACK, KafkaServer

VERSION: Final = "4.4.0"
_FORMAT_SECONDS: Final = 120.0
_BROKER: Final = user_of("broker")
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def kafka_server(settings: KafkaServer) -> Server:
    """The server of these settings. Its data is in `settings.directory`/data. Raises ServerError without a Java."""
    return Server(
        name="kafka",
        address=f"{LOOPBACK}:{settings.port}",
        directory=settings.directory,
        prepare=functools.partial(_prepare, settings),
        argv=_java_command(settings, "kafka.Kafka", str(settings.directory / "server.properties")),
        env=_ENVIRONMENT,
        healthy=functools.partial(_healthy, settings),
        stop_signal=signal.SIGTERM,
        stop_seconds=60.0,
    )


def escaped(value: str) -> str:
    """A value as Java's properties read it: backslashes doubled, what is not ASCII as \\uXXXX."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(code) if 32 <= code < 127 else f"\\u{code:04x}" for code in codes)


def login_of(user: str, password: str, others: Mapping[str, str] = MappingProxyType({})) -> str:
    """A JAAS line: the broker logs in by PLAIN as this user, and knows this one and the others by their passwords."""
    known = {user: password, **others}
    options = [f"username={_quoted(user)}", f"password={_quoted(password)}"]
    options += [f"user_{name}={_quoted(secret)}" for name, secret in known.items()]
    return f"org.apache.kafka.common.security.plain.PlainLoginModule required {' '.join(options)};"


def _quoted(value: str) -> str:
    """As JAAS reads a text: what would end it, or is a control character, by its octal number."""
    return '"' + "".join(f"\\{ord(one):03o}" if one in '"\\' or one < " " else one for one in value) + '"'


def fetch_jars(cache: Path, progress: Progress) -> None:
    """Have Kafka's jars in the user's cache (it may take some seconds, once). Raises ServerError."""
    fetch(read_lock(_resource("kafka-jars.lock")), cache / f"kafka-{VERSION}", progress)


def _libraries(settings: KafkaServer) -> Path:
    return settings.cache / f"kafka-{VERSION}"


def _java_command(settings: KafkaServer, *arguments: str) -> tuple[str, ...]:
    java = find_java(settings.java)
    heap = settings.heap_megabytes
    options = [
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xms64m",
        f"-Xmx{heap}m",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",  # it would write outside our directory
        f"-XX:ErrorFile={settings.directory}/crash-%p.log",
        f"-Djava.io.tmpdir={settings.directory / 'tmp'}",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={settings.directory}/log4j2.properties",
    ]
    if java.major >= 23:
        options.append("--sun-misc-unsafe-memory-access=allow")  # newer ones warn at every start
    return (str(java.binary), *options, "-cp", f"{_libraries(settings)}/*", *arguments)


def _prepare(settings: KafkaServer, progress: Progress) -> None:
    for path, separators in ((settings.directory, ","), (settings.cache, ":")):
        if any(one in str(path) for one in separators):
            raise ServerError(f"Kafka cannot work in {path}: {separators!r} in a path separates paths for it")
    fetch_jars(settings.cache, progress)
    settings.directory.mkdir(parents=True, exist_ok=True)
    settings.directory.chmod(0o700)
    temporary = settings.directory / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # native libraries that a killed broker unpacked
    temporary.mkdir()
    require_free_port("Kafka", settings.port)
    require_free_port("Kafka's controller", settings.controller_port)
    data = settings.directory / "data"
    _write(settings, data, settings.directory / "server.properties")
    (settings.directory / "log4j2.properties").write_text(_resource("kafka-log4j2.properties"))
    if not data.exists():
        progress("making Kafka's data directory")
        _format(settings, data)


def _resource(name: str) -> str:
    return (importlib.resources.files("streamco.embedded") / name).read_text()


def _write(settings: KafkaServer, data: Path, target: Path) -> None:
    own = secrets.token_urlsafe(32)
    owner = {user_of(OWNER): settings.password.get_secret_value()}
    values = {
        "PORT": settings.port,
        "CONTROLLER_PORT": settings.controller_port,
        "DATA": escaped(str(data)),
        "CLIENT_LOGIN": escaped(login_of(_BROKER, own, owner)),
        "CONTROLLER_LOGIN": escaped(login_of(_BROKER, own)),
        "BROKER": _BROKER,
        "OWNER": user_of(OWNER),
    }
    text = re.sub("@([A-Z_]+)@", lambda found: str(values[found[1]]), _resource("kafka.properties"))
    part = target.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(target)


def _format(settings: KafkaServer, data: Path) -> None:
    part = data.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    properties = settings.directory / "format.properties"
    _write(settings, part, properties)
    cluster = base64.urlsafe_b64encode(b"s" + os.urandom(15)).decode().rstrip("=")  # never begins with a dash
    command = _java_command(settings, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_SECONDS, env=_ENVIRONMENT)
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"formatting Kafka's directory took longer than {_FORMAT_SECONDS:.0f} s") from error
    finally:
        properties.unlink(missing_ok=True)
    if done.returncode != 0:
        raise ServerError(f"Kafka's directory cannot be formatted: {(done.stderr or done.stdout).strip()[-2000:]}")
    part.rename(data)


def _healthy(settings: KafkaServer) -> None:
    try:
        # A closed port is the common case while it starts; the client would log every attempt.
        socket.create_connection((LOOPBACK, settings.port), timeout=2).close()
        admin = KafkaAdminClient(**settings.connection().client(), request_timeout_ms=4000, bootstrap_timeout_ms=4000)
        try:
            # A broker that is still fenced is in nobody's metadata: a client that starts now is stuck without one.
            if all(broker.get("is_fenced") for broker in admin.describe_cluster()["brokers"]):
                raise ServerError("Kafka answers, but its broker does not take part yet")
        finally:
            admin.close()
    except (OSError, KafkaError) as error:
        raise ServerError(f"Kafka does not answer: {error}") from error
