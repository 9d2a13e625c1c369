"""The table of dead letters: once each, whatever they hold, under one limit, with every decision kept."""

import asyncio
import base64
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import DeadLetter
from sinks.dead_letters.store import (
    Kept,
    LetterError,
    Limits,
    TooManyDeadLettersError,
    count_open,
    count_replay,
    decide,
    find_letter,
    keep_letters,
    keep_letters_within,
    list_letters,
    open_origins,
    renew_stops,
    share_out,
)

pytestmark = pytest.mark.servers
AT_MS = 1_795_608_000_123


def letter(origin: str, raw: bytes = b"raw", **changes: Any) -> DeadLetter:
    values = {"reason": "why", "raw_base64": base64.b64encode(raw).decode(), "at_ms": AT_MS, **changes}
    return DeadLetter(event_id=origin, origin=origin, **values)


async def connect(dsn: str, **options: Any) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(dsn, **options)


async def test_a_letter_is_kept_once_whole_and_a_repeat_changes_nothing(postgres_dsn: str) -> None:
    hostile = letter("calls/1/2/3", b"\x00\xff", reason="a\0b", leg_id="\0")
    wrong = letter("rated-legs/0/0/0", raw_base64="%%%")
    async with await connect(postgres_dsn, autocommit=True) as connection:
        assert sorted(await keep_letters(connection, [hostile, wrong, hostile])) == ["calls/1/2/3", "rated-legs/0/0/0"]
        assert await keep_letters(connection, [hostile, letter("calls/1/2/3", b"other")]) == []
        assert await keep_letters(connection, []) == []
        assert await count_open(connection) == 2
    with psycopg.connect(postgres_dsn) as connection:
        found = find_letter(connection, "calls/1/2/3")
        assert (found.raw, found.reason, found.leg_id, found.source) == (b"\x00\xff", "a\\0b", "\\0", "calls")
        assert (found.state, found.replays, found.at.timestamp()) == ("open", 0, AT_MS / 1000)
        assert find_letter(connection, "rated-legs/0/0/0").raw == b"%%%"
        assert {one.origin for one in list_letters(connection, "open", 10)} == {"calls/1/2/3", "rated-legs/0/0/0"}
        assert list_letters(connection, "discarded", 10) == []
        assert len(list_letters(connection, None, 1)) == 1
        with pytest.raises(LetterError, match="calls/9/9/9: there is no such"):
            find_letter(connection, "calls/9/9/9")


async def test_two_writers_of_the_same_letters_in_any_order_never_deadlock(postgres_dsn: str) -> None:
    letters = [letter(f"calls/0/{number}/0") for number in range(500)]

    async def write(order: list[DeadLetter]) -> int:
        async with await connect(postgres_dsn, autocommit=True) as connection:
            return len(await keep_letters(connection, order))

    for turn in range(5):
        part = letters[turn * 100 : (turn + 1) * 100]
        kept = await asyncio.gather(*(write(part if number % 2 else part[::-1]) for number in range(4)))
        assert sum(kept) == 100


async def test_the_limit_counts_the_open_ones_of_all_workers_and_rolls_back_the_rest(postgres_dsn: str) -> None:
    async def keep(*origins: str, limit: int) -> list[str]:
        async with await connect(postgres_dsn) as connection:
            kept = await keep_letters_within(connection, [letter(one) for one in origins], Limits(limit, 1))
            assert kept.waiting == []
            return kept.new

    assert sorted(await keep("calls/0/0/0", "calls/0/0/1", limit=3)) == ["calls/0/0/0", "calls/0/0/1"]
    with pytest.raises(TooManyDeadLettersError, match=r"2 dead letters more with 2 open, 3 allowed: .*0/0/2: why"):
        await keep("calls/0/0/2", "calls/0/0/3", limit=3)
    # At the limit what is there already is no reason to stop; one more is.
    assert await keep("calls/0/0/2", limit=3) == ["calls/0/0/2"]
    assert await keep("calls/0/0/0", "calls/0/0/1", "calls/0/0/2", limit=3) == []
    with pytest.raises(TooManyDeadLettersError):
        await keep("calls/0/0/4", limit=3)
    with psycopg.connect(postgres_dsn) as connection:
        assert len(list_letters(connection, None, 10)) == 3
        decide(connection, find_letter(connection, "calls/0/0/0", lock=True), "discarded", "anna", "test traffic")
    assert await keep("calls/0/0/4", limit=3) == ["calls/0/0/4"]


async def test_workers_at_once_never_pass_the_limit_together(postgres_dsn: str) -> None:
    async def keep(number: int) -> bool:
        async with await connect(postgres_dsn) as connection:
            try:
                await keep_letters_within(
                    connection, [letter(f"calls/{number}/0/{n}") for n in range(3)], Limits(10, 1)
                )
            except TooManyDeadLettersError:
                await connection.rollback()
                return False
            return True

    assert sum(await asyncio.gather(*map(keep, range(8)))) == 3
    with psycopg.connect(postgres_dsn) as connection:
        assert len(list_letters(connection, None, 100)) == 9


def of_peer(number: int, peer_id: int = 7) -> DeadLetter:
    return letter(
        f"calls/0/{number}/0", b'{"type":"call_ended","facts":{"customer_peer_id":%d},"n":%d}' % (peer_id, number)
    )


