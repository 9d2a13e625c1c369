"""The settings of the configuration room: the database that holds what it configures."""

from schemas.connections import Frozen, Postgres


class ConfigurationSettings(Frozen):
    """Where the configuration is."""

    postgres: Postgres
