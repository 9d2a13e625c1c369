"""A stream worker: one process, one role, crash-only. It works, or it ends non-zero and is started again."""

import logging
import sys
import time
from typing import Any, Final

import faust
import structlog
import uvloop

from sinks.beat import send_beat
from streams.app import make_app
from streams.billing import add_billing
from streams.cdrs import add_cdrs
from streams.live import add_live
from streams.settings import StreamsSettings

log = structlog.get_logger(__name__)
BEAT_SECONDS: Final = 1.0
_ROLES: Final = {"billing": add_billing, "cdrs": add_cdrs, "live": add_live}


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
        assigned = len(app.consumer.assignment()) if app.consumer is not None else 0
        if assigned and not app.rebalancing:
            send_beat(settings.beat, detail=f"{assigned} partitions")

    return app


def run(settings: StreamsSettings) -> None:
    """Work until SIGTERM; ends the process with a non-zero code when the worker crashed."""
    uvloop.install()
    for name in ("aiokafka", "faust.transport.drivers.aiokafka", "mode"):
        for handler_filter in [_Seldom()]:
            logging.getLogger(name).addFilter(handler_filter)
    app = build_app(settings)
    worker: Any = faust.Worker(app, loglevel="WARN", override_logging=False, redirect_stdouts=False, quiet=True)
    log.info("stream worker starts", role=settings.role, instance=settings.instance)
    try:
        worker.execute_from_commandline()
    finally:
        reason = worker.crash_reason or app.crash_reason
        if reason is not None:
            log.error("stream worker crashed", role=settings.role, reason=repr(reason), exc_info=reason)
        log.info("stream worker ends", role=settings.role)
    if worker.crashed:
        sys.exit(1)
