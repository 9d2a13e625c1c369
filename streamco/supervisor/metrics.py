"""The supervisor's own numbers: who is at work, how often each was started again, how long the logs are."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from runtime.metrics import gauge, write_metrics
from streamco.supervisor.component import AT_WORK, Status
from streamco.supervisor.keeper import LOG_LIMIT_BYTES
from streamco.supervisor.policy import MOST_ENDS

UP: Final = gauge("component_up", "1: at work, degraded or external included; 0: anything else.", ["name"])
DEGRADED: Final = gauge("component_degraded", "1: at work, but for a part that `streamco status` names.", ["name"])
RESTARTS: Final = gauge("component_restarts", "Starts after the first, since the supervisor began.", ["name"])
ENDS: Final = gauge("component_ends", "Ends within the last ten minutes; beyond the bound it stays down.", ["name"])
ENDS_LIMIT: Final = gauge("component_ends_limit", "Bound of streamco_component_ends.")
LOG_BYTES: Final = gauge(
    "log_bytes", "Length of a component's log file; emptied into one old file at the bound.", ["name"]
)
LOG_LIMIT: Final = gauge("log_bytes_limit", "Bound of streamco_log_bytes, looked at every few seconds.")


def tell(statuses: Iterable[Status], ends: Mapping[str, int], path: Path) -> None:
    """Write the metrics of these components to `path`. `ends`: how often each has ended lately."""
    LOG_LIMIT.set(LOG_LIMIT_BYTES)
    ENDS_LIMIT.set(MOST_ENDS)
    for status in statuses:
        UP.labels(status.name).set(status.state in AT_WORK)
        DEGRADED.labels(status.name).set(status.state == "degraded")
        RESTARTS.labels(status.name).set(status.restarts)
        ENDS.labels(status.name).set(ends.get(status.name, 0))
        if status.log is not None:
            log = Path(status.log)
            LOG_BYTES.labels(status.name).set(log.stat().st_size if log.exists() else 0)
    write_metrics(path)
