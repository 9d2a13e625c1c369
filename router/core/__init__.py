"""The routing core: (world, request, now) → decision. Pure: no clock, no randomness, no I/O; time comes in.

model.py     the values: what is asked, what is known, what is decided
inbound.py   who calls, which number, at what price, and whether he may
controls.py  what controllers hold in force
timetable.py when a class or a route is used
plan.py      how an originator uses his route class and its bases, at a time
order.py     the text of an order, read
figures.py   quality as an order compares it
draws.py     what is left to chance
strategy.py  an originator's order, made ready for all his calls
row.py       the row of the matrix that a decision reads
choose.py    which vendors, in which order
rank.py      any order, by one sort
limit_keys.py the keys of limits
words.py     what an order compared, for people
explain.py   why each other was not taken, worked out when somebody wants to know
decide.py    one after the other
"""

from router.core.decide import decide
from router.core.draws import seed_of
from router.core.explain import candidates, candidates_json
from router.core.inbound import look_inbound, lookup_of
from router.core.model import Decision, Priced, Request, Route, World

__all__ = [
    "Decision", "Priced", "Request", "Route", "World", "candidates", "candidates_json", "decide", "look_inbound",
    "lookup_of", "seed_of",
]  # fmt: skip
