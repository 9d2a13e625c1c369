"""Whether a worker can still be given partitions.

aiokafka keeps up with its group in one task. Where that fails, such as by a broker's first answer that names no broker
(one that has just been started, or fenced), the task ends with a line in the log, and Faust never asks for it: the
worker lives on, without partitions, and is well by every other sign.
"""

from typing import Any, Final

WORDS: Final = "its place in the group is not kept up with any more"


def coordination_error(app: Any) -> str:
    """Why nobody will give this worker partitions any more; empty while somebody may.

    Asked from another thread than the worker's: it looks, and makes nothing (`app.consumer` would). The names are
    aiokafka's and Faust's own (docs/decisions/0019).
    """
    thread = getattr(app._consumer, "_thread", None)
    coordinator = getattr(getattr(thread, "_consumer", None), "_coordinator", None)
    task = getattr(coordinator, "_coordination_task", None)
    if task is None or not task.done() or task.cancelled():
        return ""
    error = task.exception()
    return "" if error is None else f"{WORDS}: {error!r}"[:300]
