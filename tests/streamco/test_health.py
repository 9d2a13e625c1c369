"""What beats say of a process: at work, not at work, and at work but for a part."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.heartbeat import send_beat
from streamco.embedded.server import ServerError
from streamco.health import beat_detail, check_beat, router_degraded


def test_a_beat_says_what_cannot_be_done(tmp_path: Path) -> None:
    beat = tmp_path / "one.beat"
    send_beat(beat, detail="3 events sent")
    assert check_beat(beat, os.getpid()) == ""
    send_beat(beat, detail="3 events sent", degraded="no AMI (refused): no heartbeats")
    assert check_beat(beat, None) == "no AMI (refused): no heartbeats"
    assert (beat_detail(beat), beat_detail(beat, "degraded")) == ("3 events sent", "no AMI (refused): no heartbeats")


def test_a_beat_of_a_version_before_is_read(tmp_path: Path) -> None:
    beat = tmp_path / "one.beat"
    beat.write_text(json.dumps({"at": time.time(), "pid": 1, "ok": True, "detail": "x"}))
    assert check_beat(beat, 1) == ""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"at": 0.0}, "has done nothing for"),
        ({"pid": 2}, "has not done any work yet"),
        ({"ok": False, "detail": "Kafka is away", "degraded": "and more"}, "Kafka is away"),
        ({"ok": False, "detail": ""}, "says that it cannot work"),
    ],
)
def test_who_is_not_at_work_is_not_degraded(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    beat = tmp_path / "one.beat"
    beat.write_text(json.dumps({"at": time.time(), "pid": 1, "ok": True, "detail": ""} | values))
    with pytest.raises(ServerError, match=said):
        check_beat(beat, 1)


def test_a_router_without_a_snapshot_says_so(tmp_path: Path) -> None:
    beat = tmp_path / "router.beat"
    assert router_degraded(beat).startswith("no snapshot of the configuration yet: calls are refused")
    send_beat(beat, detail="generation 3")
    assert router_degraded(beat) == ""
    send_beat(beat, degraded="not heard of: ast2 for 31 s: prepaid calls from there are refused")
    assert router_degraded(beat).startswith("not heard of: ast2")
