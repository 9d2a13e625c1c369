"""Channels of PostgreSQL's NOTIFY: what is announced on each, and with what payload."""

from typing import Final

CONFIGURATION: Final = "streamco_configuration"
"""A generation of the configuration is committed; the payload is its number.

Sent by schemas/postgres/functions/configuration_changed.sql, which a test holds against this name.
"""
