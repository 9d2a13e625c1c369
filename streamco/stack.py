"""The whole product on one machine: which components there are, and the straight way from nothing to all healthy."""

import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import psycopg

from streamco import postgres_access, rooms
from streamco.children import environment_of, secrets_of
from streamco.embedded.ports import require_free_port
from streamco.embedded.server import Progress, ServerError
from streamco.health import check_beat, check_page, check_router, router_degraded
from streamco.home import close_home, close_new_files
from streamco.kafka_room import check_kafka, kafka_server_settings, prepare_kafka
from streamco.places import Places
from streamco.secret_store import kind_of
from streamco.settings import Settings
from streamco.supervisor.component import Component, HealthCheck, component_of
from streamco.supervisor.supervisor import Supervisor

AS_ROOT: Final = (
    "started by root: everything but PostgreSQL runs as root; docs/operations.md, As a service, says how to give it a"
    " user of its own"
)
_ROOT: Final = Path(__file__).resolve().parent.parent
_STORES: Final = ("postgres", "kafka", "clickhouse")
_NEEDED_BY_ROLE: Final = {
    "billing": ("kafka", "postgres"),
    "cdrs": _STORES,
    "live": ("kafka",),
    "quality": ("kafka",),
    "control": ("kafka", "postgres"),
}


@dataclass(frozen=True)
class FirstLogin:
    """The administrator that was made now; the password is shown once and kept nowhere."""

    login: str
    password: str


def check_ports(settings: Settings) -> None:
    """Raise ServerError naming every port of ours that somebody else has."""
    busy = []
    udp = settings.udp_ports()
    for name, port in settings.ports().items():
        try:
            require_free_port(name, port, udp=name in udp)
        except ServerError as error:
            busy.append(str(error))
    if busy:
        raise ServerError("\n".join(busy))


def stores(settings: Settings) -> list[Component]:
    """PostgreSQL, Kafka and ClickHouse: ours, or external ones that are only asked after."""
    components = []
    if not settings.postgres_elsewhere:
        from streamco.embedded.postgres import postgres_server

        components.append(component_of(postgres_server(postgres_access.server_settings(settings))))
    else:
        postgres_access.owner(settings)  # raises SettingsError before anything is started
        components.append(_external("postgres", None, partial(_check_postgres, settings)))
    if settings.kafka_bootstrap is None:
        from streamco.embedded.kafka import kafka_server

        components.append(component_of(kafka_server(kafka_server_settings(settings))))
    else:
        components.append(_external("kafka", settings.kafka_bootstrap, partial(check_kafka, settings)))
    if settings.clickhouse_url is None:
        from streamco.embedded.clickhouse import clickhouse_server

        components.append(component_of(clickhouse_server(rooms.clickhouse_server_settings(settings))))
    else:
        components.append(_external("clickhouse", settings.clickhouse_url, partial(_check_clickhouse, settings)))
    return components


def open_listener(settings: Settings) -> socket.socket | None:
    """The socket that several router processes share; None where there is one, which listens itself.

    One queue for all of them: whoever has time takes the next call, and one that hangs takes none. (With a socket each,
    SO_REUSEPORT, the kernel would go on giving it its share.) It outlives each of them: calls wait while they restart.
    """
    if settings.router_processes == 1:
        return None
    family = socket.AF_INET6 if ":" in settings.router_host else socket.AF_INET
    return socket.create_server((settings.router_host, settings.router_port), family=family, backlog=1024)


def routers(settings: Settings, listener: socket.socket | None = None) -> list[Component]:
    """The router's processes. One is asked by a session; of several each by its own beat."""
    address = f"{settings.router_host}:{settings.router_port}"
    if listener is None:
        return [
            _own(
                settings,
                "router",
                ("router",),
                address=address,
                healthy=partial(_check_router, settings),
                needs=("postgres",),
            )
        ]
    return [
        replace(
            _own(settings, name, ("router", f"{number}@{listener.fileno()}"), address=address, needs=("postgres",)),
            healthy=partial(check_beat, Places(settings).beat(name)),
            inherits=(listener.fileno(),),
        )
        for number, name in rooms.router_names(settings).items()
    ]


