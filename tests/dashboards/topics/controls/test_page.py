"""The controls page: what is held in one sentence, rows that say why and until when, and who may release."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from made_legs import insert_parties
from pydantic import SecretStr

from dashboards.topics.controls.page import cards, control_row, held_row, released, released_row, verdict, wall_word
from dashboards.topics.controls.store import ControlRow, ControlState, ControlStore
from runtime.connections import Postgres
from runtime.postgres_pool import Connections
from runtime.user_acts import Person, list_acts
from sinks.control_actions import ControlAction

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
ROW = ControlRow("vendors", "bad ASR", "each vendor", "asr below 20 %", "block", 30, True)


def action(**changes: Any) -> ControlAction:
    values: dict[str, Any] = {
        "action_id": "termination/1/11//5", "kind": "termination", "control": "bad ASR", "peer": "danube", "code": "",
        "action": "block", "cap_concurrent": None, "reason": "ASR 3 % of 60 legs", "since": NOW - timedelta(minutes=5),
        "until": NOW + timedelta(minutes=25), "released_at": None, "released_by": None, "released_why": None,
        "told": "sent", "error": "", **changes,
    }  # fmt: skip
    return ControlAction(**values)


def test_one_sentence_says_what_is_held() -> None:
    assert verdict(ControlState(away="PostgreSQL does not answer")).state == "red"
    assert verdict(ControlState()).text == "Nothing is held, nor watched"
    assert verdict(ControlState(controls=[ROW])).text == "Nothing is held: 1 controls watch"
    assert wall_word(ControlState(controls=[ROW])) is None
    word = verdict(ControlState([action(), action(code="44")]))
    assert (word.state, word.text) == ("red", "danube is blocked: ASR 3 % of 60 legs, and 1 more")
    capped = action(kind="origination", action="cap", cap_concurrent=5)
    assert verdict(ControlState([capped])).state == "amber"
    on_the_wall = wall_word(ControlState([capped]))
    assert on_the_wall is not None
    assert on_the_wall.href == "/controls"


def test_rows() -> None:
    row = held_row(action(code="4477"), NOW)
    assert (row["what"], row["whom"], row["left"], row["blocks"]) == ("blocked", "danube, code 4477", "25:00", True)
    by_hand = held_row(action(until=None, action="cap", cap_concurrent=5), NOW)
    assert (by_hand["what"], by_hand["until"], by_hand["left"]) == ("capped at 5", "released by hand", "")
    over = released_row(action(released_at=NOW, released_by="time"), NOW)
    assert (over["by"], over["why"]) == ("time", "its time was over")
    state = ControlState([action(), action(control="other")], [], [ROW])
    assert control_row(ROW, state)["holds"] == 1
    assert control_row(ROW, state)["release"] == "after 30 min"
    assert [card.className for card in cards(state, NOW)][:2] == ["card red", "card normal"]


@pytest.mark.servers
def test_what_is_released_says_by_whom(postgres_dsn: str) -> None:
    insert_parties(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "INSERT INTO control_actions (action_id, kind, control_id, control, peer_id, action, reason, since)"
            " VALUES ('termination/1/11//5', 'termination', 1, 'bad ASR', 11, 'block', 'ASR 3 %', now())"
        )
        connection.execute(
            "INSERT INTO termination_controls (name, metric, threshold) VALUES ('bad ASR', 'asr', 20.50)"
        )
        connection.execute(
            "INSERT INTO origination_controls (name, peer_id, measure, threshold, timetable, timetable_threshold)"
            " VALUES ('nights', 1, 'spend', 100, 'daily 22:00-06:00', 5)"
        )
    sources: Any = SimpleNamespace(controls=ControlStore(Connections(Postgres(dsn=SecretStr(postgres_dsn)))))
    state = sources.controls.state()
    assert [one.peer for one in state.in_force] == ["danube"]
    assert [one.when for one in state.controls] == [
        "asr below 20.5 % of 30 or more in 300 s, 3 × every 60 s", "spend above 100 (5 daily 22:00-06:00) in 3600 s",
    ]  # fmt: skip
    chosen = [held_row(state.in_force[0], NOW)]
    noc = Person("nora", "page", "192.0.2.1")
    assert released(sources, noc, [], "mended")[1] is False
    assert released(sources, noc, chosen, "  ")[1] is False
    assert released(sources, noc, [{"id": "nothing"}], "mended") == ("'nothing': there is no such action", False)
    assert sources.controls.state().in_force
    assert released(sources, noc, chosen, "mended") == ("danube was released", True)
    (over,) = sources.controls.state().released
    assert (over.released_by, over.released_why) == ("nora", "mended")
    assert "released already, by nora" in released(sources, noc, chosen, "mended")[0]
    with psycopg.connect(postgres_dsn) as connection:
        (act,) = list_acts(connection, 10)
    assert act[1:] == ("nora", "page", "192.0.2.1", "controls", "release", "termination/1/11//5", "mended")
