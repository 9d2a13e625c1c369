"""The dashboards' process: gunicorn's master, and a worker with threads that serves pages and follows the topics."""

import os
from typing import Any

import structlog
from gunicorn.app.base import BaseApplication

from dashboards.app.web import Web
from dashboards.app.worker import MAX_CONNECTIONS, PatientWorker
from dashboards.settings import DashboardsSettings
from runtime.parent import end_with_parent

log = structlog.get_logger(__name__)
_TIMEOUT_SECONDS = 30
_STOP_SECONDS = 5


class _Application(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: DashboardsSettings) -> None:
        self._settings = settings
        self._master_pid = os.getpid()
        self._web: Web | None = None
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"{settings.host}:{settings.port}",
            "workers": settings.workers,
            "worker_class": PatientWorker,
            "worker_connections": MAX_CONNECTIONS,
            "threads": settings.threads,
            "timeout": _TIMEOUT_SECONDS,
            "graceful_timeout": _STOP_SECONDS,
            "keepalive": 15,
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108, PTH112
            "limit_request_line": 8190,
            "limit_request_field_size": 16_380,
            "accesslog": None,
            "loglevel": "warning",
            "post_fork": self._after_fork,
            "worker_exit": self._at_exit,
            "control_socket_disable": True,
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        return self._made().server

    def _made(self) -> Web:
        if self._web is None:
            self._web = Web(self._settings)
        return self._web

    def _after_fork(self, _server: Any, _worker: Any) -> None:
        """In the worker: it ends with the master, and has threads and connections of its own."""
        end_with_parent(self._master_pid)
        self._made().start()

    def _at_exit(self, _server: Any, _worker: Any) -> None:
        if self._web is not None:
            self._web.stop()


def run(settings: DashboardsSettings) -> None:
    """Serve until SIGTERM."""
    log.info("dashboards listen", host=settings.host, port=settings.port)
    _Application(settings).run()
