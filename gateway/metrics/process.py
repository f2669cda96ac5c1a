"""The snapshot of a process, in which one gateway may have taken over from another."""

from gateway.metrics.reader import take
from gateway.metrics.snapshot import Snapshot, cumulative, join
from gateway.metrics.table import FAMILIES, READERS
from gateway.runtime.build import Gateway
from gateway.succession import Succession


async def snapshot(here: Succession) -> Snapshot:
    """Read the gateways that run, and add what those have counted that have ended."""
    taken = await take(READERS, tuple(here.running))
    return join(FAMILIES, [taken, here.kept])


async def keep(here: Succession, gateway: Gateway) -> None:
    """Keep the counters of ``gateway``, which has drained and goes, for those that follow it."""
    last = await take([each for each in READERS if each.of == "gateway"], [gateway])
    here.kept.update(join(FAMILIES, [here.kept, cumulative(FAMILIES, last)]))
    here.end(gateway)
