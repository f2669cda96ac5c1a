"""What ``/metrics`` answers: the metrics of this process."""

from gateway.metrics.process import snapshot
from gateway.metrics.snapshot import Snapshot
from gateway.metrics.table import FAMILIES
from gateway.own_thread import operator_thread
from gateway.succession import Succession


async def scrape(here: Succession, accept: str) -> tuple[str, bytes]:
    """Return the Content-Type and the body. It is written on a thread: thousands of series take a while."""
    return await operator_thread.run(_render, await snapshot(here), accept)


def _render(taken: Snapshot, accept: str) -> tuple[str, bytes]:
    from gateway.metrics.exposition import render  # not on the event loop: prometheus-client takes 50 ms to import

    return render(FAMILIES, taken, accept)
