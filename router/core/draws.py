"""Random draws without randomness: a number for each call and vendor, from the call's seed. Pure.

The seed comes from the call's id, so a decision that is made again from what is stored draws the same.
"""

import zlib
from typing import Any, Final

import numpy
from numpy.typing import NDArray

RANDOM: Final = 1  # what is drawn for: two metrics of one call draw apart
PORTION: Final = 2
_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_ODD: Final = numpy.uint64(0xD1342543DE82EF95)  # a multiplier with a good spectrum (Steele and Vigna 2021)
_12: Final = numpy.uint64(12)
_STEP: Final = 2.0**-52


def seed_of(call_id: str) -> int:
    """The seed of a call."""
    return zlib.crc32(call_id.encode())


def salts(peer_ids: list[int]) -> NDArray[Any]:
    """What stands for the vendors in their draws."""
    return numpy.array([_mixed(peer_id) for peer_id in peer_ids], dtype=numpy.uint64)


def draws(salt: NDArray[Any], seed: int, purpose: int) -> NDArray[Any]:
    """For each salt 64 bits, even, and apart from those of other salts, seeds and purposes.

    Seed and salts are well mixed each: to bring them together one multiplication of the whole array is enough.
    """
    found: NDArray[Any] = (salt ^ numpy.uint64(_mixed(_mixed(seed) + purpose))) * _ODD
    return found


def waits(salt: NDArray[Any], seed: int) -> NDArray[Any]:
    """For each salt the time that a clock of rate one takes to its first tick: above 0.

    Divided by portions, the first to tick is each with the probability of its portion among them all, and so on among
    those left (Efraimidis and Spirakis 2006): in this order portions are kept, whoever else drops out.
    """
    even = (draws(salt, seed, PORTION) >> _12).astype(numpy.float64) * _STEP + _STEP / 2  # neither 0 nor 1
    found: NDArray[Any] = -numpy.log(even)
    return found


def _mixed(value: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014) over a step of its sequence."""
    value = (value * _GOLDEN + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
