"""Whole runs in this process against a scripted router: everything that was begun is journalled, whatever ends it."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from agi_client import SECRET
from journal_events import events_of

from schemas import events
from schemas.agi_digest import node_key_text
from schemas.ids import epoch_of, node_of
from simulator import crashes, main
from simulator.settings import SimulatorSettings
from simulator.world import World


class Router(Protocol):
    port: int
    decide: Callable[[dict[str, str]], dict[str, str]]
    headers: list[dict[str, str]]


def settings_for(directory: Path, router_port: int, ports: list[int], **changes: Any) -> SimulatorSettings:
    nodes = [
        {
            "name": f"sim{number}",
            "ami_port": port,
            "directory": directory / f"sim{number}",
            "agi_key": node_key_text(SECRET, f"sim{number}"),
        }
        for number, port in enumerate(ports, 1)
    ]
    values: dict[str, Any] = {
        "postgres": {"dsn": "postgresql:///none"},
        "nodes": nodes,
        "ami_secret": "s",
        "router_port": router_port,
        "cps": 100.0,
        "seconds": 1.5,
        "talk_seconds": 1.0,
        "beat": directory / "beat",
    }
    return SimulatorSettings.model_validate(values | changes)


def read_events(directory: Path) -> list[Any]:
    made = []
    for path in sorted(directory.glob("sim*/journal/Master.csv")):
        made += events_of(path.read_bytes().splitlines(keepends=True))
    return made


async def play(settings: SimulatorSettings, world: World) -> dict[str, Any]:
    start_ms = main.start_of(settings)
    return await main.simulate(settings, world, start_ms)


async def test_a_run_is_whole_and_its_summary_is_its_journal(
    tmp_path: Path, scripted_router: Router, small_world: World, two_ports: list[int]
) -> None:
    summary = await play(settings_for(tmp_path, scripted_router.port, two_ports), small_world)
    made = read_events(tmp_path)
    calls = [event for event in made if isinstance(event, events.CallEnded)]
    legs = [event for event in made if isinstance(event, events.LegEnded)]
    assert summary["calls"] == len(calls) == len({event.call_id for event in calls})
    assert 90 < len(calls) < 210
    assert summary["legs"] == len(calls) + len(legs)
    assert sum(isinstance(event, events.LegStarted) for event in made) == len(legs)
    assert Counter(event.reason for event in calls if event.reason) == summary["refused"]
    assert {"BAD NUMBER"} <= set(summary["refused"])
    assert summary["hung_up_at_end"] > 0
    assert max(int(number) for number in summary["hunts_by_legs"]) >= 2
    for name in ("sim1", "sim2"):
        ours = [event for event in calls if node_of(event.call_id) == name]
        assert summary["nodes"][name]["calls"] == len(ours) > 0
        epoch = int((tmp_path / name / "epoch").read_text())
        assert {epoch_of(event.call_id) for event in ours} == {epoch}
    assert json.loads((tmp_path / "beat").read_text())["ok"]


async def test_the_same_seed_asks_the_router_the_same_questions(
    tmp_path: Path, scripted_router: Router, small_world: World, two_ports: list[int]
) -> None:
    asked = []
    for run in range(2):
        scripted_router.headers.clear()
        await play(settings_for(tmp_path / str(run), scripted_router.port, two_ports, seconds=0.5), small_world)
        asked.append(sorted((h["agi_arg_2"], h["agi_arg_4"], h["agi_arg_5"]) for h in scripted_router.headers))
    # Where the second run ends is a matter of a millisecond: all but its last calls are the same.
    fewer, more = sorted(asked, key=len)
    assert len(more) - len(fewer) <= 3
    assert sum((Counter(fewer) - Counter(more)).values()) <= 3


async def test_stopped_in_the_middle_everything_is_hung_up_and_billed(
    tmp_path: Path, scripted_router: Router, small_world: World, two_ports: list[int]
) -> None:
    settings = settings_for(
        tmp_path, scripted_router.port, two_ports, cps=5.0, seconds=3_600.0, speedup=20.0, talk_seconds=600.0
    )
    simulation = asyncio.ensure_future(play(settings, small_world))
    await asyncio.sleep(1.5)
    assert not simulation.done()
    os.kill(os.getpid(), signal.SIGTERM)
    summary = await asyncio.wait_for(simulation, 5)
    made = read_events(tmp_path)
    calls = [event for event in made if isinstance(event, events.CallEnded)]
    by_us = [event for event in calls if event.release_side == "us" and event.dial_status == "ANSWER"]
    assert summary["hung_up_at_end"] > 30
    assert by_us
    assert all(event.cause == 16 and event.duration_ms > 0 for event in by_us)


async def test_without_a_router_every_call_is_journalled_as_such(
    tmp_path: Path, small_world: World, two_ports: list[int], free_port: Callable[[], int]
) -> None:
    summary = await play(settings_for(tmp_path, free_port(), two_ports, seconds=0.5), small_world)
    assert set(summary["refused"]) == {"ROUTER UNAVAILABLE"}
    # A call that had just begun when the traffic ended was hung up, and no router was missed.
    assert summary["refused"]["ROUTER UNAVAILABLE"] + summary["hung_up_at_end"] == summary["calls"] > 20


async def test_a_router_that_hangs_holds_no_run_for_ever(
    tmp_path: Path, small_world: World, two_ports: list[int]
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = settings_for(tmp_path, port, two_ports, seconds=0.3, agi_seconds=0.1, max_agi_sessions=5)
    summary = await asyncio.wait_for(play(settings, small_world), 10)
    server.close()
    made = read_events(tmp_path)
    assert summary["calls"] == len(made) > 10
    assert all(isinstance(event, events.CallEnded) and event.legs == 0 for event in made)


async def test_no_more_calls_than_allowed_are_up_at_once(
    tmp_path: Path, scripted_router: Router, small_world: World, two_ports: list[int]
) -> None:
    settings = settings_for(tmp_path, scripted_router.port, two_ports, talk_seconds=600.0, max_calls=30)
    summary = await play(settings, small_world)
    assert summary["not_placed"] > 0
    ends = [event for event in read_events(tmp_path) if isinstance(event, events.CallEnded)]
    most = max(sum(other.started_at_ms <= event.started_at_ms < other.ended_at_ms for other in ends) for event in ends)
    assert most <= 30


async def test_back_filling_plays_an_hour_at_once_and_ends_at_the_present(
    tmp_path: Path, scripted_router: Router, small_world: World, two_ports: list[int]
) -> None:
    settings = settings_for(
        tmp_path, scripted_router.port, two_ports, cps=0.2, seconds=3_600.0, speedup=3_600.0, talk_seconds=30.0
    )
    before_ms = main.real_ms()
    summary = await play(settings, small_world)
    now_ms = main.real_ms()
    made = read_events(tmp_path)
    ends = [event for event in made if isinstance(event, events.CallEnded)]
    assert 600 < summary["calls"] < 850
    assert max(event.ended_at_ms for event in ends) <= now_ms
    assert min(event.started_at_ms for event in ends) == pytest.approx(before_ms - 3_600_000, abs=60_000)
    assert now_ms - before_ms < 30_000
    # Holds and limits follow the simulator's clock: the router is told its moments.
    told = [float(headers["agi_arg_6"]) * 1_000 for headers in scripted_router.headers]
    assert sorted(told) == sorted(float(event.started_at_ms) for event in ends)
    pdds = sorted(event.pdd_ms for event in ends if event.pdd_ms is not None)
    assert pdds[len(pdds) // 2] < 12_000  # the router's real milliseconds are not blown up by the speed


async def test_an_incident_strikes_its_vendor(
    tmp_path: Path, scripted_router: Router, small_world: World, two_ports: list[int]
) -> None:
    settings = settings_for(
        tmp_path, scripted_router.port, two_ports, seconds=60.0, speedup=20.0, cps=10.0, incidents=["vendor-down@30s"]
    )
    summary = await play(settings, small_world)
    assert summary["incidents"] == {"vendor-down": "vendor-101"}  # the scripted router's first choice
    legs = [event for event in read_events(tmp_path) if isinstance(event, events.LegEnded) and event.leg == 1]
    half_ms = min(event.started_at_ms for event in legs) + 30_000
    # A busy machine's first leg may be seconds of the simulator's clock late: so wide a margin on both sides.
    after = [event for event in legs if event.started_at_ms > half_ms + 10_000]
    before = [event for event in legs if event.started_at_ms < half_ms - 10_000]
    assert {event.sip_code for event in after} <= {503, None}
    assert sum(event.answered_at_ms is not None for event in before) > 0.4 * len(before)


async def test_a_crashed_node_closes_nothing_and_starts_anew_with_a_new_epoch(
    tmp_path: Path, scripted_router: Router, small_world: World, two_ports: list[int]
) -> None:
    crash = "node-crash:sim1@2s+3s"
    settings = settings_for(
        tmp_path, scripted_router.port, two_ports, seconds=8.0, cps=40.0, talk_seconds=20.0, incidents=[crash]
    )
    summary = await play(settings, small_world)
    assert summary["crashed_nodes"] == ["sim1"]
    assert summary["crashed_calls"] > 5
    assert summary["not_placed"] > 5  # there was nobody to take them
    made = read_events(tmp_path)
    started = {event.call_id for event in made if isinstance(event, events.LegStarted)}
    ended = {event.call_id for event in made if isinstance(event, events.CallEnded)}
    epochs = sorted({epoch_of(event.call_id) for event in made if node_of(event.call_id) == "sim1"})
    assert len(epochs) == 2
    assert epochs[1] == int((tmp_path / "sim1" / "epoch").read_text())
    dead = started - ended
    assert {(node_of(call_id), epoch_of(call_id)) for call_id in dead} == {("sim1", epochs[0])}
    assert 0 < len(dead) <= summary["crashed_calls"]  # some had only asked the router
    crashed_at_ms = max(
        event.started_at_ms for event in made if isinstance(event, events.LegStarted) and event.call_id in dead
    )
    assert not [
        event for event in made
        if isinstance(event, events.CallEnded) and event.ended_at_ms > crashed_at_ms + 500
        and (node_of(event.call_id), epoch_of(event.call_id)) == ("sim1", epochs[0])
    ]  # fmt: skip
    assert any(epoch_of(call_id) == epochs[1] for call_id in ended if node_of(call_id) == "sim1")


async def test_an_incident_that_names_nobody_is_refused(small_world: World, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, 1, [2, 3], incidents=["vendor-down:nobody@1s"])
    with pytest.raises(main.IncidentError, match="no vendor 'nobody'; there are: vendor-101"):
        main.check_targets(settings, small_world)
    settings = settings_for(tmp_path, 1, [2, 3], incidents=["node-crash:sim9@1s"])
    with pytest.raises(main.IncidentError, match="no node 'sim9'; there are: sim1, sim2"):
        main.check_targets(settings, small_world)


async def test_a_busy_ami_port_is_named(tmp_path: Path, small_world: World, two_ports: list[int]) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", two_ports[0])
    with pytest.raises(crashes.SimulatorError, match=f"AMI of node sim1 on 127.0.0.1:{two_ports[0]}"):
        await play(settings_for(tmp_path, 1, two_ports), small_world)
    server.close()
