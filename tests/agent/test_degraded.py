"""What an agent says that it cannot do: by hand, and as `streamco status` reads it from a real agent's beat."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.degraded import SILENT_SECONDS, Parts, degraded_of
from agent.watch import Watch
from simulator.ami_server import AmiServer

REFUSED = "AMI at 127.0.0.1:15038 refuses user agent: Authentication failed"


@pytest.mark.parametrize(
    ("parts", "begins", "holds"),
    [
        (Parts(), "", []),
        (Parts(ami=REFUSED), f"no AMI ({REFUSED}): no heartbeats", ["6 s after that no leg", "prepaid", "live calls"]),
        (Parts(ami="x", limits="limits lapse: y"), "no AMI (x): ", []),
        (Parts(postgres_away=True), "no PostgreSQL: ", ["holds are not extended", "prepaid"]),
        (Parts(limits="limits lapse: y"), "limits lapse: y: 6 s after that no leg begins to a vendor with a limit", []),
        (Parts(disk="DISK NEARLY FULL under the journal"), "DISK NEARLY FULL under the journal: new calls", []),
        (
            Parts(copies="no copies (taken)"),
            "no copies (taken): legs are billed by their channels",
            ["refusals before"],
        ),
        (Parts(ami="x", disk="DISK"), "no AMI (x): ", ["; DISK: new calls from this node are refused"]),
    ],
)
def test_what_follows_is_said(parts: Parts, begins: str, holds: list[str]) -> None:
    said = degraded_of(parts, 6.0)
    assert said.startswith(begins)
    assert bool(said) == any(parts)
    assert all(text in said for text in holds), said


def test_the_seconds_are_those_of_the_statement_that_admits() -> None:
    sql = (Path(__file__).parents[2] / "schemas" / "postgres" / "functions" / "admit.sql").read_text()
    assert f"last_seen_at > clock_timestamp() - interval '{SILENT_SECONDS} seconds'" in sql


class _Counters:
    unheld: frozenset[str] = frozenset()
    on_unpaid: Any = None

    def seen(self, *_: Any) -> None: ...

    def gone(self, _call: str) -> None: ...


async def test_the_watch_says_why_it_has_no_ami_until_it_has(tmp_path: Path, settings_of: Any) -> None:
    (tmp_path / "epoch").write_text("1795609861\n")
    server = AmiServer(node="sim1", user="agent", secret="right-secret", channels=list, hang_up=lambda *_: True,
                       now_ms=lambda: 1_795_609_900_000, started_ms=1_795_609_861_000)  # fmt: skip
    port = await server.start("127.0.0.1", 0)

    def watch(secret: str) -> Watch:
        settings = settings_of(
            tmp_path, ami_port=port, ami_secret=secret, heartbeat_seconds=0.05, ami_retry_seconds=0.02
        )
        return Watch(settings, _Counters(), agent_id="h", put=lambda _: None, begin=lambda _: None,  # type: ignore[arg-type]
                     journal=lambda: (0, 0), known_start=lambda: (0, ""))  # fmt: skip

    async def away_of(one: Watch, wanted: str) -> None:
        task = asyncio.create_task(one.run())
        async with asyncio.timeout(5):
            while wanted not in one.away if wanted else one.health != "AMI is there":  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0.01)
        assert bool(wanted) == bool(one.away)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    fresh = watch("right-secret")
    assert fresh.away == ""  # it has not been tried yet
    await away_of(watch("wrong"), "refuses user agent")
    await away_of(fresh, "")
    await server.stop()
    await away_of(fresh, "is not reached")
