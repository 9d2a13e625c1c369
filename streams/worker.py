"""A stream worker: one process, one role, crash-only. It works, or it ends non-zero and is started again."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import faust
import structlog
import uvloop

from runtime.heartbeat import send_beat
from schemas.topics import CALLS, DEAD_LETTERS, DECISIONS, NODES, RATED_LEGS
from streams.app import make_app
from streams.billing import add_billing
from streams.cdrs import add_cdrs
from streams.control import run_control
from streams.coordination import coordination_error
from streams.folds.standstill import Partition
from streams.live import add_live
from streams.quality import run_quality
from streams.settings import Role, StreamsSettings
from streams.watch import Watch

log = structlog.get_logger(__name__)
BEAT_SECONDS: Final = 1.0
_ROLES: Final = {"billing": add_billing, "cdrs": add_cdrs, "live": add_live}
READ: Final[dict[Role, set[str]]] = {
    "billing": {CALLS.name, RATED_LEGS.name, DEAD_LETTERS.name},
    "cdrs": {RATED_LEGS.name, DECISIONS.name},
    "live": {CALLS.name, NODES.name},
}
# Those that keep no more than a window: they read the log without a group, and have nothing that could stand still.
_PLAIN: Final[dict[Role, Callable[[StreamsSettings, Callable[[float], bool]], None]]] = {
    "quality": run_quality,
    "control": run_control,
}


class _Seldom(logging.Filter):
    """Lets one line a second of a logger through: a broker that is away makes a hundred of them a second."""

    def __init__(self) -> None:
        super().__init__()
        self._next_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + 1.0
        return True


def build_app(settings: StreamsSettings) -> faust.App:
    """The Faust app of the role, with its agents and its beat."""
    app = make_app(settings)
    _ROLES[settings.role](app, settings)

    @app.timer(BEAT_SECONDS)  # type: ignore[untyped-decorator]
    async def beat() -> None:
        if app.rebalancing:
            return
        # With more workers than the partitions divide by, one may have none: it is well, and waits for its turn.
        if (partitions := assigned(app, settings.role)) or app.unassigned:
            send_beat(settings.beat, detail=f"{len(partitions)} partitions")

    return app


def assigned(app: faust.App, role: Role) -> set[Partition]:
    """The partitions that this worker reads now, without its tables' changelogs; none while they are given out."""
    if app.consumer is None or app.rebalancing or app.in_recovery:
        return set()
    return {Partition(one.topic, one.partition) for one in app.consumer.assignment() if one.topic in READ[role]}


def run(settings: StreamsSettings) -> None:
    """Work until SIGTERM; ends the process with a non-zero code when the worker crashed."""
    if settings.role in _PLAIN:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        log.info("stream worker starts", role=settings.role, instance=settings.instance)
        _PLAIN[settings.role](settings, stop.wait)
        log.info("stream worker ends", role=settings.role)
        return
    uvloop.install()
    for name in ("aiokafka", "faust.transport.drivers.aiokafka", "mode"):
        for handler_filter in [_Seldom()]:
            logging.getLogger(name).addFilter(handler_filter)
    app = build_app(settings)
    watch = Watch(
        settings,
        app.conf.id,
        lambda: assigned(app, settings.role),
        lambda: bool(app.should_stop),
        lambda: coordination_error(app),
    )
    worker: Any = faust.Worker(app, loglevel="WARN", override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None  # it would write a terminal's codes into the log
    log.info("stream worker starts", role=settings.role, instance=settings.instance)
    watch.start()
    try:
        worker.execute_from_commandline()
    finally:
        watch.stop()
        reason = worker.crash_reason or app.crash_reason
        if reason is not None:
            log.error("stream worker crashed", role=settings.role, reason=repr(reason), exc_info=reason)
        log.info("stream worker ends", role=settings.role)
    if worker.crashed:
        sys.exit(1)
