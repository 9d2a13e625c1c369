"""Structured logs: one JSON object a line on stderr, which the supervisor leads into the component's log file.

What libraries log through `logging` takes the same form. On a terminal lines are for people instead.
"""

import logging
import sys
from pathlib import Path
from typing import Any, Final

import structlog

_SHARED: Final[list[Any]] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def configure_logs(
    component: str, *, level: int = logging.INFO, for_people: bool = False, path: Path | None = None
) -> None:
    """Set up this process's logs, to stderr or appended to a file; every line names the component."""
    final: list[Any] = (
        [structlog.dev.ConsoleRenderer()]
        if for_people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )

    def name_component(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event["component"] = component
        return event

    shared = [name_component, *_SHARED]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr) if path is None else logging.FileHandler(path, delay=True)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)  # warns of every busy moment of the machine
    logging.getLogger("kafka.net.sasl").setLevel(logging.ERROR)  # warns at each login without TLS, on loopback too
    for noisy in ("kafka", "aiokafka", "asyncio", "urllib3"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
