"""The configuration that serves, and what came of the last reload."""

from collections.abc import AsyncIterator

from gateway.metrics.family import Sample, gauge
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway
from gateway.succession import succession

GENERATION = gauge(
    "gateway_config_generation",
    "The number of the configuration that serves: 1 at the start of the process.",
    joined="max",
)
SUCCESSFUL = gauge(
    "gateway_config_last_reload_successful",
    "0 if the last reload was refused, so that the configuration before it still serves; 1 otherwise.",
    joined="min",
)
SUCCEEDED = gauge(
    "gateway_config_last_reload_success_timestamp_seconds",
    "When the file was last read and used: at the start, or at the last reload that succeeded.",
    joined="max",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    reloads = gateway.services[succession].reloads
    yield GENERATION.sample(reloads.generation)
    yield SUCCESSFUL.sample(float(reloads.is_successful))
    yield SUCCEEDED.sample(reloads.succeeded)


READER = Reader("configuration", (GENERATION, SUCCESSFUL, SUCCEEDED), read, of="process")
