"""Questions to the routers' core, for page and API: bounded in time and number."""

from collections.abc import Callable, Mapping

from router.check import Checked, CheckSettings, LookUps, MomentSnapshots, Question, SnapshotAwayError, Sources, ask
from runtime.postgres_pool import Connections
from schemas.quality import Quality


class Checks:
    """Safe to use from every thread. Without settings every question is answered with SnapshotAwayError."""

    def __init__(
        self,
        settings: CheckSettings | None,
        connections: Connections,
        quality: Callable[[], Mapping[str, Quality]],
        clock_ms: Callable[[], int],
    ) -> None:
        """Nothing is read yet. `quality` tells the figures of now; none at all are figures that nobody tells."""
        self._clock_ms = clock_ms
        self._look_ups = LookUps(settings.lookup_tokens if settings is not None else {})
        self._sources: Sources | None = None
        if settings is not None:
            self._sources = Sources(
                MomentSnapshots(settings),
                self._look_ups,
                lambda: connections.lent(read_only=True),
                lambda: quality() or None,
                settings.live.expected_call_seconds,
            )

    def ask(self, question: Question) -> Checked:
        """The answer, now or at the moment asked. Raises QuestionError, SnapshotAwayError."""
        if self._sources is None:
            raise SnapshotAwayError("check routing is not set up here: these pages were not told where snapshots are")
        return ask(self._sources, question, self._clock_ms())

    def close(self) -> None:
        """End what is open of look-ups."""
        self._look_ups.close()

    def peers(self) -> list[str]:
        """The originators' names in the newest snapshot; none where there is no snapshot now."""
        if self._sources is None:
            return []
        snapshot = self._sources.snapshots.live(self._clock_ms())
        return sorted(peer.name for peer in snapshot.originators) if snapshot is not None else []