def _check_router(settings: Settings, _pid: int | None) -> str:
    """A session, and what the router's own beat says is wrong."""
    check_router(settings.router_host, settings.router_port)
    return router_degraded(Places(settings).beat("router"))


def processes(settings: Settings, listener: socket.socket | None = None) -> list[Component]:
    """Our own processes: routers, agents, stream workers, dashboards."""
    ours = routers(settings, listener)
    for node in settings.nodes:
        ours.append(_own(settings, f"node-agent-{node}", ("node-agent", node), needs=("kafka",)))
    for name, which in rooms.stream_workers(settings).items():
        needs = _NEEDED_BY_ROLE[which.partition("-")[0]]
        ours.append(_own(settings, name, ("streams", which), needs=needs))
    ours.append(_own(settings, "auditor", ("auditor",), needs=_STORES))
    ours.append(
        _own(
            settings,
            "dashboards",
            ("dashboards",),
            address=f"{settings.dashboards_host}:{settings.dashboards_port}",
            healthy=lambda _pid: check_page(settings.dashboards_host, settings.dashboards_port, "/login"),
            needs=("postgres",),
        )
    )
    return ours


def traffic(settings: Settings, *, simulate: bool) -> list[Component]:
    """What takes and makes calls here: an Asterisk of ours, SIPp's trickle, and the simulator if it is wanted."""
    components = []
    for node in settings.asterisk_nodes:
        components.append(
            _own(
                settings.model_copy(update={"agi_secret": None, "agi_node_key": rooms.node_key(settings, node)}),
                f"asterisk-{node}",
                ("asterisk", node),
                address=f"127.0.0.1:{settings.sip_port}",
                needs=("postgres",),
                serving_pid=partial(_pid_in, Places(settings).node(node) / "run" / "asterisk.pid"),
            )
        )
    if settings.asterisk_nodes and settings.trickle_cps > 0:
        needs = tuple(f"asterisk-{node}" for node in settings.asterisk_nodes)
        components.append(_own(settings, "trickle", ("trickle",), needs=("router", *needs)))
    if settings.simulated_nodes and simulate:
        components.append(_own(settings, "simulator", ("simulator",), needs=("router",), stop_seconds=60.0))
    return components


def _own(
    settings: Settings,
    name: str,
    arguments: Sequence[str],
    *,
    needs: tuple[str, ...],
    address: str | None = None,
    healthy: HealthCheck | None = None,
    serving_pid: Callable[[], int | None] | None = None,
    stop_seconds: float = 20.0,
) -> Component:
    beat = Places(settings).beat(name)
    return Component(
        name=name,
        address=address,
        healthy=healthy or (lambda _pid: check_beat(beat, None)),
        argv=(sys.executable, "-m", "streamco.run", "--secrets-on-stdin", *arguments),
        environment=environment_of(settings),
        given=secrets_of(settings, kind_of(*arguments)),
        directory=_ROOT,
        needs=needs,
        serving_pid=serving_pid,
        stop_seconds=stop_seconds,
    )


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _external(name: str, address: str | None, check: Callable[[], None]) -> Component:
    return Component(name=name, address=address, healthy=lambda _pid: check(), external=True)


def _check_postgres(settings: Settings) -> None:
    try:
        with psycopg.connect(postgres_access.owner(settings).dsn.get_secret_value(), connect_timeout=3) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise ServerError(f"STREAMCO_POSTGRES_DSN: {str(error).strip()[:300]}") from error


