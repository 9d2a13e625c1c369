"""The world that calls are switched in: companies, accounts, peers, packs, decks and route classes, into PostgreSQL.

    seed        a made-up world that looks real, by rule and by a seed number
    load        a user's own world from one YAML file, by the same functions
    load_deck   a peer's prices from a CSV file
    load_pool   a pool's numbers from a CSV file
    pay         a payment into the ledger

Every function takes a libpq connection string, does all or nothing in one transaction, and raises WorldError alone:
a list of messages, each naming the field or row, the value and the rule. `by` is the person whose act it is: what is
changed is written beside their name in user_acts, in that transaction; None, and nobody is named.
"""

from configuration.world.decks import DeckResult, load_deck
from configuration.world.errors import WorldError
from configuration.world.load import LoadResult, load
from configuration.world.pay import PayResult, pay
from configuration.world.pools import PoolResult, load_pool
from configuration.world.seed import SEED_SIZES, SeedResult, seed

__all__ = [
    "SEED_SIZES",
    "DeckResult",
    "LoadResult",
    "PayResult",
    "PoolResult",
    "SeedResult",
    "WorldError",
    "load",
    "load_deck",
    "load_pool",
    "pay",
    "seed",
]
