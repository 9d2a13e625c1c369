"""START: what it costs a process to import what it runs, with packages that are compiled and with some that are not.

Where PYTHONDONTWRITEBYTECODE is set, as in many container images, a process keeps nothing of what it compiles: unless
the set-up has done it, all that is imported is compiled at each start. The two take turns.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from typing import Any, Final

MODULES: Final = {
    "router": "router.server",
    "node agent": "router.agent.main",
    "stream worker": "streams.worker",
    "auditor": "sinks.auditor.main",
    "dashboards": "dashboards.serve",
    "command line": "streamco.cli",
}


def measure(arguments: list[str]) -> dict[str, Any]:
    """Least processor seconds of an import by process: compiled, compiled each time, and their ratio."""
    parser = argparse.ArgumentParser(prog="bench START")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args(arguments)
    return {"processor_seconds": {name: _one(module, options.turns) for name, module in MODULES.items()}}


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


def _import(module: str, environment: dict[str, str]) -> float:
    """Processor seconds of a process that imports a module and ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
