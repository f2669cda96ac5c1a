"""When the certificates in use expire."""

from collections.abc import AsyncIterator

from gateway.console.expiries import of_clients
from gateway.metrics.family import Sample, gauge
from gateway.metrics.reader import Reader
from gateway.own_thread import disk_thread
from gateway.runtime.build import Gateway

EXPIRY = gauge(
    "gateway_certificate_expiry_timestamp_seconds",
    "When the first certificate of a file expires: server, its own with the chain; client_ca, the authorities of its "
    "clients; client, the one that the gateway presents as a client; ca, the authorities of those it connects to.",
    "server",
    "use",
    joined="max",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    for server in gateway.listening:
        if (certificate := server.certificate()) is not None:
            for use, expiry in certificate.expiries().items():
                yield EXPIRY.sample(expiry, server.name, use)
    for name, use, expiry in await disk_thread.run(lambda: list(of_clients(gateway.settings))):
        yield EXPIRY.sample(expiry, name, use)


READER = Reader("certificates", (EXPIRY,), read)
