"""A seeded world in PostgreSQL: the same twice, put over nothing else, and sound to the last micro-unit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from configuration.load import load
from runtime.changing import WorldError
from schemas.channels import CONFIGURATION
from simulator.market.plan import SIZES, make_plan
from simulator.market.seed import seed

pytestmark = pytest.mark.servers

# All that a seed makes, in an order of its own, without the moments at which it was made.
CONTENTS = (
    "SELECT company_id, name, country, enabled FROM companies ORDER BY 1",
    "SELECT * FROM billing_packs ORDER BY 1",
    "SELECT * FROM destinations ORDER BY 1",
    "SELECT * FROM accounts ORDER BY 1",
    "SELECT * FROM account_balances ORDER BY 1",
    "SELECT * FROM route_classes ORDER BY 1",
    "SELECT * FROM route_class_entries ORDER BY 1, 2",
    "SELECT node_id, name FROM nodes ORDER BY 1",
    "SELECT * FROM peers ORDER BY 1",
    "SELECT * FROM peer_nodes ORDER BY 1, 2",
    "SELECT deck_id, name FROM decks ORDER BY 1",
    "SELECT * FROM prices ORDER BY deck_id, code, effective_from",
    "SELECT reference, account_id, kind, contra_account_id, amount, reason FROM ledger_entries ORDER BY 1",
    "SELECT size, seed FROM seeded_world",
)


def _rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def _contents(dsn: str) -> list[list[tuple[Any, ...]]]:
    return [_rows(dsn, query) for query in CONTENTS]


def _notices(dsn: str, change: Callable[[], object]) -> int:
    """How many notifications of a changed configuration a change sends."""
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute(f"LISTEN {CONFIGURATION}".encode())
        change()
        return len(list(listener.notifies(timeout=0.3)))


def test_the_same_seed_makes_the_same_world_and_twice_is_as_good_as_once(postgres_dsn: str, small_dsn: str) -> None:
    told: list[str] = []
    first = seed(postgres_dsn, "small", 1, told.append)
    assert first.created
    assert told, "a seed says what is going on"
    made = _contents(postgres_dsn)
    assert made == _contents(small_dsn)
    generation = _rows(postgres_dsn, "SELECT * FROM configuration_generation")
    assert _notices(postgres_dsn, lambda: seed(postgres_dsn, "small", 1)) == 0
    again = seed(postgres_dsn, "small", 1)
    assert not again.created
    assert (again.companies, again.peers, again.decks, again.prices, again.destinations) == (
        first.companies,
        first.peers,
        first.decks,
        first.prices,
        first.destinations,
    )
    assert _contents(postgres_dsn) == made
    assert _rows(postgres_dsn, "SELECT * FROM configuration_generation") == generation


def test_another_seed_makes_another_world_and_is_not_put_over_the_first(postgres_dsn: str, small_dsn: str) -> None:
    seed(postgres_dsn, "small", 2)
    made = _contents(postgres_dsn)
    for query in (
        "SELECT name FROM companies",
        "SELECT name, balance FROM accounts JOIN account_balances USING (account_id)",
    ):
        assert set(_rows(postgres_dsn, query)) != set(_rows(small_dsn, query))
    for size, number in (("small", 1), ("medium", 2)):
        with pytest.raises(
            WorldError, match=f"the small world of seed 2 is here already, so the {size} world of seed {number}"
        ):
            seed(postgres_dsn, size, number)
    assert _contents(postgres_dsn) == made


def test_a_configuration_that_is_not_empty_is_left_alone(postgres_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_text("companies: [{name: My own}]", encoding="utf-8")
    load(postgres_dsn, path)
    made = _contents(postgres_dsn)
    with pytest.raises(WorldError, match=r"the configuration is not empty .*'My own'"):
        seed(postgres_dsn)
    assert _contents(postgres_dsn) == made


@pytest.mark.parametrize(
    ("size", "number", "messages"),
    [
        ("huge", 1, ["size 'huge': must be one of small, medium"]),
        ("small", -1, ["seed -1: must be from 0 to 9007199254740991"]),
        (
            "",
            2**53,
            ["size '': must be one of small, medium", "seed 9007199254740992: must be from 0 to 9007199254740991"],
        ),
    ],
)
def test_sizes_and_seeds_that_do_not_exist(postgres_dsn: str, size: str, number: int, messages: list[str]) -> None:
    with pytest.raises(WorldError) as caught:
        seed(postgres_dsn, size, number)
    assert list(caught.value.messages) == messages


def test_a_seed_that_fails_leaves_nothing(postgres_dsn: str) -> None:
    """The last thing that a seed writes is refused: what came before it is gone too."""
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("ALTER TABLE seeded_world ADD CHECK (seed <> 5)")
    with pytest.raises(WorldError, match="PostgreSQL refuses"):
        seed(postgres_dsn, "small", 5)
    assert _rows(postgres_dsn, "SELECT name FROM companies") == []
    assert _rows(postgres_dsn, "SELECT count(*) FROM prices") == [(0,)]
    assert _rows(postgres_dsn, "SELECT count(*) FROM ledger_entries") == [(0,)]


def test_no_tables_and_no_server_are_told(postgres_server: str) -> None:
    with pytest.raises(WorldError, match="run the migrations first"):
        seed(postgres_server)
    with pytest.raises(WorldError, match="PostgreSQL does not answer"):
        seed("postgresql://nobody@127.0.0.1:1/nothing")


def test_the_decks_in_the_database_are_those_of_the_plan(small_dsn: str) -> None:
    there = _rows(
        small_dsn,
        "SELECT decks.name, code, (price * 100000000)::bigint, effective_from"
        " FROM prices JOIN decks USING (deck_id) ORDER BY 1, 2, 4",
    )
    plan = {name: [(row.code, row.price_e8) for row in rows] for name, rows in make_plan("small", 1).decks()}
    loaded: dict[str, list[tuple[str, int | None]]] = {}
    for deck, code, price_e8, _ in there:
        loaded.setdefault(deck, []).append((code, price_e8))
    assert loaded.keys() == plan.keys()
    for deck, rows in plan.items():
        assert loaded[deck] == sorted(rows, key=lambda row: row[0]), deck


def test_the_books_balance(small_dsn: str) -> None:
    entries = _rows(
        small_dsn,
        "SELECT entry, mine.kind, mine.currency, mine.payment, contra.name, contra.currency, amount FROM"
        " (SELECT ledger_entries.kind AS entry, * FROM ledger_entries) AS entries (entry, reference, account, revision,"
        " moment, kind, contra, amount, seconds, reason, posted) JOIN accounts mine ON mine.account_id = account"
        " JOIN accounts contra ON contra.account_id = entries.contra",
    )
    assert len(entries) == len(make_plan("small", 1).payments) > 5
    for kind, party, currency, payment, contra, contra_currency, amount in entries:
        assert (kind, party, payment) == ("payment", "customer", "prepaid")
        assert (contra, contra_currency) == (f"cash {currency}", currency)
        assert amount > 0
    # Each entry gives to one account what it takes from another: over all accounts nothing is left.
    sums = _rows(
        small_dsn,
        "SELECT currency, sum(amount) FROM (SELECT account_id, amount FROM ledger_entries UNION ALL"
        " SELECT contra_account_id, -amount FROM ledger_entries) AS sides JOIN accounts USING (account_id) GROUP BY 1",
    )
    assert {total for _, total in sums} == {0}
    wrong = _rows(
        small_dsn,
        "SELECT account_id, balance FROM account_balances WHERE held <> 0 OR balance <>"
        " (SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account_id = account_balances.account_id)",
    )
    assert wrong == []


def test_customers_and_vendors_of_every_kind(small_dsn: str) -> None:
    customers = _rows(
        small_dsn,
        "SELECT payment, count(*), min(credit_limit), max(balance) FROM accounts JOIN account_balances"
        " USING (account_id) WHERE kind = 'customer' AND name NOT LIKE 'SIPp%' GROUP BY payment",
    )
    by_payment = {row[0]: row[1:] for row in customers}
    assert by_payment["prepaid"][0] == by_payment["postpaid"][0] == 8
    assert by_payment["postpaid"][1] > 0, "a postpaid customer has credit"
    assert by_payment["prepaid"][2] > 1_000, "a prepaid customer has paid"
    assert _rows(
        small_dsn,
        "SELECT count(*) FROM peers JOIN accounts USING (account_id) WHERE role = 'terminator' AND currency = 'EUR'",
    ) == [(1,)]
    # Whom EUR is refused for: the euro vendor stands in a class of customers in dollars.
    assert _rows(
        small_dsn,
        "SELECT count(*) > 0 FROM route_class_entries JOIN peers USING (peer_id) JOIN accounts USING (account_id)"
        " WHERE currency = 'EUR' AND route_class_entries.route_class_id IN (SELECT o.route_class_id FROM peers o"
        " JOIN accounts a USING (account_id) WHERE a.currency = 'USD')",
    ) == [(True,)]
    assert _rows(small_dsn, "SELECT count(*) FROM peers WHERE role = 'originator' AND tech_prefix <> ''") == [(2,)]


# Dialled beginning: who is tried, in this order.
SIPP_HUNTS = {
    "99921": [2],
    "99922": [1, 2],
    "99923": [3, 2],
    "99924": [4],
    "99925": [4, 2],
    "99926": [1, 6],
    "99927": [5],
    "99928": [],
    "99929": [],
}


@pytest.mark.parametrize(("beginning", "vendors"), SIPP_HUNTS.items())
def test_the_number_chooses_the_hunt_of_the_sipp_peers(small_dsn: str, beginning: str, vendors: list[int]) -> None:
    hunt = _rows(
        small_dsn,
        "SELECT DISTINCT ON (peers.name) price, peers.name FROM route_class_entries"
        " JOIN route_classes USING (route_class_id) JOIN peers USING (peer_id) JOIN prices USING (deck_id)"
        f" WHERE route_classes.name = 'sipp' AND '{beginning}000000' LIKE code || '%'"
        " ORDER BY peers.name, length(code) DESC",
    )
    assert [name for _, name in sorted(hunt)] == [f"sipp-vendor-{number}" for number in vendors]
    (price,) = _rows(
        small_dsn,
        "SELECT price::text FROM prices JOIN peers USING (deck_id) WHERE peers.name = 'sipp-customer-1'"
        f" AND '{beginning}' LIKE code || '%'",
    )
    assert price == ("0.06000000",)


def test_the_sipp_peers_are_what_the_real_node_is_tested_with(small_dsn: str) -> None:
    peers = _rows(
        small_dsn,
        "SELECT peers.name, host(host), port, endpoint, payment, credit_limit > 0, balance::int, max_concurrent,"
        " string_agg(nodes.name, ','), minimum_seconds, increment_seconds, connect_fee::text"
        " FROM peers JOIN accounts USING (account_id) JOIN account_balances USING (account_id)"
        " JOIN billing_packs USING (pack_id) JOIN peer_nodes USING (peer_id) JOIN nodes USING (node_id)"
        " WHERE peers.name LIKE 'sipp-%' GROUP BY peers.peer_id, account_id, payment, credit_limit, balance,"
        " minimum_seconds, increment_seconds, connect_fee ORDER BY peers.name",
    )
    customers = [
        (f"sipp-customer-{n}", f"127.0.0.{9 + n}", 5060, f"c-sipp-customer-{n}", payment, rich, 0, most)
        for n, payment, rich, most in ((1, "postpaid", True, 0), (2, "prepaid", False, 0), (3, "postpaid", True, 1))
    ]
    vendors = [
        (f"sipp-vendor-{n}", f"127.0.0.{20 + n}", 5060, f"v-sipp-vendor-{n}", "postpaid", False, 0, 0)
        for n in range(1, 7)
    ]
    packs = [("ast1", 1, 1, "0.000000")] * 4 + [("ast1", 30, 6, "0.001000")] + [("ast1", 1, 1, "0.000000")] * 4
    assert peers == [peer + pack for peer, pack in zip(customers + vendors, packs, strict=True)]
    # Nobody else's calls come to them, and theirs go to nobody else.
    assert _rows(
        small_dsn,
        "SELECT count(*) FROM route_class_entries JOIN route_classes USING (route_class_id) JOIN peers USING (peer_id)"
        " WHERE (route_classes.name = 'sipp') <> (peers.name LIKE 'sipp-%')",
    ) == [(0,)]
    assert _rows(small_dsn, "SELECT count(*) FROM prices WHERE '9993' LIKE code || '%'") == [(0,)]


def test_medium_is_forty_vendors_of_25_000_codes(postgres_dsn: str) -> None:
    result = seed(postgres_dsn, "medium", 1)
    codes = dict(
        _rows(
            postgres_dsn,
            "SELECT peers.name, count(DISTINCT code) FROM peers JOIN prices USING (deck_id)"
            " WHERE role = 'terminator' AND peers.name NOT LIKE 'sipp-%' GROUP BY 1",
        )
    )
    assert len(codes) == SIZES["medium"].vendors == 41
    (mexico,) = [count for name, count in codes.items() if name.endswith("-mexico")]
    assert mexico == 2_500
    assert sorted(codes.values()) == [2_500] + [25_000] * 40
    assert result.prices == _rows(postgres_dsn, "SELECT count(*) FROM prices")[0][0] > 1_000_000
    assert (result.companies, result.created) == (41 + 40 - 1 + 9, True)
