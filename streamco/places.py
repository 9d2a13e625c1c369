"""Where things are under STREAMCO_HOME."""

from pathlib import Path

from streamco.settings import Settings


class Places:
    """Paths only; `make` makes the directories."""

    def __init__(self, settings: Settings) -> None:
        self.home = settings.home
        self.run = settings.home / "run"
        self.logs = settings.home / "logs"
        self.status = self.run / "status.json"
        self.lock = self.run / "supervisor.lock"
        self.supervisor_pid = self.run / "supervisor.pid"
        self.router = settings.home / "router"
        self.streams = settings.home / "streams"

    def make(self) -> None:
        """The directories that processes expect."""
        for directory in (self.run, self.logs, self.router, self.streams, self.home / "nodes"):
            directory.mkdir(parents=True, exist_ok=True)

    def node(self, name: str) -> Path:
        """A node's directory: etc, journal, epoch, the agent's state."""
        return self.home / "nodes" / name

    def pid(self, component: str) -> Path:
        """The pid file of a component."""
        return self.run / f"{component}.pid"

    def beat(self, component: str) -> Path:
        """Where a process of ours says that it works."""
        return self.run / f"{component}.beat"

    def log(self, component: str) -> Path:
        """A component's log file: JSON lines for processes of ours."""
        return self.logs / f"{component}.log"
