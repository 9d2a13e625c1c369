"""START: what it costs a process to import what it runs, with packages that are compiled and with some that are not.

Where PYTHONDONTWRITEBYTECODE is set, as in many container images, a process keeps nothing of what it compiles: unless
the set-up has done it, all that is imported is compiled at each start. The two take turns.

The commands run in an empty home, with servers that refuse them: so the figures are those of the start and the first
attempt. `--against TREE` runs the same commands of another working tree in turns; it does nothing else then.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent.parent
COMMANDS: Final = {
    "--help": ("--help",),
    "status": ("status",),
    "load": ("load", "docs/examples/world.yaml"),
    "load-deck": ("load-deck", "acme", "docs/examples/acme.csv"),
    "pay": ("pay", "Acme prepaid", "1", "--reason", "none"),
    "controls list": ("controls", "list"),
    "dead-letters list": ("dead-letters", "list"),
    "audit": ("audit",),
    "check-routing": ("check-routing", "--from", "acme", "--callee", "+447700900123"),
    "why": ("why", "ast1-1795609861-1795609900.12"),
}
MODULES: Final = {
    "router": "router.server.main",
    "node agent": "agent.main",
    "stream worker": "streams.worker",
    "auditor": "sinks.audit.continuous.main",
    "dashboards": "dashboards.app.serve",
    "command line": "streamco.cli",
}


def measure(arguments: list[str]) -> dict[str, Any]:
    """Least processor seconds of an import by process (compiled, each time, their ratio), and of each command."""
    parser = argparse.ArgumentParser(prog="bench START")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another working tree, whose commands are run in turns with ours")
    options = parser.parse_args(arguments)
    commands = {name: _command(words, options.turns, options.against) for name, words in COMMANDS.items()}
    if options.against:
        return {"commands": commands}
    return {
        "commands": commands,
        "processor_seconds": {name: _one(module, options.turns) for name, module in MODULES.items()},
    }


def _one(module: str, turns: int) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    _import(module, environment)  # our own modules are compiled now
    compiled, each_time = [], []
    for _ in range(turns):
        compiled.append(_import(module, environment))
        with tempfile.TemporaryDirectory() as empty:
            nothing = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": empty}
            each_time.append(_import(module, environment | nothing))
    best, worst = min(compiled), min(each_time)
    return {"compiled": round(best, 2), "compiled_each_time": round(worst, 2), "ratio": round(worst / best, 1)}


def _command(words: tuple[str, ...], turns: int, against: Path | None) -> dict[str, float]:
    """Least processor and wall seconds of a command, and those of another tree before it."""
    trees = {"": HERE} | ({"before_": against} if against else {})
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in trees}
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.environ["PATH"], "HOME": home, "STREAMCO_HOME": f"{home}/home", "STREAMCO_POSTGRES_PORT": "1999",
            "STREAMCO_KAFKA_PORT": "1998", "STREAMCO_CLICKHOUSE_PORT": "1997",
        }  # fmt: skip
        for turn in range(turns + 1):
            for name, tree in trees.items():
                run = [sys.executable, "-m", "streamco.cli", *words]
                one = _run(run, environment, cwd=tree, check=False)
                if turn:  # the first compiles our own modules
                    took[name].append(one)
    found = {}
    for name, times in took.items():
        found[f"{name}processor"] = round(min(processor for processor, _ in times), 2)
        found[f"{name}wall"] = round(min(wall for _, wall in times), 2)
    if against:
        found["ratio"] = round(found["before_processor"] / found["processor"], 1)
    return found


def _import(module: str, environment: dict[str, str]) -> float:
    """Processor seconds of a process that imports a module and ends."""
    return _run([sys.executable, "-c", f"import {module}"], environment, cwd=HERE, check=True)[0]


def _run(command: list[str], environment: dict[str, str], *, cwd: Path, check: bool) -> tuple[float, float]:
    """(processor, wall) seconds of a process, from its start to its end."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=check, env=environment, cwd=cwd, capture_output=True)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall
