"""What each room is told, made from the product's settings. One function a room; imported only where it is used."""

import hmac
from typing import TYPE_CHECKING

from pydantic import SecretStr

from runtime.connections import ClickHouse
from schemas.agi_digest import node_key_text
from schemas.postgres_roles import Role
from streamco.embedded.settings import LOOPBACK, ClickHouseServer, user_cache_directory
from streamco.home import home_user
from streamco.kafka_room import kafka as kafka
from streamco.places import Places
from streamco.postgres_access import postgres as postgres
from streamco.secret_store import required as _secret
from streamco.settings import Settings, SettingsError

if TYPE_CHECKING:
    from agent.settings import AgentSettings
    from configuration.settings import NodeSettings, TrickleSettings
    from dashboards.settings import DashboardsSettings
    from router.check import CheckSettings
    from router.settings import RouterSettings, SnapshotSettings
    from simulator.settings import SimulatorSettings
    from sinks.audit.continuous.settings import AuditorSettings
    from sinks.audit.full.audit import AuditSettings
    from streams.settings import StreamsSettings

_ROUTER_CONNECTIONS = 8
READER_USER = "streamco_reader"
CLICKHOUSE_READERS = frozenset({"dashboards", "audit", "why"})
STREAM_ROLES = ("billing", "cdrs", "live", "quality", "control")


def _hep_secret(settings: Settings) -> SecretStr:
    """What a node's copies of SIP messages bring to its agent: both have the manager's secret, and this comes of it."""
    secret = _secret(settings.ami_secret, "ami_secret").get_secret_value().encode()
    return SecretStr(hmac.new(secret, b"copies of SIP messages", "sha256").hexdigest()[:32])


def clickhouse_server_settings(settings: Settings) -> ClickHouseServer:
    """The embedded ClickHouse engine's owner."""
    return ClickHouseServer(
        directory=settings.home / "clickhouse",
        port=settings.clickhouse_port,
        user=settings.clickhouse_user,
        password=_secret(settings.clickhouse_password, "clickhouse_password"),
        reader_user=settings.clickhouse_reader_user or READER_USER,
        reader_password=_secret(settings.clickhouse_reader_password, "clickhouse_reader_password"),
        database=settings.clickhouse_database,
        memory_bytes=settings.clickhouse_memory_megabytes << 20,
    )


def clickhouse(settings: Settings, room: str) -> ClickHouse:
    """How `room` reaches ClickHouse: with the login that reads, if it is one of CLICKHOUSE_READERS.

    A ClickHouse of the user's has that login when the settings name it.
    """
    url = settings.clickhouse_url or f"http://{LOOPBACK}:{settings.clickhouse_port}"
    reads = room in CLICKHOUSE_READERS and settings.clickhouse_has_reader
    user = (settings.clickhouse_reader_user or READER_USER) if reads else settings.clickhouse_user
    name = "clickhouse_reader_password" if reads else "clickhouse_password"
    password = _secret(getattr(settings, name), name)
    run_by = home_user(settings.home) if settings.clickhouse_url is None else None
    return ClickHouse(url=url, user=user, password=password, database=settings.clickhouse_database, run_by=run_by)


def router_names(settings: Settings) -> dict[int, str]:
    """The component name of each router process by its number, from 1: router, router-2, …"""
    return {
        number: "router" if number == 1 else f"router-{number}" for number in range(1, settings.router_processes + 1)
    }


def _snapshot(settings: Settings, room: Role) -> "SnapshotSettings":
    from router.settings import SnapshotSettings

    return SnapshotSettings(
        postgres=postgres(settings, room),
        directory=Places(settings).router / "snapshot",
        expected_call_seconds=settings.expected_call_seconds,
    )


