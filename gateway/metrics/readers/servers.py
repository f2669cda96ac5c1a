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
STANDBY = gauge(
    "gateway_server_standby",
    "1 if the server stands by, because another worker or another host has it; 0 otherwise.",
    "server",
    joined="min",
)
SINCE = gauge(
    "gateway_server_state_timestamp_seconds",
    "Since when the server is in its state. Missing while it stands by.",
    "server",
    joined="max",
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
        yield STANDBY.sample(float(server.stands_by), server.name)
        if not server.stands_by:
            yield SINCE.sample(server.state_since, server.name)
        yield BECAME_READY.sample(server.times_ready, server.name)


READER = Reader("servers", (BUILD, READY, STANDBY, SINCE, BECAME_READY), read)
