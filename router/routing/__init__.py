"""The routing core: (world, request, now) → decision. Pure: no clock, no randomness, no I/O; time comes in.

model.py     the values: what is asked, what is known, what is decided
inbound.py   who calls, which number, at what price, and whether he may
plan.py      how an originator uses his route class
controls.py  what controllers hold in force
choose.py    which vendors, in which order
explain.py   why each other was not taken, worked out when somebody wants to know
decide.py    one after the other
"""

from router.routing.decide import decide
from router.routing.explain import candidates
from router.routing.model import Decision, Priced, Request, Route, World

__all__ = ["Decision", "Priced", "Request", "Route", "World", "candidates", "decide"]
