"""One line for each fault that was tried: what it was, how often it bit, and what the audit said afterwards."""

import json
import os
from pathlib import Path


def report(fault: str, kills: int, legs: int, duplicates: int, audit: str) -> None:
    """Print the line, and append it as JSON to the file that STREAMCO_FAULTS_REPORT names, if it names one.

    `kills`: processes killed, or links cut; `legs`: distinct legs at the end; `duplicates`: repeats that were attempted
    and came to nothing; `audit`: its verdict, `equal` or what differs.
    """
    print(f"{fault}: {kills} kills, {legs} legs, {duplicates} duplicates attempted, audit {audit}")
    if place := os.environ.get("STREAMCO_FAULTS_REPORT"):
        row = {"fault": fault, "kills": kills, "legs": legs, "duplicates": duplicates, "audit": audit}
        with Path(place).open("a") as file:
            file.write(json.dumps(row) + "\n")
