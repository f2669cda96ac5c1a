"""When the certificates in use expire."""

from collections.abc import AsyncIterator

from gateway.metrics.family import Sample, gauge
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

EXPIRY = gauge(
    "gateway_certificate_expiry_timestamp_seconds",
    "When the first certificate of a file expires: of the server's own, with its chain, or of its client_ca.",
    "server",
    "use",
    joined="max",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    for server in gateway.servers:
        if (certificate := server.certificate()) is not None:
            for use, expiry in certificate.expiries().items():
                yield EXPIRY.sample(expiry, server.name, use)


READER = Reader("certificates", (EXPIRY,), read)
