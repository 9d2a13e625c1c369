"""The configuration files of a node for an Asterisk that the user runs himself."""

import os
import time
from pathlib import Path

import psycopg

from configuration.asterisk.reader import read_peers, report_transports
from configuration.asterisk.render import Places as AsteriskPlaces
from configuration.asterisk.render import RenderError, render
from runtime.user_acts import Person, write_act
from schemas.agi_digest import KEY_FILE
from sinks.epochs import EpochError, issue_epoch
from streamco import rooms
from streamco.places import Places
from streamco.settings import PREFIX, Settings, SettingsError

# The machine's Asterisk has its own of these.
_NOT_OURS = ("asterisk.conf", "logger.conf", "modules.conf")


def write_files(settings: Settings, node: str, output: Path, by: Person) -> list[str]:
    """Write the files into an existing directory (0600: a secret is in them); what the user has to do besides. It is an
    act of `by`.

    Raises SettingsError when the node, the directory or the database cannot be used.
    """
    if node not in settings.nodes:
        raise SettingsError(f"node {node!r}: must be one of {PREFIX}NODES {settings.nodes}")
    if not output.is_dir():
        raise SettingsError(f"--output {str(output)!r}: must be a directory that exists")
    directory = Places(settings).node(node)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "journal").mkdir(exist_ok=True)
    node_settings = rooms.asterisk(settings, node)
    try:
        with psycopg.connect(rooms.postgres(settings, "cli").dsn.get_secret_value(), connect_timeout=5) as connection:
            report_transports(connection, node_settings)
            peers = read_peers(connection, node)
            epoch = issue_epoch(directory, int(time.time()))
            places = AsteriskPlaces(etc=str(output), run="unused", modules="unused", data="unused", sbin="unused")
            texts = render(node_settings, peers, places, epoch)
            for name in sorted(texts.keys() - set(_NOT_OURS)):
                _write(output / name, texts[name])
            write_act(connection, by, "nodes", "asterisk files", node, f"epoch {epoch}")
    except psycopg.Error as error:
        raise SettingsError(f"PostgreSQL does not answer: {str(error).strip()[:300]}") from error
    except (RenderError, EpochError) as error:
        raise SettingsError(str(error)) from error
    except OSError as error:
        raise SettingsError(f"--output {str(output)!r}: {error.strerror}") from error
    return [
        f"{len(texts) - len(_NOT_OURS)} files written, {len(peers)} peers, epoch {epoch}",
        f"in asterisk.conf, [options]:   systemname = {node}, and live_dangerously = no (the default)",
        "its modules:                    those of modules.conf; func_env and func_sha1 sign its sessions",
        f"its user must be able to read:  {output / KEY_FILE}, which nobody else may",
        f"the journal, once:             ln -sfn {directory / 'journal'} ASTLOGDIR/cel-custom",
        "before every start of Asterisk: this command again (each start needs an epoch of its own)",
        "after a change of peers:        this command with another --output, and pjsip.conf copied; then pjsip reload",
    ]


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.replace(path)
