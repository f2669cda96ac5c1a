"""Writes a snapshot in the formats that Prometheus reads."""

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import core, exposition
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.utils import floatToGoString

from gateway.metrics.family import Family
from gateway.metrics.snapshot import Snapshot

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def wants_openmetrics(accept: str) -> bool:
    """Return whether an Accept header has OpenMetrics; else it gets the text format, which everything reads."""
    return any(each.partition(";")[0].strip().lower() == "application/openmetrics-text" for each in accept.split(","))


def render(families: Mapping[str, Family], snapshot: Snapshot, accept: str) -> tuple[str, bytes]:
    """Return the Content-Type and the body."""
    content_type, write = (OPENMETRICS, openmetrics) if wants_openmetrics(accept) else (TEXT, exposition)
    generate: Any = write.generate_latest  # its types want a registry; an object with collect() is enough
    return content_type, generate(_Collected(families, snapshot))


class _Collected:
    """What prometheus-client writes: an object with ``collect``, as its registries are."""

    def __init__(self, families: Mapping[str, Family], snapshot: Snapshot) -> None:
        self._families = families
        self._snapshot = snapshot

    def collect(self) -> Iterator[Any]:
        for name, series in self._snapshot.items():
            yield _metric(self._families[name], series)


def _metric(family: Family, series: list[tuple[list[str], Any]]) -> Any:
    labels = () if family.kind == "info" else family.labels  # an info has them with each value
    metric = _KINDS[family.kind](_base(family), family.help, labels=labels)
    for values, value in series:
        if family.kind == "histogram":
            metric.add_metric(values, _buckets(family, value["counts"]), value["sum"])
        elif family.kind == "info":
            metric.add_metric([], dict(zip(family.labels, values, strict=True)))
        else:
            metric.add_metric(values, value)
    return metric


_KINDS: Mapping[str, Any] = {
    "counter": core.CounterMetricFamily,
    "gauge": core.GaugeMetricFamily,
    "histogram": core.HistogramMetricFamily,
    "info": core.InfoMetricFamily,
}


def _base(family: Family) -> str:
    """Return the name as prometheus-client takes it: it appends ``_total`` and ``_info`` itself."""
    return family.name.removesuffix("_total").removesuffix("_info")


def _buckets(family: Family, counts: list[int]) -> list[tuple[str, float]]:
    """Return what Prometheus has: each bucket with all below it."""
    bounds = map(floatToGoString, (*family.bounds, math.inf))
    return list(zip(bounds, accumulate(counts), strict=True))
