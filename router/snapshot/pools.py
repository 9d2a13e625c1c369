"""Pools of numbers on disk: each a sorted array that routers map, made again only when the pool's version has moved.

A number of up to 15 digits is one integer, its digits and its length, so that 049 is not 49.
"""

import io
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy
import psycopg
import pyarrow
from numpy.typing import NDArray
from pyarrow import csv

from router.snapshot.rules import Pool

MOST_DIGITS: Final = 15
_FOLDER: Final = "pools"
_KEPT: Final = 2  # versions: a router may be about to map the one before
_LENGTHS: Final = 16
_NUMBERS: Final = "COPY (SELECT number::bigint * 16 + length(number) FROM pool_numbers WHERE pool_id = {}) TO STDOUT"

NumberSet = Sequence[int]


def key_of(number: str) -> int:
    """The integer that stands for a number of 1 to 15 digits."""
    return int(number) * _LENGTHS + len(number)


def contains(numbers: NumberSet, number: str) -> bool:
    """Whether a number (digits, or nothing) is in a pool."""
    if not number or len(number) > MOST_DIGITS:
        return False
    key = key_of(number)
    place = bisect_left(numbers, key)
    return place < len(numbers) and numbers[place] == key


def write_pools(connection: psycopg.Connection[Any], directory: Path, pools: Iterable[Pool]) -> None:
    """Write the pools that are not there yet, from the connection's transaction."""
    folder = directory / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for pool in pools:
        path = _path(directory, pool)
        if path.exists():
            continue
        save(path, _read(connection, pool.pool_id))
        others = sorted(folder.glob(f"pool-{pool.pool_id}-*.npy"), key=lambda one: one.stat().st_mtime_ns)
        for old in others[:-_KEPT]:
            old.unlink(missing_ok=True)


def save(path: Path, keys: NDArray[numpy.int64]) -> None:
    """Write the keys of a pool, sorted, whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        numpy.save(file, numpy.sort(keys))
    part.replace(path)


def load_pools(directory: Path, pools: Iterable[Pool]) -> Mapping[int, NumberSet]:
    """Map the pools, by id. Raises OSError where one is gone."""
    return {pool.pool_id: _map(_path(directory, pool)) for pool in pools}


def _path(directory: Path, pool: Pool) -> Path:
    return directory / _FOLDER / f"pool-{pool.pool_id}-{pool.version}.npy"


def _map(path: Path) -> NumberSet:
    try:
        return memoryview(numpy.load(path, mmap_mode="r"))
    except ValueError:  # an empty array cannot be mapped
        return ()


def _read(connection: psycopg.Connection[Any], pool_id: int) -> NDArray[numpy.int64]:
    buffer = io.BytesIO()
    with connection.cursor() as cursor, cursor.copy(_NUMBERS.format(int(pool_id)).encode()) as copy:
        for block in copy:
            buffer.write(block)
    if not buffer.getbuffer().nbytes:
        return numpy.empty(0, dtype=numpy.int64)
    table = csv.read_csv(
        pyarrow.BufferReader(buffer.getvalue()),
        read_options=csv.ReadOptions(column_names=["key"]),
        convert_options=csv.ConvertOptions(column_types={"key": pyarrow.int64()}),
    )
    keys: NDArray[numpy.int64] = table["key"].to_numpy()
    return keys
