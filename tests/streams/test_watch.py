"""The watch ends a worker that will get no partitions any more, and lets one that is ending do so by itself."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from runtime.connections import Kafka
from streams import watch
from streams.settings import StreamsSettings
from streams.watch import Watch


def ended_for(monkeypatch: pytest.MonkeyPatch, ending: Callable[[], bool], broken: Callable[[], str]) -> list[str]:
    """What a watch ends a worker for, within five ticks."""
    monkeypatch.setattr(watch, "TICK_SECONDS", 0.01)
    settings = StreamsSettings.model_construct(kafka=Kafka(bootstrap="127.0.0.1:9"), asleep_seconds=60.0, role="live")
    made = Watch(settings, "streamco-live", lambda: (), ending, broken)
    reasons: list[str] = []

    def end(reason: str) -> Any:
        reasons.append(reason)
        made.stop()

    monkeypatch.setattr(made, "_end", end)
    made.start()
    time.sleep(0.1)
    made.stop()
    return reasons


def test_a_worker_that_gets_no_partitions_any_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended_for(monkeypatch, lambda: False, lambda: "why") == ["why"]


def test_one_that_may_get_some_is_not_and_neither_is_one_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended_for(monkeypatch, lambda: False, lambda: "") == []
    assert ended_for(monkeypatch, lambda: True, lambda: "why") == []
