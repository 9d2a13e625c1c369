"""Commands are imported when they are run: the list says what each says of itself, and the light ones stay light."""

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streamco.cli import commands
from streamco.command_table import LAZY
from streamco.lazy_group import LazyGroup

ROOT = Path(__file__).resolve().parents[2]
# What takes the longest to import, and what only some commands need.
HEAVY = ("psycopg", "numpy", "kafka", "clickhouse_connect", "pyarrow", "aiohttp", "dash", "structlog", "yaml",
         "prometheus_client", "router", "sinks", "configuration", "billing", "agent", "dashboards",
         "streams")  # fmt: skip
TELL = """
import sys
from streamco.cli import main
sys.argv = ["streamco", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize("name", sorted(LAZY))
def test_the_line_of_the_list_is_the_commands_own(name: str) -> None:
    lazy = LAZY[name]
    command = getattr(importlib.import_module(lazy.module), lazy.attribute)
    assert command.name == name
    assert click.Command(name, help=lazy.line).get_short_help_str(200) == command.get_short_help_str(200)


def test_the_list_is_that_of_click_itself() -> None:
    assert isinstance(commands, LazyGroup)
    eager = click.Group("streamco", help=commands.help, params=list(commands.params))
    for name in commands.list_commands(click.Context(commands)):
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        eager.add_command(command, name)
    assert set(LAZY) | {"up", "status", "load-deck"} <= set(eager.commands)
    shown = [CliRunner().invoke(group, ["--help"], prog_name="streamco").output for group in (commands, eager)]
    assert shown[0] == shown[1]


def test_a_command_that_is_not_there_is_refused_by_name() -> None:
    result = CliRunner().invoke(commands, ["stauts"])
    assert result.exit_code == 2
    assert "No such command 'stauts'" in result.output


@pytest.mark.parametrize(
    ("arguments", "without"),
    [
        (("--help",), (*HEAVY, "pydantic", "psutil")),
        (("status",), HEAVY),
        (("logs",), HEAVY),
        (("load-deck", "acme", "/nowhere.csv"), ("numpy", "kafka", "clickhouse_connect", "router", "dashboards")),
        (("pay", "nobody", "1", "--reason", "x"), ("numpy", "kafka", "clickhouse_connect", "router", "dashboards")),
        (("why", "ast1-1795609861-1795609900.12"), ("numpy", "router", "dash")),
    ],
)
def test_a_command_imports_what_it_needs(tmp_path: Path, arguments: tuple[str, ...], without: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TELL, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "STREAMCO_HOME": str(tmp_path / "home"),
             "STREAMCO_POSTGRES_PORT": "1999", "STREAMCO_CLICKHOUSE_PORT": "1998"},
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    imported = set(done.stderr.splitlines()[-1].split())
    assert "streamco" in imported, done.stderr
    assert not imported & set(without)
