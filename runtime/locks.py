"""PostgreSQL's advisory locks: every number that the product locks by, in one place, for they are one space.

7361001 is ledger_partition()'s, in SQL; so are 7361020 (one change of the route classes' bases at a time) and 7361600
(the leases of limits).
"""

from typing import Final

MIGRATIONS: Final = 7361000
WORLD: Final = 7361002  # one change of the whole world at a time
AUDITOR: Final = 7361003  # held as long as the auditor works
DEAD_LETTERS: Final = 7361004  # of the limit that all workers share
CONTROLLER: Final = 7361018  # held as long as the controller works
