"""Which limits a call and its routes count in, and what the dialplan is told of them."""

from snapshots import peer

from router.core.limit_keys import code_key, peer_key, route_key
from router.core.limits import Limit, Limits, limits_in
from router.server.full_limits import full_of
from router.snapshot.config import CONFIG_VERSION, CodeLimit, Config, RouteClass, RouteEntry


def config(*codes: CodeLimit) -> Config:
    entries = (RouteEntry(2, 1, True, max_concurrent=5), RouteEntry(3, 1, True))
    return Config(
        version=CONFIG_VERSION, generation=1, taken_at_ms=0, next_change_at_ms=None,
        peers=(peer(1, originator=True), peer(2, originator=False)),
        route_classes=(RouteClass(1, "all", entries),), destinations=(), decks=(), code_limits=codes,
    )  # fmt: skip


def test_of_a_peers_codes_the_longest_that_the_number_begins_with_counts() -> None:
    limits = limits_in(config(CodeLimit(2, "44", 10, 0), CodeLimit(2, "447", 0, 3), CodeLimit(3, "4477", 1, 1)))

    def code(peer_id: int, number: str) -> str:
        found = limits.of_code(peer_id, number)
        return "" if found is None else found.code

    numbers = ("447700900123", "442071234567", "4477", "44", "4", "12125550123")
    assert [code(2, number) for number in numbers] == ["447", "44", "447", "44", "", ""]
    assert code(3, "447700900123") == "4477"
    assert code(1, "447700900123") == ""


def test_only_entries_that_limit_something_are_limited_routes() -> None:
    limits: Limits = limits_in(config())
    assert limits.routes == {(1, 2)}


def test_keys_say_what_they_are_of() -> None:
    assert (peer_key(7), route_key(3, 7), code_key(7, "447")) == ("p7", "r3-7", "c7-447")
    keys = [code_key(7, "447"), peer_key(7)]
    assert sorted(keys) == keys  # the order in which admission locks them


def test_what_is_full_is_known_by_node() -> None:
    full = full_of([("ast1", ["p7", "r3-7"]), ("ast2", ["p8"])])
    assert full == {"ast1": {"p7", "r3-7"}, "ast2": {"p8"}}
    assert Limit("p7", 1, 2).key == "p7"
