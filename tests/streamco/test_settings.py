"""Settings: checked whole, named in the error, handed on to children without loss."""

import json
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from psycopg.conninfo import conninfo_to_dict

from schemas.postgres_roles import ROLES
from streamco import rooms, stack
from streamco.embedded.ports import require_free_port
from streamco.embedded.server import ServerError
from streamco.embedded.temporary import free_port
from streamco.secret_store import NAMES, change_agi_secret, with_secrets
from streamco.settings import SECRET_SETTINGS, Settings, SettingsError, read_settings


def test_defaults_are_on_loopback_and_below_the_ephemeral_ports() -> None:
    settings = read_settings({})
    assert settings.router_host == settings.dashboards_host == "127.0.0.1"
    assert all(1024 < port < 32768 for port in settings.ports().values())


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"STREAMCO_SIP_HOST": "::1"}, ["STREAMCO_SIP_HOST '::1': must be an IPv4 address, is IPv6"]),
        ({"STREAMCO_SIP_HOST_IPV6": "x"}, ["STREAMCO_SIP_HOST_IPV6 'x': must be an IPv6 address"]),
        (
            {"STREAMCO_LOCAL_NETWORKS": "10.0.0.1/8", "STREAMCO_EXTERNAL_MEDIA_ADDRESS": "203.0.113.5"},
            ["STREAMCO_LOCAL_NETWORKS '10.0.0.1/8': must be an IPv4 address or network"],
        ),
        (
            {"STREAMCO_LOCAL_NETWORKS": "10.0.0.0/8, 192.0.2.1"},
            ["STREAMCO_LOCAL_NETWORKS '10.0.0.0/8,192.0.2.1/32': must be given with STREAMCO_EXTERNAL_"],
        ),
        (
            {"STREAMCO_EXTERNAL_SIGNALING_ADDRESS": "203.0.113.5"},
            ["STREAMCO_LOCAL_NETWORKS '': must be given with STREAMCO_EXTERNAL_SIGNALING_ADDRESS"],
        ),
        ({"STREAMCO_ROUTER_PORT": "99999"}, ["STREAMCO_ROUTER_PORT", "99999", "32767"]),
        ({"STREAMCO_ROUTER_PORT": "abc"}, ["STREAMCO_ROUTER_PORT", "abc", "integer"]),
        ({"STREAMCO_ROUTER_PROT": "14573"}, ["STREAMCO_ROUTER_PROT", "no such setting"]),
        ({"STREAMCO_KAFKA_BOOTSTRAP": "nohost"}, ["STREAMCO_KAFKA_BOOTSTRAP", "nohost", "form"]),
        ({"STREAMCO_NODES": "ast1,ast1"}, ["STREAMCO_NODES", "different"]),
        ({"STREAMCO_NODES": "AST/1"}, ["STREAMCO_NODES", "AST/1", "form"]),
        ({"STREAMCO_SIMULATED_NODES": "sim1"}, ["STREAMCO_SIMULATED_NODES", "sim1", "STREAMCO_NODES"]),
        ({"STREAMCO_ROUTER_PORT": "18050"}, ["18050", "STREAMCO_ROUTER_PORT", "STREAMCO_DASHBOARDS_PORT"]),
        ({"STREAMCO_HOME": "relative"}, ["STREAMCO_HOME", "relative", "absolute"]),
        ({"STREAMCO_CLICKHOUSE_READER_USER": "streamco"}, ["STREAMCO_CLICKHOUSE_READER_USER 'streamco': must not be"]),
        ({"STREAMCO_BILLING_WORKERS": "9"}, ["STREAMCO_BILLING_WORKERS", "9", "8"]),
        (
            {"STREAMCO_CDRS_WORKERS": "4", "STREAMCO_KAFKA_PARTITIONS": "2"},
            ["STREAMCO_CDRS_WORKERS 4", "STREAMCO_KAFKA_PARTITIONS (2)"],
        ),
        ({"STREAMCO_POSTGRES_PASSWORD": "short"}, ["STREAMCO_POSTGRES_PASSWORD", "8"]),
    ],
)
def test_a_wrong_setting_is_named_with_value_and_rule(environment: dict[str, str], said: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)
    assert all(word in str(caught.value) for word in said), str(caught.value)


