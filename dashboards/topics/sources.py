"""Where pages and paths of the API read from: one store for each topic that has one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from dashboards.kit.live import LiveStore
from dashboards.kit.names import NameStore
from dashboards.kit.queries import Queries
from dashboards.topics.audit.store import AuditStore
from dashboards.topics.check_routing.questions import Checks
from dashboards.topics.controls.store import ControlStore
from dashboards.topics.edge_refusals.store import EdgeRefusalStore
from dashboards.topics.reachability.store import ReachStore
from dashboards.topics.translation_test.store import Trials
from dashboards.topics.users.store import UserStore


@dataclass(frozen=True, kw_only=True)
class Sources:
    """All of them are safe to use from every thread."""

    clock: Callable[[], datetime]
    queries: Queries
    names: NameStore
    live: LiveStore
    audits: AuditStore
    checks: Checks
    controls: ControlStore
    edge_refusals: EdgeRefusalStore
    reach: ReachStore
    trials: Trials
    users: UserStore

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return int(self.clock().timestamp() * 1000)
