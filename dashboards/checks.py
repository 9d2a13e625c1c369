"""Questions to the routers' core, for page and API: bounded in time and number."""

from collections.abc import Callable, Mapping

from router.check import (
    Checked,
    CheckSettings,
    LookUps,
    MomentSnapshots,
    Question,
    SnapshotAwayError,
    check,
    read_full,
    read_reached,
)
from router.routing import World
from schemas.quality import Quality


class Checks:
    """Safe to use from every thread. Without settings every question is answered with SnapshotAwayError."""

    def __init__(
        self, settings: CheckSettings | None, quality: Callable[[], Mapping[str, Quality]], clock_ms: Callable[[], int]
    ) -> None:
        """Nothing is read yet. `quality` tells the figures of now."""
        self._quality = quality
        self._settings = settings
        self._snapshots = MomentSnapshots(settings) if settings is not None else None
        self._look_ups = LookUps(settings.lookup_tokens if settings is not None else {})
        self._clock_ms = clock_ms

    def ask(self, question: Question) -> Checked:
        """The answer, now or at the moment asked. Raises QuestionError, SnapshotAwayError."""
        if self._settings is None or self._snapshots is None:
            raise SnapshotAwayError("check routing is not set up here: these pages were not told where snapshots are")
        now_ms = self._clock_ms()
        found = self._snapshots.at(question.at_ms, now_ms)
        figures = self._quality() if question.at_ms is None else {}
        full, limits = read_full(self._settings.live.postgres, question)
        reached = read_reached(self._settings.live.postgres, question)
        dip = self._look_ups.ask(found.snapshot, question)
        return check(
            World(found.snapshot, figures, full),
            question,
            now_ms if question.at_ms is None else question.at_ms,
            expected_seconds=self._settings.live.expected_call_seconds,
            source=found.source,
            quality="unknown" if question.at_ms is not None else "read" if figures else "away",
            limits=limits,
            reached=reached,
            dip=dip,
        )

    def close(self) -> None:
        """End what is open of look-ups."""
        self._look_ups.close()

    def peers(self) -> list[str]:
        """The originators' names in the newest snapshot; none where there is no snapshot now."""
        if self._snapshots is None:
            return []
        snapshot = self._snapshots.live(self._clock_ms())
        return sorted(peer.name for peer in snapshot.originators) if snapshot is not None else []