def test_a_secret_is_never_shown_in_an_error() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"STREAMCO_POSTGRES_PASSWORD": "hunter2"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError, match="STREAMCO_LOOKUP_TOKENS: ") as caught:
        read_settings({"STREAMCO_LOOKUP_TOKENS": "no object, s3cret"})
    assert "s3cret" not in str(caught.value)


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"STREAMCO_ROUTER_PORT": "1", "STREAMCO_KAFKA_PORT": "2"})
    assert str(caught.value).count("\n") == 1


def test_a_setting_that_holds_a_secret_has_the_type_of_one() -> None:
    words = ("password", "secret", "dsn", "webhook", "token", "agi_")
    assert {name for name in Settings.model_fields if any(word in name for word in words)} == SECRET_SETTINGS
    assert set(NAMES) <= SECRET_SETTINGS


@pytest.mark.parametrize("name", sorted(SECRET_SETTINGS))
def test_every_secret_may_be_in_a_file(tmp_path: Path, name: str) -> None:
    variable, path = f"STREAMCO_{name.upper()}", tmp_path / "secret"
    texts = {
        "lookup_tokens": '{"NPAC": "s3cret"}',
        "postgres_dsn": "postgresql://u:s3cret@db.example/streamco",
        "agi_previous": "1795609900:s3cret of before",
        "agi_node_key": "0123456789abcdef" * 8,
    }
    text = texts.get(name, f"https://{'s3cret' * 8}")
    path.write_text(f"{text}\n")
    login = {"STREAMCO_KAFKA_BOOTSTRAP": "k:9092", "STREAMCO_KAFKA_MECHANISM": "PLAIN", "STREAMCO_KAFKA_USER": "voip"}
    beside = login if name == "kafka_password" else {}  # a password of nobody is an error
    assert read_settings({f"{variable}_FILE": str(path), **beside}) == read_settings({variable: text, **beside})
    with pytest.raises(SettingsError, match=f"{variable}_FILE: must not be set beside {variable}"):
        read_settings({f"{variable}_FILE": str(path), variable: text})
    for content, rule in ((b"", "must hold 1 to"), (b"x" * 65_537, "must hold 1 to"), (b"\xff" * 40, "is not UTF-8")):
        path.write_bytes(content)
        with pytest.raises(SettingsError, match=f"{variable}_FILE .*secret'.*{rule}"):
            read_settings({f"{variable}_FILE": str(path)})
    with pytest.raises(SettingsError, match=f"{variable}_FILE .*No such file"):
        read_settings({f"{variable}_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("postgresql://own:s3cret@db.example:5433/calls?sslmode=verify-full", "host=db.example port=5433 dbname=calls"),
        ("postgresql://own:s3cret@db.example", "host=db.example dbname=own"),
        ("host=db.example user=own password=s3cret dbname=calls passfile=/x sslkey=/y", "host=db.example dbname=calls"),
    ],
)
def test_each_process_is_told_where_postgresql_is_and_not_as_whom(given: str, address: str) -> None:
    settings = read_settings({"STREAMCO_POSTGRES_DSN": given})
    found = conninfo_to_dict(settings.postgres_address or "")
    assert conninfo_to_dict(address).items() <= found.items()
    assert not {"user", "password", "passfile", "sslkey"} & found.keys()
    assert ("sslmode" in found) == ("sslmode" in given)
    assert "STREAMCO_POSTGRES_PORT" not in settings.ports()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"STREAMCO_POSTGRES_DSN": "s3cret and no connection string"}, "STREAMCO_POSTGRES_DSN: must be a libpq"),
        ({"STREAMCO_POSTGRES_DSN": "host=db.example password=s3cret"}, "STREAMCO_POSTGRES_DSN: must name the database"),
        (
            {"STREAMCO_POSTGRES_ADDRESS": "postgresql://db.example/calls?password=s3cret"},
            "STREAMCO_POSTGRES_ADDRESS: must not hold a password: each process has a role of its own",
        ),
        ({"STREAMCO_POSTGRES_ADDRESS": "host=db.example"}, "STREAMCO_POSTGRES_ADDRESS: must name the database"),
    ],
)
def test_a_wrong_connection_string_is_named_and_not_shown(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read_settings(environment)
    assert "s3cret" not in str(caught.value)


def test_each_room_has_a_role_and_a_password_of_its_own(tmp_path: Path) -> None:
    home = {"STREAMCO_HOME": str(tmp_path)}
    for more, host, database in (
        ({}, "127.0.0.1", "streamco"),
        ({"STREAMCO_POSTGRES_ADDRESS": "host=db dbname=c"}, "db", "c"),
    ):
        settings = with_secrets(read_settings({**home, **more}))
        found = [conninfo_to_dict(rooms.postgres(settings, room).dsn.get_secret_value()) for room in ROLES]
        assert [one["user"] for one in found] == [f"{database}_{room}" for room in ROLES]
        assert {(one["host"], one["dbname"]) for one in found} == {(host, database)}
        assert len({one["password"] for one in found}) == len(ROLES)
    with pytest.raises(SettingsError, match="STREAMCO_POSTGRES_DSN: this process needs it"):
        stack.stores(settings)


def test_no_other_setting_may_be_in_a_file() -> None:
    with pytest.raises(SettingsError, match="STREAMCO_ROUTER_PORT_FILE: there is no such setting"):
        read_settings({"STREAMCO_ROUTER_PORT_FILE": "/tmp/port"})  # noqa: S108 - never opened


def test_the_password_of_a_clickhouse_elsewhere_is_not_made_up(tmp_path: Path) -> None:
    settings = read_settings({"STREAMCO_HOME": str(tmp_path), "STREAMCO_CLICKHOUSE_URL": "http://ch:8123"})
    for kind in (None, "auditor"):
        with pytest.raises(SettingsError, match="STREAMCO_CLICKHOUSE_PASSWORD: must be set with"):
            with_secrets(settings, kind)
    assert with_secrets(settings, "router").clickhouse_password is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"STREAMCO_HEP_PORT": "15060"}, "15060: must not be the port of STREAMCO_HEP_PORT (of node ast1)"),
        (
            {"STREAMCO_HEP_PORT": "15059", "STREAMCO_NODES": "other,ast1"},
            "must not be the port of STREAMCO_HEP_PORT (of",
        ),
        ({"STREAMCO_HEP_PORT": "20500"}, "(of node ast1) 20500: must not be one of the RTP ports (20000 to 29999)"),
        ({"STREAMCO_SIP_PORT": "29999"}, "STREAMCO_SIP_PORT 29999: must not be one of the RTP ports"),
        ({"STREAMCO_HEP_HOST": "203.0.113.9"}, "STREAMCO_HEP_HOST '203.0.113.9'"),
    ],
)
def test_ports_of_copies_sip_and_rtp_are_different(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        read_settings({"STREAMCO_NODES": "ast1", "STREAMCO_ASTERISK_NODES": "ast1", **environment})


def test_a_busy_udp_port_is_said_with_its_holder() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as own:
        port = free_port()
        own.bind(("127.0.0.1", port))
        with pytest.raises(ServerError, match=f"UDP port {port} for it is not free: process {os.getpid()}"):
            require_free_port("it", port, udp=True)
        require_free_port("it", port)


def test_ami_ports_count_up_with_the_nodes() -> None:
    settings = read_settings({"STREAMCO_NODES": "sim1,sim2,ast1"})
    assert [settings.ami_port_of(node) for node in settings.nodes] == [15038, 15039, 15040]


def test_who_only_reads_clickhouse_has_the_login_that_reads(tmp_path: Path) -> None:
    home = {"STREAMCO_HOME": str(tmp_path)}
    settings = with_secrets(read_settings(home))
    owner = rooms.clickhouse_server_settings(settings)
    for room in rooms.CLICKHOUSE_READERS:
        login = rooms.clickhouse(settings, room)
        assert (login.user, login.password) == (owner.reader_user, owner.reader_password)
    for room in ("streams", "auditor", "migrations"):
        login = rooms.clickhouse(settings, room)
        assert (login.user, login.password) == (owner.user, owner.password)
    assert owner.password != owner.reader_password
    server = {**home, "STREAMCO_CLICKHOUSE_URL": "http://ch:8123", "STREAMCO_CLICKHOUSE_PASSWORD": "long enough"}
    assert rooms.clickhouse(with_secrets(read_settings(server)), "dashboards").user == "streamco"
    server |= {"STREAMCO_CLICKHOUSE_READER_USER": "reader", "STREAMCO_CLICKHOUSE_READER_PASSWORD": "long as well"}
    reading = rooms.clickhouse(with_secrets(read_settings(server)), "dashboards")
    assert (reading.user, reading.password.get_secret_value()) == ("reader", "long as well")


def test_secrets_are_made_once_for_us_alone_and_the_environment_wins(tmp_path: Path) -> None:
    environment = {"STREAMCO_HOME": str(tmp_path / "home")}
    first = with_secrets(read_settings(environment))
    again = with_secrets(read_settings(environment))
    assert first == again
    assert len({getattr(first, name).get_secret_value() for name in NAMES}) == len(NAMES)
    file = tmp_path / "home" / "secrets.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    own = with_secrets(read_settings(environment | {"STREAMCO_AMI_SECRET": "from outside"}))
    assert own.ami_secret is not None
    assert own.ami_secret.get_secret_value() == "from outside"
    assert own.postgres_password == first.postgres_password
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="0600"):
        with_secrets(read_settings(environment))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            '{"ami_secret": "hidden\\u0000hidden"}',
            "ami_secret: must be a text of at least 8 characters that can be printed",
        ),
        ("[" * 100_000, "is not JSON"),
        ("\udcffhidden", "is not JSON"),
        ('{"ami_secret": null}', "ami_secret: must be a text of at least 8 characters"),
        ('{"ami_secret": "short"}', "ami_secret: must be a text of at least 8 characters"),
        ('{"agi_secret": 12345678901}', "agi_secret: must be a text of at least 8 characters"),
        ('{"postgres_password": ["hidden-hidden"]}', "postgres_password: must be a text of at least 8 characters"),
        (
            '{"dashboards_secret_key": "hidden-hidden"}',
            "dashboards_secret_key: must be a text of at least 32 characters",
        ),
        ("[]", "must be a JSON object of secrets by their names"),
        ('"hidden-hidden"', "must be a JSON object of secrets by their names"),
        ('{"ami_secret": "hidden-hidden', "is not JSON"),
    ],
)
def test_a_file_of_secrets_that_somebody_wrote_is_used_only_with_secrets_in_it(
    tmp_path: Path, text: str, rule: str
) -> None:
    file = tmp_path / "secrets.json"
    held = text.encode(errors="surrogateescape")
    file.write_bytes(held)
    file.chmod(0o600)
    with pytest.raises(SettingsError) as raised:
        with_secrets(read_settings({"STREAMCO_HOME": str(tmp_path)}))
    assert str(raised.value).startswith(f"{file}: {rule}")
    assert "hidden" not in str(raised.value)
    assert file.read_bytes() == held


