"""Counts every run of an application, of whatever scope type, behind whatever server: the hook of the metrics.

:class:`~protocols.app_run.AppRun` tells the :class:`RunMeter` of its end, and a connection of its beginning. A server's
counts are found through the context that its connections run in, and the route by the label that the router has left
there. So neither a server, nor a scope type, nor a router does anything for it.
"""

from time import monotonic

from gateway.counts import BOUNDS, ServerCounts, current_counts
from gateway.delivery.current_route import current_route
from protocols.app_run import AppRun

_FIRST = BOUNDS[0]
_counts, _route = current_counts.get, current_route.get


class RunMeter:
    """A :class:`protocols.app_run.Meter`."""

    def opened(self, run: AppRun) -> None:
        _counts().open.add(run)

    def ended(self, run: AppRun) -> None:
        # Written out, because of a short request this is a fiftieth: its status was there before, and it has taken less
        # than the first bound.
        seconds = monotonic() - run.began
        counts = _counts()
        try:
            route = counts.runs.found[run.scope["type"]][_route()]
            buckets = route.statuses[run.result]  # type: ignore[index]  # what is no status is not found
        except KeyError:
            _add(counts, run, seconds)
        else:
            if seconds > _FIRST:
                _add(counts, run, seconds)
            else:
                buckets[0] += 1
                route.seconds += seconds
        if run.is_connection:
            _closed(counts, run)


def _add(counts: ServerCounts, run: AppRun, seconds: float) -> None:
    counts.runs.of(run.scope["type"], _route()).add(run.final_result(), seconds)


def _closed(counts: ServerCounts, run: AppRun) -> None:
    kind = run.scope["type"]
    counts.open.discard(run)
    counts.events[kind] = counts.events.get(kind, 0) + run.received


METER = RunMeter()
