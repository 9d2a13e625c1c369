"""Random draws without randomness: a number for each call and vendor, from the call's seed. Pure.

The seed comes from the call's id, so a decision that is made again from what is stored draws the same.
"""

import zlib
from typing import Any, Final

import numpy
from numpy.typing import NDArray

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15  # the steps of splitmix64 (Steele, Lea, Flood 2014), whose finaliser mixes below
_FIRST: Final = numpy.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = numpy.uint64(0x94D049BB133111EB)
_30, _27, _31 = (numpy.uint64(bits) for bits in (30, 27, 31))
RANDOM: Final = 1  # what is drawn for: two metrics of one call draw apart
PORTION: Final = 2


def seed_of(call_id: str) -> int:
    """The seed of a call."""
    return zlib.crc32(call_id.encode())


def salts(peer_ids: list[int]) -> NDArray[Any]:
    """What stands for the vendors in their draws."""
    return numpy.array([peer_id * _GOLDEN & _MASK for peer_id in peer_ids], dtype=numpy.uint64)


def draws(salt: NDArray[Any], seed: int, purpose: int) -> NDArray[Any]:
    """For each salt 63 even bits, independent of the others, of other seeds and other purposes."""
    mixed = salt + numpy.uint64((seed * 0xD1342543DE82EF95 + purpose * 0xDA942042E4DD58B5) & _MASK)
    mixed ^= mixed >> _30
    mixed *= _FIRST
    mixed ^= mixed >> _27
    mixed *= _SECOND
    mixed ^= mixed >> _31
    return (mixed >> numpy.uint64(1)).view(numpy.int64)


def waits(salt: NDArray[Any], seed: int) -> NDArray[Any]:
    """For each salt the time that a clock of rate one takes to its first tick: above 0.

    Divided by portions, the first to tick is each with the probability of its portion among them all, and so on among
    those left (Efraimidis and Spirakis 2006): in this order portions are kept, whoever else drops out.
    """
    even = ((draws(salt, seed, PORTION) >> 11) + 0.5) / (1 << 52)  # of 52 bits: neither 0 nor 1
    found: NDArray[Any] = -numpy.log(even)
    return found
