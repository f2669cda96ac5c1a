"""The readers, and with them every family that the gateway has."""

from gateway.metrics.family import Family
from gateway.metrics.reader import SUCCESS, Reader
from gateway.metrics.readers import (
    certificates,
    channels,
    configuration,
    connections,
    deliveries,
    layer,
    log,
    process,
    protocols,
    runs,
    servers,
    store,
    store_holdings,
    submission,
    texts,
    threads,
    tracing,
)

READERS: tuple[Reader, ...] = (
    configuration.READER,
    servers.READER,
    runs.READER,
    connections.READER,
    certificates.READER,
    protocols.READER,
    store.READER,
    store_holdings.READER,
    deliveries.READER,
    submission.READER,
    texts.READER,
    threads.READER,
    layer.READER,
    channels.READER,
    log.READER,
    tracing.READER,
    process.READER,
)
FAMILIES: dict[str, Family] = {
    family.name: family for family in [*(family for reader in READERS for family in reader.families), SUCCESS]
}