def _check_clickhouse(settings: Settings) -> None:
    from runtime.clickhouse import connect

    try:
        with connect(rooms.clickhouse(settings, "migrations"), database="default", answer_seconds=3) as client:
            client.command("SELECT 1")
    except Exception as error:  # the client lets errors of several libraries through; each means: not usable
        raise ServerError(f"STREAMCO_CLICKHOUSE_URL: {str(error)[:300]}") from error


def prepare_stores(settings: Settings, progress: Progress) -> FirstLogin | None:
    """Roles, tables, topics, and the first administrator if there is no user. Safe at every start, and at once."""
    from dashboards.access.users import FIRST_LOGIN, ensure_first_administrator
    from runtime.migrations import MigrationError, migrate_clickhouse, migrate_postgres
    from runtime.postgres_roles import grant_rights, make_roles, take_over
    from runtime.topics import TopicError

    try:
        maker, owner = postgres_access.maker(settings), postgres_access.owner(settings)
        if not settings.postgres_elsewhere:
            take_over(maker, postgres_access.owner_password(settings))
        if roles := make_roles(maker, postgres_access.room_passwords(settings)):
            progress(f"made PostgreSQL's roles: {', '.join(roles)}")
        for label in migrate_postgres(owner):
            progress(f"migrated: {label}")
        grant_rights(owner)  # at once: a function that was dropped and made anew is nobody's
        for label in migrate_clickhouse(owner, rooms.clickhouse(settings, "migrations")):
            progress(f"migrated: {label}")
        prepare_kafka(settings, progress)
        password = ensure_first_administrator(rooms.postgres(settings, "cli").dsn.get_secret_value())
    except (MigrationError, TopicError, psycopg.Error) as error:
        raise ServerError(str(error)) from error
    return FirstLogin(FIRST_LOGIN, password) if password is not None else None


class Stack:
    """The product of one home directory under a supervisor, in this process."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        """`settings` with secrets. Nothing is done yet."""
        self._settings = settings
        self._progress = progress
        self._listener: socket.socket | None = None
        self.supervisor = Supervisor(Places(settings), progress, settings.disk_reserve_megabytes << 20)

    def start(
        self,
        *,
        interrupted: Callable[[], bool] = lambda: False,
        greet: Callable[[FirstLogin], None] = lambda _: None,
        fill: Callable[[Progress], None] = lambda _: None,
        simulate: bool = False,
    ) -> None:
        """From nothing to all healthy.

        `greet` gets the first administrator as soon as he is made; `fill` is called when the stores are ready (the demo
        seeds its world there); `simulate`: with the simulator, playing the simulated nodes.

        Raises ServerError; what was started is ended then.
        """
        settings, supervisor = self._settings, self.supervisor
        self._close()
        supervisor.open()
        try:
            if said := supervisor.disk_alarm():
                self._progress(f"{said}: new calls will be refused until there is room")
            check_ports(settings)
            # Kept as long as this process lives: the routers come and go, their calls' queue stays.
            self._listener = open_listener(settings)
            first, then = stores(settings), processes(settings, self._listener)
            last = traffic(settings, simulate=simulate)
            supervisor.announce([*first, *then, *last])
            supervisor.start(first, interrupted=interrupted)
            # Told at once: what fails after this must not take the only copy of the password with it.
            if (first_login := prepare_stores(settings, self._progress)) is not None:
                greet(first_login)
            fill(self._progress)
            supervisor.start(then, interrupted=interrupted)
            supervisor.start(last, interrupted=interrupted)
        except BaseException:
            supervisor.close()
            if self._listener is not None:
                self._listener.close()
            raise

    def _close(self) -> None:
        """What is ours is closed to other users. Raises ServerError."""
        try:
            done = close_home(self._settings.home)
        except OSError as error:
            raise ServerError(f"STREAMCO_HOME {str(self._settings.home)!r}: {error.strerror}") from error
        close_new_files()
        for text in done:
            self._progress(text)
        if os.geteuid() == 0:
            self._progress(AS_ROOT)