def test_passwords_are_told_to_servers_of_the_homes_user_alone(tmp_path: Path) -> None:
    home = {"STREAMCO_HOME": str(tmp_path), "STREAMCO_NODES": "ours,theirs", "STREAMCO_SIMULATED_NODES": "ours"}
    settings, user = with_secrets(read_settings(home)), tmp_path.stat().st_uid
    assert rooms.clickhouse(settings, "dashboards").run_by == user
    assert [rooms.agent(settings, node).ami_run_by for node in ("ours", "theirs")] == [user, None]
    server = {"STREAMCO_CLICKHOUSE_URL": "http://127.0.0.1:8123", "STREAMCO_CLICKHOUSE_PASSWORD": "long enough"}
    assert rooms.clickhouse(with_secrets(read_settings(home | server)), "auditor").run_by is None


def test_what_is_no_file_of_ours_holds_no_secrets(tmp_path: Path) -> None:
    home, file = {"STREAMCO_HOME": str(tmp_path)}, tmp_path / "secrets.json"
    os.mkfifo(file, 0o600)
    with pytest.raises(SettingsError, match=r"secrets.json: must be a file"):
        with_secrets(read_settings(home))
    file.unlink()
    (tmp_path / "secrets.part").symlink_to(tmp_path / "elsewhere")
    with_secrets(read_settings(home))
    assert not (tmp_path / "elsewhere").exists()
    if os.geteuid() == 0:  # who else may give files away
        os.chown(file, 65_534, 65_534)
        with pytest.raises(SettingsError, match=r"secrets.json: belongs to user 65534, who may read"):
            with_secrets(read_settings(home))


