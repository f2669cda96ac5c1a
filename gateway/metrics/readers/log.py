"""The log."""

from collections.abc import AsyncIterator

from gateway.logs import setup
from gateway.metrics.family import Sample, counter
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

LOST = counter(
    "gateway_log_records_lost_total",
    "Log records that could not be written, because the disk is full or standard error is not read.",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    yield LOST.sample(setup.lost())


READER = Reader("log", (LOST,), read, of="process")
