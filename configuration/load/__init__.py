"""A user's own world, from files into PostgreSQL: companies, accounts, peers, packs, decks and route classes.

    load        from one YAML file
    load_pool   a pool's numbers from a CSV file

Every function takes a libpq connection string, does all or nothing in one transaction, and raises WorldError alone:
a list of messages, each naming the field or row, the value and the rule. `by` is the person whose act it is: what is
changed is written beside their name in user_acts, in that transaction; None, and nobody is named.
"""

from configuration.load.document import LoadResult, load
from configuration.load.pools import PoolResult, load_pool

__all__ = ["LoadResult", "PoolResult", "load", "load_pool"]
