"""The gateway itself and its servers."""

import platform
from collections.abc import AsyncIterator

import gateway as package
from gateway.metrics.family import Sample, counter, gauge, info
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

BUILD = info("gateway_build_info", "The version of the gateway and of Python.", "version", "python")
READY = gauge(
    "gateway_server_ready",
    "1 if the server serves; 0 if it starts, waits for its upstream or stops.",
    "server",
    "protocol",
    joined="max",
)
SINCE = gauge(
    "gateway_server_state_timestamp_seconds", "Since when the server is in its state.", "server", joined="max"
)
BECAME_READY = counter(
    "gateway_server_became_ready_total",
    "How often the server began to serve; a client: how often it connected.",
    "server",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    yield BUILD.sample(1, package.__version__, platform.python_version())
    for server in gateway.servers:
        yield READY.sample(float(server.status.state == "ready"), server.name, server.protocol)
        yield SINCE.sample(server.state_since, server.name)
        yield BECAME_READY.sample(server.times_ready, server.name)


READER = Reader("servers", (BUILD, READY, SINCE, BECAME_READY), read)
