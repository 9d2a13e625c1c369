"""docs/examples/streamco.service: a user of its own, no rights, and nothing that the product does not know."""

import configparser
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from streamco.cli import up
from streamco.settings import Settings

PATH = Path(__file__).resolve().parents[2] / "docs" / "examples" / "streamco.service"


@pytest.fixture
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(PATH.read_text())
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    return unit["Service"]


def test_it_runs_as_a_user_of_its_own_without_rights(service: configparser.SectionProxy) -> None:
    assert service["User"] == service["Group"] == "streamco"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert (service["NoNewPrivileges"], service["ProtectSystem"], service["ProtectHome"]) == ("yes", "strict", "yes")
    assert (service["StateDirectoryMode"], service["CacheDirectoryMode"], service["UMask"]) == ("0700", "0700", "0077")


def test_what_it_starts_and_sets_is_there(service: configparser.SectionProxy) -> None:
    program, name, *options = service["ExecStart"].split()
    assert (Path(program).name, name) == ("streamco", "up")
    known = {option for parameter in up.params if isinstance(parameter, click.Option) for option in parameter.opts}
    assert set(options) <= known
    settings = [
        line.split("=")[1] for line in PATH.read_text().splitlines() if line.startswith("Environment=STREAMCO_")
    ]
    assert settings
    assert set(settings) <= {f"STREAMCO_{field.upper()}" for field in Settings.model_fields}
    assert "PASSWORD" not in PATH.read_text().upper().replace("PASSWORDS", "")


def test_systemd_knows_every_line_of_it() -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        return  # a machine without systemd has no use for it either
    done = subprocess.run([analyze, "verify", str(PATH)], capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if "streamco" in line and "is not executable" not in line]
    assert said == []
