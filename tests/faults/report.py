"""One line of a fault test for people, and one for docs/reliability.md."""

import json
import os
from pathlib import Path


def report(fault: str, kills: int, legs: int, duplicates: int, audit: str) -> None:
    """Print what a fault test did; append it as JSON to the file that STREAMCO_FAULTS_REPORT names, if it is set.

    `kills`: how often the fault was done; `legs`: that went through; `duplicates`: attempted, none of which counted.
    """
    print(f"{fault}: {kills} kills, {legs} legs, {duplicates} duplicates attempted, audit {audit}")
    if path := os.environ.get("STREAMCO_FAULTS_REPORT"):
        line = {"fault": fault, "kills": kills, "legs": legs, "duplicates": duplicates, "audit": audit}
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")