def test_a_link_in_the_place_of_the_secrets_is_named(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match=r"STREAMCO_HOME '.*': .*/secrets.json: Too many levels of symbolic links"):
        with_secrets(read_settings({"STREAMCO_HOME": str(tmp_path)}))
    assert not (tmp_path / "elsewhere").exists()


def test_the_first_worker_of_each_role_keeps_its_name_and_further_ones_come_after(tmp_path: Path) -> None:
    home = {"STREAMCO_HOME": str(tmp_path)}
    assert rooms.stream_workers(read_settings(home)) == {
        "streams-1": "billing", "streams-2": "cdrs", "streams-3": "live", "streams-4": "quality",
        "streams-5": "control",
    }  # fmt: skip
    settings = with_secrets(read_settings({**home, "STREAMCO_BILLING_WORKERS": "3", "STREAMCO_CDRS_WORKERS": "2"}))
    workers = rooms.stream_workers(settings)
    assert workers == {
        "streams-1": "billing", "streams-2": "cdrs", "streams-3": "live", "streams-4": "quality",
        "streams-5": "control", "streams-6": "billing-1", "streams-7": "billing-2", "streams-8": "cdrs-1",
    }  # fmt: skip
    made = {name: rooms.streams(settings, which) for name, which in workers.items()}
    # Each its own place in the group, its own directory, and the beat that the supervisor asks for.
    assert len({(one.role, one.instance) for one in made.values()}) == 8
    assert len({one.data_directory for one in made.values()}) == 8
    assert {name: one.beat for name, one in made.items()} == {name: tmp_path / "run" / f"{name}.beat" for name in made}
    components = {one.name: one for one in stack.processes(settings) if one.name.startswith("streams-")}
    assert {name: one.argv[-2:] for name, one in components.items()} == {
        name: ("streams", which) for name, which in workers.items()
    }
    assert components["streams-8"].needs == components["streams-2"].needs == ("postgres", "kafka", "clickhouse")
    with pytest.raises(SettingsError, match="billing-3"):
        rooms.streams(settings, "billing-3")


