"""The look-up of check routing: asked only if wanted, of a real HTTP service, within its time, and not too often."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr
from snapshots import EXPECTED_SECONDS, NOW_MS, RawWorld, make_snapshot, peer

from router.check import Checked, LookUps, Question, QuestionError, check, read_seed
from router.check.look_up import MOST_A_MINUTE
from router.core import World
from router.core.portability import Dip
from router.snapshot.lookups import Lookup, LookupRules
from router.snapshot.store import Snapshot

NUMBER = "12125550123"


class Service:
    """What it was asked, with which token; it answers when `gate` is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append((self.path, self.headers.get("Authorization", "")))
                service.gate.wait(10)
                body = json.dumps({"lrn": "12015550000"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture
def clock() -> list[float]:
    return [1_000.0]


@pytest.fixture
def look_ups(clock: list[float]) -> Iterator[LookUps]:
    made = LookUps({"NPAC": SecretStr("s3cret")}, lambda: clock[0])
    yield made
    made.close()
    made.close()


@pytest.fixture
def snapshot(tmp_path: Path, service: Service) -> Snapshot:
    """c1 asks NPAC about numbers under 1; c2 asks nobody. The vendor 11 has a price for the routing number alone."""
    world = RawWorld(
        peers=[
            peer(1, originator=True, lookup_id=1), peer(2, originator=True), peer(11, originator=False),
            peer(12, originator=False),
        ],
        prices={1: [("1", 0, 3_000_000), ("44", 0, 3_000_000)], 2: [("1", 0, 3_000_000)], 11: [("1201", 0, 1_000_000)],
                12: [("1212", 0, 2_000_000)]},
        entries=[(11, 1, True), (12, 1, True)],
    )  # fmt: skip
    made = make_snapshot(tmp_path, world)
    url = f"http://127.0.0.1:{service.server.server_port}/lrn/{{number}}"
    lookup = Lookup(1, "NPAC", "lrn", url, "lrn", ("1",), 400, 60, 4, "route")
    config = msgspec.structs.replace(made.config, lookups=LookupRules({1: lookup}))
    return replace(made, config=config)


def checked(snapshot: Snapshot, question: Question, dip: Dip | None = None) -> Checked:
    return check(
        World(snapshot), question, NOW_MS, expected_seconds=EXPECTED_SECONDS, source="live", quality="read",
        limits="unknown", dip=dip,
    )  # fmt: skip


def test_nobody_is_asked_unless_it_is_wanted(snapshot: Snapshot, service: Service, look_ups: LookUps) -> None:
    question = Question("c1", NUMBER)
    assert look_ups.ask(snapshot, question) is None
    found = checked(snapshot, question)
    assert found.looked_up is not None
    assert (found.looked_up.lookup, found.looked_up.outcome) == ("NPAC", "not asked")
    assert [one.vendor for one in found.decision.candidates if one.position] == ["v12"]
    given = checked(snapshot, question._replace(routing_number="12015550000"))
    assert given.looked_up is not None
    assert (given.looked_up.outcome, given.looked_up.routing_number) == ("given", "12015550000")
    assert service.asked == []


def test_the_answer_decides_as_a_calls_would(snapshot: Snapshot, service: Service, look_ups: LookUps) -> None:
    question = Question("c1", NUMBER, look_up=True)
    found = checked(snapshot, question, look_ups.ask(snapshot, question))
    assert service.asked == [(f"/lrn/{NUMBER}", "Bearer s3cret")]
    assert found.looked_up is not None
    assert (found.looked_up.outcome, found.looked_up.routing_number) == ("found", "12015550000")
    assert found.decision.routing_number == "12015550000"
    assert [one.vendor for one in found.decision.candidates if one.position] == ["v11"]
    again = look_ups.ask(snapshot, question)
    assert again is not None
    assert again.cached
    assert len(service.asked) == 1


@pytest.mark.parametrize("question", [Question("c2", NUMBER), Question("c1", "442071234567"), Question("c1", "x")])
def test_where_a_call_would_ask_nobody_nobody_is_asked(
    snapshot: Snapshot, service: Service, look_ups: LookUps, question: Question
) -> None:
    question = question._replace(look_up=True)
    assert look_ups.ask(snapshot, question) is None
    assert checked(snapshot, question).looked_up is None
    assert service.asked == []


def test_a_service_that_hangs_is_no_answer_in_its_time(snapshot: Snapshot, service: Service, look_ups: LookUps) -> None:
    service.gate.clear()
    dip = look_ups.ask(snapshot, Question("c1", NUMBER, look_up=True))
    assert dip is not None
    assert dip.outcome == "no answer"


def test_not_more_are_asked_in_a_minute_than_may_be(
    snapshot: Snapshot, service: Service, look_ups: LookUps, clock: list[float]
) -> None:
    question = Question("c1", NUMBER, look_up=True)
    for _ in range(MOST_A_MINUTE):
        assert look_ups.ask(snapshot, question) is not None
    with pytest.raises(QuestionError, match="look_up 'true': 30 were asked within a minute"):
        look_ups.ask(snapshot, question)
    clock[0] += 61
    assert look_ups.ask(snapshot, question) is not None


def test_bad_questions_ask_nobody(snapshot: Snapshot, service: Service, look_ups: LookUps) -> None:
    for question, said in (
        (Question("nobody", NUMBER), "from 'nobody'"),
        (Question("c1", NUMBER, routing_number="1201"), "a routing number is given in its place"),
        (Question("c1", NUMBER, asserted="x" * 257), "asserted"),
        (Question("c1", NUMBER, seed=2**32), "seed"),
    ):
        with pytest.raises(QuestionError, match=said):
            look_ups.ask(snapshot, question._replace(look_up=True))
    assert service.asked == []


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "4294967296", "9" * 400, "²"])
def test_a_seed_is_a_whole_number(text: str) -> None:
    with pytest.raises(QuestionError, match="must be a whole number from 0 to 4294967295"):
        read_seed(text)


def test_a_seed_that_is_one() -> None:
    assert (read_seed(""), read_seed(" 7 "), read_seed("4294967295")) == (0, 7, 4_294_967_295)
