"""Metrics: how full, where it ends, what was given up; all processes' files read as one."""

from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from runtime.heartbeat import send_beat
from runtime.metrics import Bounded, collected, write_metrics


def samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels["component"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_bound_shows_how_full_it_is_and_what_was_given_up(tmp_path: Path) -> None:
    for name, waiting in (("one", 3), ("two", 5)):
        registry = CollectorRegistry()
        queue = Bounded("queue", "Things that wait.", registry)
        queue.watch(7, lambda waiting=waiting: waiting)
        queue.lose(waiting - 3)
        write_metrics(tmp_path / f"{name}.prom", registry)
    text = collected(tmp_path)
    assert samples(text) == {
        ("streamco_queue", "one"): 3,
        ("streamco_queue", "two"): 5,
        ("streamco_queue_limit", "one"): 7,
        ("streamco_queue_limit", "two"): 7,
        ("streamco_queue_lost_total", "one"): 0,
        ("streamco_queue_lost_total", "two"): 2,
    }
    assert text.count("# TYPE streamco_queue gauge") == text.count("# TYPE streamco_queue_lost_total counter") == 1


def test_they_are_written_now_and_then_only(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    path = tmp_path / "one.prom"
    asked: list[int] = []
    Bounded("queue", "Things.", registry).watch(7, lambda: asked.append(1) or len(asked))  # type: ignore[func-returns-value]
    for now in (100.0, 101.0, 104.9):
        write_metrics(path, registry, now=now)
    assert len(asked) == 1
    write_metrics(path, registry, now=105.1)
    assert len(asked) == 2
    write_metrics(None, registry)


def test_they_come_with_the_beat(tmp_path: Path) -> None:
    send_beat(tmp_path / "router.beat")
    assert (tmp_path / "router.prom").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["router.beat", "router.prom"]


def test_a_label_of_any_text_survives(tmp_path: Path) -> None:
    from prometheus_client import Gauge

    registry = CollectorRegistry()
    hostile = 'a"b\\c\nd'
    Gauge("streamco_thing", "Text.", ["what"], registry=registry).labels(hostile).set(1)
    write_metrics(tmp_path / "one.prom", registry)
    (family,) = text_string_to_metric_families(collected(tmp_path))
    assert family.samples[0].labels == {"component": "one", "what": hostile}


def test_nothing_was_written_yet(tmp_path: Path) -> None:
    assert collected(tmp_path) == ""
