"""Fills an empty configuration with a made-up world: its companies by the same door as a user's, its decks by COPY."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from configuration.load.apply import apply
from runtime.changing import Connection, WorldError, changing, write_who
from runtime.user_acts import Person
from schemas.money import micros_from_decimal
from simulator.market.plan import SIZES, Plan, make_plan
from simulator.market.pricing import Price
from sinks.payments import post_payment

SEED_SIZES: Final = tuple(SIZES)
MAX_SEED: Final = 2**53 - 1
_REPORT_EVERY_DECKS: Final = 10


@dataclass(frozen=True)
class SeedResult:
    """What is there now. `created` is false where the same world had been seeded before: nothing was changed then."""

    created: bool
    size: str
    seed: int
    companies: int
    peers: int
    decks: int
    prices: int
    destinations: int


def seed(
    dsn: str,
    size: str = "small",
    seed: int = 1,
    progress: Callable[[str], None] = lambda _: None,
    by: Person | None = None,
) -> SeedResult:
    """Seed the world of a size (one of SEED_SIZES) and a seed number, all or nothing; twice is as good as once.

    `progress` is told in words what is going on. Raises WorldError: unknown size, another world is there already.
    """
    errors = []
    if size not in SIZES:
        errors.append(f"size {size!r}: must be one of {', '.join(SIZES)}")
    if not 0 <= seed <= MAX_SEED:
        errors.append(f"seed {seed}: must be from 0 to {MAX_SEED}")
    if errors:
        raise WorldError(errors)
    with changing(dsn, whole_world=True) as connection:
        created = not _is_there(connection, size, seed)
        if created:
            _fill(connection, make_plan(size, seed), progress)
            connection.execute("INSERT INTO seeded_world (size, seed) VALUES (%s, %s)", (size, seed))
            write_who(connection, by, "configuration", "seed", f"the {size} world of seed {seed}", "")
            progress("Committing")
        result = _count(connection, created, size, seed)
    progress(
        f"The {size} world of seed {seed} " + ("is ready" if created else "was there already; nothing was changed")
    )
    return result


def _is_there(connection: Connection, size: str, seed: int) -> bool:
    row = connection.execute("SELECT size, seed FROM seeded_world").fetchone()
    if row is not None and row != (size, seed):
        raise WorldError(
            [
                f"the {row[0]} world of seed {row[1]} is here already, so the {size} world of seed {seed} is not put "
                "over it: use another database"
            ]
        )
    if row is None and (company := connection.execute("SELECT name FROM companies LIMIT 1").fetchone()):
        raise WorldError(
            [
                f"the configuration is not empty (there is the company {company[0]!r}): "
                "a world is seeded into an empty one"
            ]
        )
    return row is not None


def _fill(connection: Connection, plan: Plan, progress: Callable[[str], None]) -> None:
    progress(f"Making {len(plan.world.companies)} companies")
    applied = apply(connection, plan.world)
    if applied.errors:
        raise WorldError(applied.errors)
    decks = dict(connection.execute("SELECT name, deck_id FROM decks").fetchall())
    prices = 0
    for number, (name, rows) in enumerate(plan.decks(), start=1):
        prices += copy_prices(connection, decks[name], rows)
        if number % _REPORT_EVERY_DECKS == 0 or number == len(decks):
            progress(f"{number} of {len(decks)} decks, {prices:,} prices")
    now = datetime.now(UTC)
    for account, amount in plan.payments.items():
        post_payment(connection, account, micros_from_decimal(amount), "Opening payment", f"opening/{account}", now)
    # Whoever routes needs to know the large decks well.
    connection.execute("ANALYZE prices")


def copy_prices(connection: Connection, deck_id: int, prices: Iterable[Price]) -> int:
    """COPY rows into a deck; how many there were."""
    count = 0
    statement = "COPY prices (deck_id, code, effective_from, price) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for rows, block in _blocks(deck_id, prices):
            copy.write(block)
            count = rows
    return count


def _blocks(deck_id: int, prices: Iterable[Price]) -> Iterator[tuple[int, str]]:
    lines: list[str] = []
    count = 0
    for count, (code, price_e8, effective_from) in enumerate(prices, start=1):
        price = "\\N" if price_e8 is None else f"{price_e8 // 100_000_000}.{price_e8 % 100_000_000:08d}"
        lines.append(f"{deck_id}\t{code}\t{effective_from}\t{price}\n")
        if len(lines) == 2_000:
            yield count, "".join(lines)
            lines.clear()
    if lines:
        yield count, "".join(lines)


def _count(connection: Connection, created: bool, size: str, seed: int) -> SeedResult:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM companies), (SELECT count(*) FROM peers), (SELECT count(*) FROM decks),"
        " (SELECT count(*) FROM prices), (SELECT count(*) FROM destinations)"
    ).fetchone()
    companies, peers, decks, prices, places = row or (0, 0, 0, 0, 0)
    return SeedResult(created, size, seed, companies, peers, decks, prices, places)
