"""Readers: what yields the samples of some families, when somebody asks."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.metrics.family import Family, Sample, gauge
from gateway.metrics.snapshot import Series, Snapshot
from gateway.runtime.build import Gateway
from protocols.checkpoint import checkpoint

logger = logging.getLogger(__name__)

LONGEST = 5.0
"""Seconds that one reader may take. Prometheus gives up a scrape after 10 by default."""
SUCCESS = gauge(
    "gateway_metrics_reader_success",
    "1 if this part of the metrics could be read in this scrape, 0 if its families are missing.",
    "reader",
    joined="min",
)


@dataclass(frozen=True)
class Reader:
    """``read`` yields samples of ``families`` of a gateway that runs. It runs on the gateway's event loop."""

    name: str
    families: Sequence[Family]
    read: Callable[[Gateway], AsyncIterator[Sample]]
    of: Literal["gateway", "process"] = "gateway"
    """``process``: it is called once, whatever number of gateways run in the process."""


async def take(readers: Iterable[Reader], gateways: Sequence[Gateway]) -> Snapshot:
    """Read everything. ``gateways``: those of this process that run, the newest first."""
    series = Series()
    for reader in readers:
        found = await _read(reader, gateways if reader.of == "gateway" else gateways[:1])
        series.add(SUCCESS.sample(float(found is not None), reader.name))
        if found is not None:
            series.expect(reader.families)
            for sample in found:
                series.add(sample)
                await checkpoint()
    return series.snapshot()


async def _read(reader: Reader, gateways: Sequence[Gateway]) -> list[Sample] | None:
    """Return the samples. None if it fails, or takes too long: half of a sum would look like a counter that has gone
    back."""
    found: list[Sample] = []
    try:
        async with asyncio.timeout(LONGEST):
            for gateway in gateways:
                async for sample in reader.read(gateway):
                    found.append(sample)
                    await checkpoint()
    except Exception as error:
        logger.warning("metrics: %s cannot be read: %s: %s", reader.name, type(error).__name__, error)
        return None
    return found