def test_several_routers_share_a_listener_and_nothing_else(tmp_path: Path) -> None:
    one = with_secrets(read_settings({"STREAMCO_HOME": str(tmp_path)}))
    assert stack.open_listener(one) is None
    assert [component.name for component in stack.routers(one)] == ["router"]
    port = str(free_port())
    settings = with_secrets(
        read_settings({"STREAMCO_HOME": str(tmp_path), "STREAMCO_ROUTER_PROCESSES": "3", "STREAMCO_ROUTER_PORT": port})
    )
    with stack.open_listener(settings) or pytest.fail("no listener") as listener:
        components = stack.routers(settings, listener)
        assert [component.name for component in components] == ["router", "router-2", "router-3"]
        assert {component.inherits for component in components} == {(listener.fileno(),)}
        assert [component.argv[-2:] for component in components][2] == ("router", f"3@{listener.fileno()}")
    told = [rooms.router(settings, number, 7) for number in (1, 2, 3)]
    assert len({one.spool for one in told}) == len({one.beat for one in told}) == 3
    assert {one.snapshot.directory for one in told} == {tmp_path / "router" / "snapshot"}
    assert sum(one.admission_connections for one in told) <= 8


def test_a_home_of_before_gets_the_secret_of_the_nodes_keys(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = read_settings({"STREAMCO_HOME": str(home)})
    first = with_secrets(settings)
    held = json.loads((home / "secrets.json").read_text())
    (home / "secrets.json").write_text(json.dumps({name: held[name] for name in NAMES if name != "agi_secret"}))
    again = with_secrets(settings)
    assert again.agi_secret not in (None, first.agi_secret)
    assert again.model_copy(update={"agi_secret": first.agi_secret}) == first
    assert with_secrets(settings) == again


def test_the_secret_of_the_nodes_keys_is_changed_and_the_one_before_counts_for_a_time(tmp_path: Path) -> None:
    settings = read_settings({"STREAMCO_HOME": str(tmp_path / "home"), "STREAMCO_NODES": "ast1"})
    first = with_secrets(settings)
    assert first.agi_secret is not None
    assert rooms.router(first).agi_secrets(0) == (first.agi_secret.get_secret_value(),)
    change_agi_secret(settings, 2_000_000_000, 1_999_900_000)
    second = with_secrets(settings)
    assert second.agi_secret not in (None, first.agi_secret)
    assert second.model_copy(update={"agi_secret": first.agi_secret, "agi_previous": None}) == first
    told = rooms.router(with_secrets(settings, "router"))
    assert told.agi_secrets(1_999_999_999.9) == (
        second.agi_secret.get_secret_value(),  # type: ignore[union-attr]
        first.agi_secret.get_secret_value(),
    )
    assert told.agi_secrets(2_000_000_000) == (second.agi_secret.get_secret_value(),)  # type: ignore[union-attr]
    assert rooms.node_key(second, "ast1") != rooms.node_key(first, "ast1")
    with pytest.raises(SettingsError, match="counts until 2033-05-18 03:33:20 UTC"):
        change_agi_secret(settings, 2_000_000_001, 1_999_999_999)
    assert with_secrets(settings) == second
    change_agi_secret(settings, 2_000_000_001, 1_999_999_999, at_once=True)
    third = with_secrets(settings).agi_previous
    assert third is not None
    assert third.get_secret_value() == f"2000000001:{second.agi_secret.get_secret_value()}"  # type: ignore[union-attr]
    outside = read_settings({"STREAMCO_HOME": str(tmp_path / "home"), "STREAMCO_AGI_SECRET": "from outside"})
    assert with_secrets(outside).agi_previous is None
    with pytest.raises(SettingsError, match="STREAMCO_AGI_SECRET: is set"):
        change_agi_secret(outside, 2_000_000_000, 1_999_900_000)


def test_commands_at_the_same_moment_make_one_set_of_secrets(tmp_path: Path) -> None:
    """Who waited for the file would find the one before it, and put secrets of its own over those in use."""
    several = 8
    with ThreadPoolExecutor(several) as pool:
        for turn in range(20):
            settings, ready = read_settings({"STREAMCO_HOME": str(tmp_path / f"home{turn}")}), Barrier(several)

            def made(settings: Settings = settings, ready: Barrier = ready) -> Settings:
                ready.wait(30)
                return with_secrets(settings)

            found = [one.result() for one in [pool.submit(made) for _ in range(several)]]
            assert all(one == found[0] for one in found)


@pytest.mark.parametrize("text", ["secret", "x:a secret", "17950000000:a secret", "1795000000:short"])
def test_a_wrong_secret_of_before_is_an_error_that_does_not_show_it(text: str) -> None:
    with pytest.raises(SettingsError, match=r"STREAMCO_AGI_PREVIOUS: must be of the form UNTIL:SECRET") as caught:
        read_settings({"STREAMCO_AGI_PREVIOUS": text})
    assert text not in str(caught.value)


def test_a_machine_of_an_asterisk_alone_needs_its_key_alone(tmp_path: Path) -> None:
    key = "0123456789abcdef" * 8
    settings = read_settings({"STREAMCO_HOME": str(tmp_path), "STREAMCO_AGI_NODE_KEY": key})
    assert rooms.asterisk(with_secrets(settings), "ast1").agi_key.get_secret_value() == key
    with pytest.raises(SettingsError, match=r"STREAMCO_AGI_NODE_KEY: .*128 hexadecimal") as caught:
        read_settings({"STREAMCO_AGI_NODE_KEY": key[1:]})
    assert key[1:] not in str(caught.value)
