"""The gateway itself and its servers."""

import platform
from collections.abc import AsyncIterator

import gateway as package
from gateway.metrics.family import Sample, gauge, info
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

BUILD = info("gateway_build_info", "The version of the gateway and of Python.", "version", "python")
READY = gauge(
    "gateway_server_ready",
    "1 if the server serves; 0 if it starts, waits for its upstream or stops.",
    "server",
    "protocol",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    yield BUILD.sample(1, package.__version__, platform.python_version())
    for server in gateway.servers:
        yield READY.sample(float(server.status.state == "ready"), server.name, server.protocol)


READER = Reader("servers", (BUILD, READY), read)
