"""What a process says of itself in numbers, in Prometheus' text format, beside its beat: run/NAME.prom.

Everything in the product that could grow has a bound (docs/bounds.md); a `Bounded` shows how full it is, where it ends,
and, where something is given up at the bound, how much. A file and no port: every process has one already where it says
that it lives, and whoever scrapes reads them all in one place (`streamco metrics`, node_exporter's textfile collector).
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.parser import text_string_to_metric_families

disable_created_metrics()  # type: ignore[no-untyped-call]  # the moment of a counter's birth says nothing here
REGISTRY: Final = CollectorRegistry()
SUFFIX: Final = ".prom"
WRITE_SECONDS: Final = 5.0
_PREFIX: Final = "streamco_"
_LABEL: Final = "component"
_written_at: dict[Path, float] = {}


class Bounded:
    """Something with a bound: gauges `streamco_NAME` and `streamco_NAME_limit`, counter `streamco_NAME_lost_total`."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry = REGISTRY) -> None:
        """`text`: what is counted, for people. Shown only once it is watched."""
        self.name = f"{_PREFIX}{name}"
        self._registry = registry
        self._watched = False
        self._used = Gauge(self.name, text, registry=None)
        self._limit = Gauge(f"{self.name}_limit", f"Bound of {self.name}.", registry=None)
        self._lost = Counter(f"{self.name}_lost", f"Given up at the bound of {self.name}.", registry=None)

    def watch(self, limit: float, used: Callable[[], float]) -> None:
        """From now on `used()` says how full it is; it is asked when the metrics are written."""
        self._limit.set(limit)
        self._used.set_function(used)
        if not self._watched:
            self._watched = True
            for metric in (self._used, self._limit, self._lost):
                self._registry.register(metric)

    def lose(self, count: int = 1) -> None:
        """So many were given up."""
        self._lost.inc(count)


def gauge(name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
    """A gauge `streamco_NAME` of this process."""
    return Gauge(f"{_PREFIX}{name}", text, tuple(labels), registry=REGISTRY)


def counter(name: str, text: str, labels: Iterable[str] = ()) -> Counter:
    """A counter `streamco_NAME_total` of this process."""
    return Counter(f"{_PREFIX}{name}", text, tuple(labels), registry=REGISTRY)


def write_metrics(path: Path | None, registry: CollectorRegistry = REGISTRY, *, now: float | None = None) -> None:
    """Write the metrics whole (rename) to `path`; at most every WRITE_SECONDS. Without a path it does nothing."""
    if path is None:
        return
    moment = time.monotonic() if now is None else now
    if moment - _written_at.get(path, -WRITE_SECONDS) < WRITE_SECONDS:
        return
    _written_at[path] = moment
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(generate_latest(registry))
    part.replace(path)


def collected(directory: Path) -> str:
    """The metrics of all processes that write into a directory, each sample with the label `component`."""
    families: dict[str, tuple[str, str, list[str]]] = {}
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
            _, _, lines = families.setdefault(family.name, (family.type, family.documentation, []))
            for sample in family.samples:
                labels = {_LABEL: path.stem, **sample.labels}
                text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
                lines.append(f"{sample.name}{{{text}}} {sample.value!r}")
    blocks = []
    for name, (kind, documentation, lines) in sorted(families.items()):
        title = f"{name}_total" if kind == "counter" else name
        blocks.append("\n".join([f"# HELP {title} {documentation}", f"# TYPE {title} {kind}", *lines]) + "\n")
    return "".join(blocks)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
