"""Crashes of nodes: at an incident's moment a node dies with its calls up, and starts anew with a new epoch.

No line closes what was up, and its AMI is gone: what is left is the journal, as after a kill -9 of Asterisk. The
moments come from the scheduler; what needs the event loop is done by the run's own loop, between two steps.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from simulator.ami_server import AmiServer
from simulator.incidents import Incident
from simulator.node import Node
from simulator.scheduler import Scheduler
from simulator.settings import SimulatorSettings
from sinks.epochs import issue_epoch

log = structlog.get_logger(__name__)
KIND: Final = "node-crash"
AWAY_SECONDS: Final = 2.0  # without a duration; more than a second, by which AMI tells two starts apart


class SimulatorError(Exception):
    """Something outside keeps the simulator from its work: says what."""


class Host:
    """The machine of the nodes: starts one, or starts one anew, and takes its AMI away."""

    def __init__(self, settings: SimulatorSettings, scheduler: Scheduler) -> None:
        """Nothing is started yet."""
        self._settings = settings
        self._scheduler = scheduler
        self._places = {node.name: node for node in settings.nodes}

    def issue_epoch(self, name: str) -> int:
        """The number of the node's next start. Raises EpochError."""
        return issue_epoch(self.directory_of(name), int(time.time()))

    def directory_of(self, name: str) -> Path:
        """Where the node's journal is."""
        return self._places[name].directory

    async def open_ami(self, fake: Node) -> None:
        """The node's AMI, of an Asterisk that has just started. Raises SimulatorError where the port is taken."""
        settings, port = self._settings, self._places[fake.name].ami_port
        fake.ami = AmiServer(
            node=fake.name,
            user=settings.ami_user,
            secret=settings.ami_secret.get_secret_value(),
            channels=fake.channels,
            hang_up=lambda channel, cause: fake.hang_up(channel, cause, self._scheduler.now_ms()),
            now_ms=self._scheduler.now_ms,
            variables=fake.limits,
        )
        try:
            await fake.ami.start(settings.ami_host, port)
        except OSError as error:
            raise SimulatorError(f"AMI of node {fake.name} on {settings.ami_host}:{port}: {error}") from error

    async def close_ami(self, fake: Node) -> None:
        """The node's AMI is gone, in the middle of whatever it said."""
        ami, fake.ami = fake.ami, None
        if ami is not None:
            await ami.stop()


class Crashes:
    """The crashes of one run. `nodes` by name; `plan` once, then `carry_out` in every round of the run's loop."""

    def __init__(
        self, incidents: Sequence[Incident], nodes: Mapping[str, Node], host: Host, scheduler: Scheduler
    ) -> None:
        self._incidents = [incident for incident in incidents if incident.kind == KIND]
        self._nodes = nodes
        self._host = host
        self._scheduler = scheduler
        self._due: deque[tuple[Incident, Node | None]] = deque()  # with a node: it is to start anew
        self.calls = 0
        self.crashed: list[str] = []

    def plan(self, start_ms: int) -> None:
        """Wait for each incident's moment."""
        for incident in self._incidents:
            self._wait(start_ms + int(incident.start_seconds * 1_000), incident, None)

    @property
    def are_due(self) -> bool:
        """Whether `carry_out` has something to do."""
        return bool(self._due)

    async def carry_out(self) -> None:
        """What has come due."""
        while self._due:
            incident, node = self._due.popleft()
            if node is None:
                await self._crash(incident)
            else:
                await self._start_anew(node)

    async def _crash(self, incident: Incident) -> None:
        node = self._nodes.get(incident.target) or max(self._nodes.values(), key=lambda one: len(one.calls))
        if not node.is_up:
            return
        lost = node.crash()
        self.calls += lost
        self.crashed.append(node.name)
        await self._host.close_ami(node)
        seconds = AWAY_SECONDS if incident.duration_seconds is None else max(incident.duration_seconds, AWAY_SECONDS)
        log.warning("node crashes", node=node.name, epoch=node.epoch, calls=lost, seconds=seconds)
        self._wait(self._scheduler.now_ms() + int(seconds * 1_000), incident, node)

    async def _start_anew(self, node: Node) -> None:
        node.start_anew(self._host.issue_epoch(node.name))
        await self._host.open_ami(node)
        log.info("node has started anew", node=node.name, epoch=node.epoch)

    def _wait(self, at_ms: int, incident: Incident, node: Node | None) -> None:
        self._scheduler.at(at_ms, lambda: self._due.append((incident, node)))
