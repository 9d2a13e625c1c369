"""The simulator's settings: a wrong one names itself, its value and the rule."""

from typing import Any

import pytest
from pydantic import ValidationError

from simulator.settings import SimulatorSettings


def make(**changes: Any) -> SimulatorSettings:
    node = {"name": "sim1", "ami_port": 15039, "directory": "nodes/sim1", "agi_key": "0" * 128}
    values: dict[str, Any] = {"postgres": {"dsn": "postgresql:///x"}, "nodes": [node], "ami_secret": "s"}
    return SimulatorSettings.model_validate(values | changes)


def test_incidents_are_parsed() -> None:
    assert make(incidents=["vendor-down@30s"]).incidents[0].start_seconds == 30.0


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"incidents": ["vendor-down@never"]}, "start 'never' must be a time"),
        ({"incidents": "vendor-down@30s"}, "must be a list"),
        ({"cps": 0}, "cps"),
        ({"cps": 1e9}, "cps"),
        ({"speedup": 60}, "speedup 60: needs seconds"),
        ({"speedup": 0.5}, "speedup"),
        ({"nodes": []}, "nodes"),
        ({"nodes": [{"name": "Sim 1", "ami_port": 1, "directory": "x"}]}, "name"),
        (
            {
                "nodes": [
                    {"name": "sim1", "ami_port": 1, "directory": "x", "agi_key": "0" * 128},
                    {"name": "sim2", "ami_port": 1, "directory": "y", "agi_key": "0" * 128},
                ]
            },
            "ami_ports",
        ),
        ({"nodes": [{"name": "sim1", "ami_port": 1, "directory": "x", "agi_key": "0" * 127}]}, "128 hexadecimal"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_setting_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        make(**changes)


def test_secrets_do_not_show() -> None:
    assert "hunter2" not in repr(make(ami_secret="hunter2", postgres={"dsn": "postgresql://u:hunter2@h/d"}))