async def test_a_peers_letters_have_a_limit_of_their_own_and_stop_nobody_else(postgres_dsn: str) -> None:
    limits = Limits(of_nobody=1, of_peer=3)

    async def keep(*letters: DeadLetter) -> Kept:
        async with await connect(postgres_dsn) as connection:
            return await keep_letters_within(connection, list(letters), limits)

    kept = await keep(*map(of_peer, range(5)), of_peer(9, peer_id=8), letter("calls/0/0/9"))
    assert [one.origin for one in kept.waiting] == ["calls/0/3/0", "calls/0/4/0"]
    assert len(kept.new) == 5
    # What is there already needs no room; what is new has none, nor has it stopped the worker.
    kept = await keep(of_peer(0), of_peer(5))
    assert (kept.new, [one.origin for one in kept.waiting]) == ([], ["calls/0/5/0"])
    with pytest.raises(TooManyDeadLettersError, match="1 dead letters more with 1 open, 1 allowed"):
        await keep(letter("calls/0/0/10"))
    stops = "SELECT array_agg(peer_id) FROM letter_stops"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        assert connection.execute(stops).fetchone() == ([7],)
        decide(connection, find_letter(connection, "calls/0/1/0", lock=True), "discarded", "anna", "test traffic")
        connection.execute("INSERT INTO letter_stops VALUES (99)")
        async with await connect(postgres_dsn, autocommit=True) as asynchronous:
            connection.execute("INSERT INTO waiting_letters VALUES (7, 0, 5, 6)")
            await renew_stops(asynchronous, 3)  # there is room, and something waits for it
            assert connection.execute(stops).fetchone() == ([7],)
            connection.execute("DELETE FROM waiting_letters")
            await renew_stops(asynchronous, 3)
            assert connection.execute(stops).fetchone() == (None,)
            await renew_stops(asynchronous, 1)
            assert sorted(connection.execute(stops).fetchone()[0]) == [7, 8]  # type: ignore[index]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from([0, 7, 8])), unique_by=lambda one: one[0]),
    st.sets(st.integers(0, 12)),
    st.dictionaries(st.sampled_from([7, 8]), st.integers(0, 4)),
    st.integers(1, 4),
)
def test_letters_are_shared_out_in_their_order(
    chosen: list[tuple[int, int]], kept: set[int], counts: dict[int, int], limit: int
) -> None:
    letters = [of_peer(number, peer_id) for number, peer_id in chosen]
    owners = {letter.origin: peer_id for letter, (_, peer_id) in zip(letters, chosen, strict=True)}
    with_room, waiting = share_out(letters, owners, {f"calls/0/{one}/0" for one in kept}, counts, limit)
    assert sorted(with_room + waiting, key=letters.index) == letters
    left = {peer_id: max(0, limit - counts.get(peer_id, 0)) for peer_id in (7, 8)}
    for (number, peer_id), one in zip(chosen, letters, strict=True):
        if peer_id == 0 or number in kept:
            assert one in with_room
        else:
            assert (one in with_room) == (left[peer_id] > 0)
            left[peer_id] -= 1


async def test_a_replayed_letter_that_comes_back_says_whose_it_was(postgres_dsn: str) -> None:
    async with await connect(postgres_dsn, autocommit=True) as connection:
        await keep_letters(connection, [letter("calls/0/0/0", b"poison"), letter("calls/0/0/1", b"other")])
        with psycopg.connect(postgres_dsn) as deciding:
            count_replay(deciding, "calls/0/0/0")
        # It comes back even before the replay has been recorded as done, as another's does not.
        await keep_letters(connection, [letter("calls/0/9/0", b"poison"), letter("calls/0/9/1", b"other")])
        await keep_letters(connection, [letter("rated-legs/0/9/0", b"poison")])
    with psycopg.connect(postgres_dsn) as deciding:
        decide(deciding, find_letter(deciding, "calls/0/0/0", lock=True), "replayed", "anna", "deck mended")
        again = find_letter(deciding, "calls/0/9/0")
        assert (again.state, again.replays, again.replay_of) == ("open", 1, "calls/0/0/0")
        for origin in ("calls/0/9/1", "rated-legs/0/9/0"):
            assert (find_letter(deciding, origin).replays, find_letter(deciding, origin).replay_of) == (0, "")
        assert open_origins(deciding, 3) == ["calls/0/0/1", "calls/0/9/0", "calls/0/9/1", "rated-legs/0/9/0"]
        assert open_origins(deciding, 1) == ["calls/0/0/1", "calls/0/9/1", "rated-legs/0/9/0"]


async def test_a_second_decision_keeps_the_words_of_the_first(postgres_dsn: str) -> None:
    async with await connect(postgres_dsn, autocommit=True) as connection:
        await keep_letters(connection, [letter("calls/0/0/0")])
    with psycopg.connect(postgres_dsn) as connection:
        decide(connection, find_letter(connection, "calls/0/0/0", lock=True), "discarded", "anna", "test traffic")
        decide(connection, find_letter(connection, "calls/0/0/0", lock=True), "replayed", "bo", "it was real")
        found = find_letter(connection, "calls/0/0/0")
    assert (found.state, found.decided_by) == ("replayed", "bo")
    assert found.decided_why.startswith("it was real (before: discarded by anna at 20")
    assert found.decided_why.endswith(": test traffic)")
    with psycopg.connect(postgres_dsn) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE dead_letters SET decided_why = ''")
