"""What a router knows from PostgreSQL beside its calls, such as full limits and stopped peers: read again and again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

DATABASE_DOWN: Final = (psycopg.Error, PoolTimeout, TimeoutError, OSError)
"""What may go wrong between a router and PostgreSQL."""


async def poll(read: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Read until cancelled, with so many seconds between one reading and the next. `read` raises nothing."""
    while True:
        await read()
        await asyncio.sleep(seconds)
