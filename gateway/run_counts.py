"""Counts every run of an application, of whatever scope type, behind whatever server: the hook of the metrics.

:class:`~protocols.app_run.AppRun` tells the :class:`RunMeter` of its end, and a connection of its beginning. A server's
counts are found through the context that its connections run in, and the route by the label that the router has left
there. So neither a server, nor a scope type, nor a router does anything for it.

Where requests come one after the other, the run only appends its seconds to a list of its route and status. Every
:data:`EVERY` seconds the list is counted and emptied. When it stays empty, the route is not busy any more.
"""

import asyncio

from gateway.counts import Durations, current_counts
from gateway.delivery.current_route import current_route
from protocols.app_run import AppRun, Busy

EVERY = 0.05
"""Seconds. A list has no more requests than a process can answer in that time."""


class RunMeter:
    """A :class:`protocols.app_run.Meter`."""

    __slots__ = ("route",)

    def __init__(self) -> None:
        self.route = current_route.get

    def opened(self, run: AppRun) -> None:
        current_counts.get().open.add(run)

    def ended(self, run: AppRun, seconds: float) -> None:
        counts, kind, label, result = current_counts.get(), run.scope["type"], self.route(), run.final_result()
        durations = counts.runs.of(kind, label)
        durations.add(result, seconds)
        if run.is_connection:
            counts.open.discard(run)
            counts.events[kind] = counts.events.get(kind, 0) + run.received
        elif run.busy is not None and isinstance(result, int):
            if label not in run.busy:
                run.busy[label] = {}
                _settle_later(run.busy, label, durations)
            run.busy[label][result] = durations.latest(result).append


def _settle_later(busy: Busy, label: str, durations: Durations) -> None:
    asyncio.get_running_loop().call_later(EVERY, _settle, busy, label, durations)


def _settle(busy: Busy, label: str, durations: Durations) -> None:
    if durations.settle():
        _settle_later(busy, label, durations)
    else:
        del busy[label]


METER = RunMeter()
