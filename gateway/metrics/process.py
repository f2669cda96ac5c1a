"""The snapshot of a process, in which one gateway may have taken over from another."""

from gateway.metrics.gone import forget
from gateway.metrics.reader import SUCCESS, Reader, take
from gateway.metrics.snapshot import Snapshot, cumulative, join
from gateway.metrics.table import FAMILIES, READERS
from gateway.runtime.build import Gateway
from gateway.succession import Succession


async def snapshot(here: Succession) -> Snapshot:
    """Read the gateways that run, and add what those have counted that have ended."""
    running, kept = tuple(here.running), dict(here.kept)  # a gateway that ends meanwhile is in one of them only
    taken = await take(READERS, running)
    _forget(here, taken)
    # Of a family that could not be read, what is kept alone would look like a counter that has gone back.
    return join(FAMILIES, [taken, {name: series for name, series in kept.items() if name in taken}])


async def keep(here: Succession, gateway: Gateway) -> None:
    """Keep the counters of ``gateway``, which has drained and goes, for those that follow it."""
    last = await take(_of_gateways(), [gateway])
    here.kept.update(join(FAMILIES, [here.kept, cumulative(FAMILIES, last)]))
    here.end(gateway)
    _forget(here, await take(_of_gateways(), tuple(here.running)))


def _forget(here: Succession, taken: Snapshot) -> None:
    if all(read for _, read in taken[SUCCESS.name]):  # what could not be read is not gone
        forget(FAMILIES, here.kept, taken, here.gone)


def _of_gateways() -> list[Reader]:
    return [each for each in READERS if each.of == "gateway"]