def router(settings: Settings, number: int = 1, listener: int | None = None) -> "RouterSettings":
    """A router process. `listener`: the descriptor of the socket that several of them share.

    Connections to PostgreSQL are shared out among them.
    """
    from router.settings import RouterSettings

    places = Places(settings)
    name = router_names(settings)[number]
    until, _, previous = (settings.agi_previous or SecretStr("0:")).get_secret_value().partition(":")
    return RouterSettings(
        snapshot=_snapshot(settings, "router"),
        kafka=kafka(settings, "router"),
        agi_secret=_secret(settings.agi_secret, "agi_secret"),
        agi_previous_secret=SecretStr(previous) if previous else None,
        agi_previous_until=int(until),
        sessions=places.router / "sessions",
        host=settings.router_host,
        port=settings.router_port,
        peers_allowed=settings.router_peers,
        listener=listener,
        admission_connections=max(2, _ROUTER_CONNECTIONS // settings.router_processes),
        beat=places.beat(name),
        spool=places.router / f"{name.replace('router', 'spool')}.sqlite",
        disk_reserve_bytes=settings.disk_reserve_megabytes << 20,
        lookup_tokens=settings.lookup_tokens,
    )


def node_key(settings: Settings, node: str) -> SecretStr:
    """The key by which the routers know the node's sessions."""
    return SecretStr(node_key_text(_secret(settings.agi_secret, "agi_secret").get_secret_value(), node))


def check(settings: Settings, room: Role) -> "CheckSettings":
    """Check routing, as this room: the routers' own snapshots, and where those of other moments are built."""
    from router.check import CheckSettings

    live = _snapshot(settings, room)
    return CheckSettings(live=live, directory=settings.home / "check", lookup_tokens=settings.lookup_tokens)


def agent(settings: Settings, node: str) -> "AgentSettings":
    """The agent of a node. The AMI of a node that runs here is on loopback."""
    from agent.settings import AgentSettings

    places = Places(settings)
    ours = node in (*settings.asterisk_nodes, *settings.simulated_nodes)
    return AgentSettings(
        node=node,
        directory=places.node(node),
        kafka=kafka(settings, "agent"),
        postgres=postgres(settings, "agent"),
        ami_host=LOOPBACK if ours else settings.ami_host,
        ami_port=settings.ami_port_of(node),
        ami_user=settings.ami_user,
        ami_secret=_secret(settings.ami_secret, "ami_secret"),
        ami_run_by=home_user(settings.home) if ours else None,
        hep_host=settings.hep_host,
        hep_port=settings.hep_port_of(node),
        hep_secret=_hep_secret(settings),
        sip_hosts=tuple(filter(None, (settings.sip_host, settings.sip_host_ipv6))),
        sip_port=settings.sip_port,
        beat=places.beat(f"node-agent-{node}"),
        disk_reserve_bytes=settings.disk_reserve_megabytes << 20,
        rotate_bytes=settings.journal_megabytes << 20,
        keep_journal_seconds=settings.journal_days * 86_400,
    )


def stream_workers(settings: Settings) -> dict[str, str]:
    """The component name of each stream worker, and what it is: ROLE, or ROLE-N from the second of a role on.

    The first of each role keep their names whatever the numbers are: streams-1 billing, streams-2 cdrs, streams-3 live,
    streams-4 quality, streams-5 control.
    """
    further = [f"billing-{number}" for number in range(1, settings.billing_workers)]
    further += [f"cdrs-{number}" for number in range(1, settings.cdrs_workers)]
    return {f"streams-{number}": which for number, which in enumerate((*STREAM_ROLES, *further), start=1)}


def streams(settings: Settings, which: str) -> "StreamsSettings":
    """The stream worker `which`: ROLE, or ROLE-N. Raises SettingsError for one that these settings do not have."""
    from streams.settings import StreamsSettings

    places = Places(settings)
    names = {what: name for name, what in stream_workers(settings).items()}
    if which not in names:
        raise SettingsError(f"stream worker {which!r}: must be one of {', '.join(names)}")
    role, _, instance = which.partition("-")
    return StreamsSettings.model_validate(
        {
            "role": role,
            "instance": int(instance or 0),
            "kafka": kafka(settings, role),
            "postgres": postgres(settings, "streams") if role != "quality" else None,
            "clickhouse": clickhouse(settings, "streams") if role == "cdrs" else None,
            "data_directory": places.streams / which,
            "beat": places.beat(names[which]),
            "control_webhook": settings.control_webhook if role == "control" else None,
            "quality_window_seconds": settings.quality_window_seconds,
            "max_peer_letters": settings.peer_dead_letters,
        }
    )


def auditor(settings: Settings) -> "AuditorSettings":
    """The continuous audit."""
    from sinks.audit.continuous.settings import AuditorSettings

    return AuditorSettings(
        postgres=postgres(settings, "auditor"),
        kafka=kafka(settings, "auditor"),
        clickhouse=clickhouse(settings, "auditor"),
        beat=Places(settings).beat("auditor"),
        every_seconds=settings.audit_seconds,
        topic_seconds=settings.topic_days * 86_400.0,
    )


def dashboards(settings: Settings) -> "DashboardsSettings":
    """The dashboards."""
    from dashboards.settings import DashboardsSettings

    return DashboardsSettings(
        postgres=postgres(settings, "dashboards"),
        kafka=kafka(settings, "dashboards"),
        clickhouse=clickhouse(settings, "dashboards"),
        secret_key=_secret(settings.dashboards_secret_key, "dashboards_secret_key"),
        host=settings.dashboards_host,
        port=settings.dashboards_port,
        behind_https=settings.dashboards_behind_https,
        metrics=Places(settings).beat("dashboards").with_suffix(".prom"),
        check=check(settings, "dashboards"),
    )


def simulator(settings: Settings, **options: object) -> "SimulatorSettings":
    """The simulator, playing `simulated_nodes`. `options` are fields of its settings that the caller decides."""
    from simulator.settings import SimulatedNode, SimulatorSettings

    places = Places(settings)
    values: dict[str, object] = {
        "postgres": postgres(settings, "simulator"),
        "nodes": tuple(
            SimulatedNode(
                name=node,
                ami_port=settings.ami_port_of(node),
                directory=places.node(node),
                agi_key=node_key(settings, node),
            )
            for node in settings.simulated_nodes
        ),
        "router_host": LOOPBACK,
        "router_port": settings.router_port,
        "ami_user": settings.ami_user,
        "ami_secret": _secret(settings.ami_secret, "ami_secret"),
        "cps": settings.simulator_cps,
        "seed": settings.simulator_seed,
        "talk_seconds": settings.simulator_talk_seconds,
        "incidents": settings.simulator_incidents,
        "beat": places.beat("simulator"),
    }
    return SimulatorSettings.model_validate(values | options)


def asterisk(settings: Settings, node: str) -> "NodeSettings":
    """The Asterisk of a node that we run."""
    from configuration.settings import NodeSettings

    places = Places(settings)
    return NodeSettings(
        node=node,
        directory=places.node(node),
        postgres=postgres(settings, "asterisk"),
        router=settings.asterisk_router or f"{LOOPBACK}:{settings.router_port}",
        agi_key=settings.agi_node_key or node_key(settings, node),
        ami_host=settings.ami_host,
        ami_port=settings.ami_port_of(node),
        ami_user=settings.ami_user,
        ami_secret=_secret(settings.ami_secret, "ami_secret"),
        ami_permit=settings.ami_permit,
        sip_host=settings.sip_host,
        sip_host_ipv6=settings.sip_host_ipv6,
        sip_port=settings.sip_port,
        external_signaling_address=settings.external_signaling_address,
        external_media_address=settings.external_media_address,
        local_networks=settings.local_networks,
        rtp_port_first=settings.rtp_port_first,
        rtp_port_last=settings.rtp_port_last,
        hep_port=settings.hep_port_of(node),
        hep_secret=_hep_secret(settings),
        cache=user_cache_directory(),
        beat=places.beat(f"asterisk-{node}"),
    )


def trickle(settings: Settings) -> "TrickleSettings":
    """SIPp's calls to the Asterisk that we run."""
    from configuration.settings import TrickleSettings

    return TrickleSettings(
        directory=settings.home / "trickle",
        node_host=settings.sip_host,
        node_port=settings.sip_port,
        calls_per_second=settings.trickle_cps,
        cache=user_cache_directory(),
        beat=Places(settings).beat("trickle"),
    )


def audit(settings: Settings) -> "AuditSettings":
    """The audit: every store, and the journals of every node of this home."""
    from sinks.audit.full.audit import AuditSettings

    nodes = sorted({*settings.nodes, *(path.name for path in (settings.home / "nodes").glob("*") if path.is_dir())})
    return AuditSettings(
        postgres=postgres(settings, "cli"),
        kafka=kafka(settings, "cli"),
        clickhouse=clickhouse(settings, "audit"),
        journals={node: Places(settings).node(node) / "journal" for node in nodes},
    )
