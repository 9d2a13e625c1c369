"""Acts of commands whose deed is not in PostgreSQL (a file, Kafka): written down there once they are done.

The act itself needs no PostgreSQL, as somebody may have to be locked out while it is away; then a line says so.
"""

from typing import Final

import click

from streamco import rooms
from streamco.secret_store import with_secrets
from streamco.settings import Settings, SettingsError

_SECONDS: Final = 5
_OPTIONS: Final = f"-c statement_timeout={_SECONDS * 1000}"


def write_down(settings: Settings, area: str, act: str, subject: str, detail: str = "") -> None:
    """Write that whoever runs this command has done something; a line on standard error where that cannot be."""
    import psycopg

    from runtime.user_acts import write_act
    from streamco.person import person

    try:
        dsn = rooms.postgres(with_secrets(settings), "cli").dsn.get_secret_value()
        with psycopg.connect(dsn, connect_timeout=_SECONDS, options=_OPTIONS) as connection:
            write_act(connection, person(), area, act, subject, detail)
    except (psycopg.Error, SettingsError) as error:
        why = str(error).strip().partition("\n")[0][:300]
        click.echo(f"done, but not written down among the acts of users: {why}", err=True)
