"""What became of the spans of this process, for the metrics. Nothing here imports OpenTelemetry."""

import threading
from collections.abc import Mapping

RESULTS = ("sent", "rejected", "failed", "dropped")


class SpanCounts:
    """Numbers of spans by what became of them.

    ``sent``: the collector has them. ``rejected``: it said that it does not take them. ``failed``: it was away, too
    slow, or answered with an error. ``dropped``: too many waited, or the gateway ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # spans end on any thread, and each gateway has one that sends
        self._results = dict.fromkeys(RESULTS, 0)

    def add(self, result: str, number: int) -> None:
        with self._lock:
            self._results[result] += number

    @property
    def results(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._results)


span_counts = SpanCounts()
